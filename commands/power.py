"""`regap power`: how many test requests each claim takes, before a model is run."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from regap.commands.options import (
    ASKING,
    Again,
    estimate_in,
    progress,
    run_of,
    screen,
    settings_of,
    table_of,
    takes,
    wide,
)

if TYPE_CHECKING:
    from regap.analyses.power.operating import Characteristic
    from regap.analyses.power.world import Sizes

Harmful = Annotated[int | None, typer.Option(help="Without a run or pairs: harmful test requests.", min=1)]
Harmless = Annotated[int | None, typer.Option(help="Without a run or pairs: harmless test requests.", min=1)]
Doses = Annotated[
    int | None,
    typer.Option(help="Harmful test requests that are answered at each dose; 100 by default.", min=1),
]
Runs = Annotated[int, typer.Option(help="Simulated runs in each world.", min=2)]
Worlds = Annotated[bool, typer.Option("--worlds", help="Print every simulated world.")]


@takes(*ASKING, "image_arm", "seed", "config")
def power(
    run: Again = None,
    test_harmful: Harmful = None,
    test_harmless: Harmless = None,
    doses: Doses = None,
    runs: Runs = 200,
    worlds: Worlds = False,
    **flags: Any,
) -> None:
    """Simulate how often each claim would hold with so many test requests, and how many it takes; no model is run."""
    from regap.analyses.power.operating import characteristics, enough, keep
    from regap.analyses.power.sizes import sizes_of

    with progress() as track:
        opened = run_of(run, flags, track) if run else None
        config = opened.config if opened else settings_of(flags)
        sizes, seed = sizes_of(opened, config, test_harmful, test_harmless, doses), config.seed
        found = characteristics(sizes, runs, seed, track=track)
        claims = list(dict.fromkeys(one.world.claim for one in found))
        advance, needed = track("looking for enough requests", len(claims)), {}
        for claim in claims:
            needed[claim] = enough(sizes, claim, runs, seed)
            advance(1)
    if run:
        keep(run, found, runs, seed)
    screen.print(
        f"{sizes.harmful} harmful and {sizes.harmless} harmless test requests, {sizes.doses} harmful ones at each "
        f"dose; {runs} simulated runs a world",
        soft_wrap=True,
    )
    if worlds:
        wide(150).print(_every(found))
    wide(130).print(table_of([_summary(claim, found, needed[claim]) for claim in claims], HEADS, box=None))
    screen.print(
        "false worlds: the largest share in which the claim would hold although it is not true; true worlds: the "
        "smallest share in which it would hold",
        soft_wrap=True,
    )


HEADS: dict[str, Any] = {
    "claim": "claim",
    "false worlds %": "false",
    "true worlds %": "true",
    "requests for 80 % (harmful / harmless / at each dose)": "needed",
}


def _summary(claim: str, found: "list[Characteristic]", needed: "Sizes | None") -> dict[str, Any]:
    own = [one for one in found if one.world.claim == claim]
    shares = {true: [one.holds.value for one in own if one.world.true is true] for true in (True, False)}
    told = f"{needed.harmful} / {needed.harmless} / {needed.doses}" if needed else "more than 8 times as many"
    return {
        "claim": claim,
        "false": f"{100 * max(shares[False]):.1f}",
        "true": f"{100 * min(shares[True]):.1f}",
        "needed": told,
    }


def _every(found: "list[Characteristic]") -> Any:
    columns: dict[str, Any] = {
        "claim": "claim",
        "world": "world",
        "truth": "truth",
        "share that holds": estimate_in,
    }
    return table_of([one.row for one in found], columns, box=None)
