"""`regap ablate` and `regap sweep`: the effect of each component, and of shifts at each layer and strength."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import (
    CAPTURING,
    Again,
    print_note,
    progress,
    run_of,
    screen,
    table_of,
    takes,
    wide,
)

if TYPE_CHECKING:
    import pandas as pd

Components = Annotated[
    list[str] | None,
    typer.Option(
        "--component",
        help="attention, mlp, block, head, state or direction; repeat for more. attention, mlp and block by default.",
    ),
]
Replacements = Annotated[
    list[str] | None,
    typer.Option(
        "--replace",
        help="Replacement: zero, mean, resample, patch-text, patch-image or unread; repeat for more. "
        "mean and patch-text by default. unread: heads at the last token, less what they read from the tokens of the "
        "image, or of the request in words.",
    ),
]
Layers = Annotated[str | None, typer.Option(help="Blocks, such as 3-7,10; all by default.")]
Heads = Annotated[str | None, typer.Option(help="Heads for --component head, such as 0-3; all by default.")]
Places = Annotated[
    list[str] | None,
    typer.Option(
        "--positions",
        help="last, after_instruction, image, audio, request, user, template or all; one token, such as image[0]; or "
        "image:attention, image:norm, image:blank or image:ink; repeat for more. last by default. Tokens of an image "
        "are patched from the request's own tokens in words, and these from those.",
    ),
]
Together = Annotated[
    bool, typer.Option("--together", help="Ablate all layers at once instead of one after another.")
]
Controls = Annotated[
    bool,
    typer.Option(help="Add controls: random directions of equal size, and runs patched with themselves."),
]
Answers = Annotated[
    bool, typer.Option("--answers", help="Also generate and judge answers under each ablation; slow.")
]
Vectors = Annotated[
    list[str] | None,
    typer.Option("--vector", help="D, D_along, D_across, random, shuffled or refusal; repeat for more."),
]


KEYS = ["arm", "component", "head", "layers", "replacement", "positions"]
"""What names one ablation in the table."""


@takes(*CAPTURING, "arms", "image_arm", "max_new_tokens", "seed")
def ablate(
    run_folder: Again = None,
    component: Components = None,
    replace: Replacements = None,
    layers: Layers = None,
    heads: Heads = None,
    positions: Places = None,
    together: Together = False,
    controls: Controls = True,
    answers: Answers = False,
    **flags: Any,
) -> None:
    """Ablate or patch attention, MLPs, heads, blocks or directions, layer by layer, and measure changes of refusal."""
    from regap.analyses.ablation.ablate import ablate_run
    from regap.analyses.ablation.cells import AblationRequest
    from regap.analyses.runs.records import Record
    from regap.analyses.runs.written_settings import read_layers

    given: dict[str, Any] = {"components": component, "replacements": replace, "positions": positions}
    chosen = {name: tuple(values) for name, values in given.items() if values}
    wanted = AblationRequest(
        **chosen,
        layers=read_layers(layers) if layers else (),
        heads=read_layers(heads, "heads") if heads else (),
        together=together,
        controls=controls,
        answers=answers,
    )
    with progress() as track:
        run = run_of(run_folder, flags, track, wanted.check)
        question = ablate_run(run, wanted)
    table = Record.load(question.folder, "ablation").table
    _print_largest(table)
    if "attention" in question.tables:
        _print_reading(Record.load(question.folder, "attention").table)
    _draw(run.folder, question.folder, "ablation", again=run_folder is not None)


@takes(*CAPTURING, "arms", "image_arm", "max_new_tokens", "strengths", "seed")
def sweep(
    run_folder: Again = None,
    vector: Vectors = None,
    layers: Layers = None,
    **flags: Any,
) -> None:
    """Remove the drift, or a part of it, at every layer and strength, and read refusal from the first token."""
    from regap.analyses.ablation.layer_sweep import check_doses, sweep_run
    from regap.analyses.runs.written_settings import read_layers

    names, chosen = tuple(vector or ()), read_layers(layers) if layers else ()
    settled = {name: value for name, value in flags.items() if name != "strengths"}
    check_doses(names)
    with progress() as track:
        run = run_of(run_folder, settled, track, lambda model: check_doses(names, chosen, model))
        question = sweep_run(run, names, chosen, flags["strengths"])
    _draw(run.folder, question.folder, "sweep", again=run_folder is not None)


def _draw(folder: Path, answer: Path, name: str, *, again: bool) -> None:
    from regap.figures.gallery import write_figures
    from regap.figures.report import write_report

    drawn = write_figures(folder, only=name)
    screen.print(
        f"\ntable: {escape(str(answer / 'tables'))}\nfigure: {escape(str(drawn[0]))}", soft_wrap=True
    )
    if again:
        screen.print(f"report: {escape(str(write_report(folder)))}")


def _print_largest(table: "pd.DataFrame", count: int = 12) -> None:
    """Print the ablations with the largest changes of the log-odds of a refusal, on harmful prompts."""
    rows = table[(table.measure == "log_odds") & (table.label == "harmful")]
    if rows.empty:
        print_note("the model refuses no calibration text, so only changes of z are measured")
        return
    random = rows[rows.control == "random"].set_index(KEYS)
    treated = rows[rows.control == "none"]
    order = treated.value.abs().sort_values(ascending=False, kind="stable").index[:count]

    def control(row: dict[Any, Any]) -> str:
        key = tuple(row[name] for name in KEYS)
        return _estimate(random.loc[key]) if key in random.index else ""

    columns = {
        "arm": "arm",
        "component": lambda row: row["component"] if row["head"] < 0 else f"head {row['head']}",
        "layers": "layers",
        "replaced by": "replacement",
        "at": "positions",
        "change of log-odds": _estimate,
        "random, equal norm": control,
        "refusals, points": _first_tokens(table, "harmful"),
        "of harmless": _first_tokens(table, "harmless"),
    }
    console = wide(172)
    console.print(
        "largest changes of the log-odds of a refusal, harmful test prompts; refusals by first token"
    )
    console.print(table_of(treated.loc[order].to_dict("records"), columns, box=None))


def _first_tokens(table: "pd.DataFrame", label: str) -> Callable[[dict[Any, Any]], str]:
    """Return a cell: the change of refusals by first token, in points of percent."""
    chosen = (table.measure == "first_token") & (table.label == label) & (table.control == "none")
    found = table[chosen].set_index(KEYS)

    def cell(row: dict[Any, Any]) -> str:
        one = found.loc[tuple(row[name] for name in KEYS)]
        value, low, high = (f"{100 * one[name]:+.1f}" for name in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"

    return cell


def _print_reading(table: "pd.DataFrame", count: int = 12) -> None:
    """Print the heads that attend most from the last token to the tokens that carry the request."""
    rows = table[(table.measure == "mass") & (table.label == "harmful")]
    even = table[(table.measure == "even") & (table.label == "harmful")].set_index(["arm", "layer"])
    order = rows.value.sort_values(ascending=False, kind="stable").index[:count]
    columns: dict[str, Any] = {
        "arm": "arm",
        "head": lambda row: f"{row['layer']}.{row['head']}",
        "reads": "reads",
        "share of its attention": lambda row: _share(row),
        "if it attended evenly": lambda row: f"{even.loc[(row['arm'], row['layer'])]['value']:.2f}",
    }
    console = wide(128)
    console.print(
        "\nheads that attend most from the last token, harmful test prompts; 3.1 is head 1 of block 3"
    )
    console.print(table_of(rows.loc[order].to_dict("records"), columns, box=None))


def _share(row: Any) -> str:
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def _estimate(row: Any) -> str:
    return f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
