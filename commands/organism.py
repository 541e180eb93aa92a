"""`regap organism train`, `card` and `pairs`: the bundled model organism."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from regap.commands.options import progress, screen, takes


def train(
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoints; training continues from those that are there.")
    ],
    threads: Annotated[int, typer.Option(help="Processor cores to use.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of data, initial weights and order.")] = 0,
) -> None:
    """Train the whole organism family again, stage by stage; an interrupted training continues."""
    from regap.organism import training

    training.train(training.TrainingConfig(seed=seed), out, threads)


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


@takes("seed")
def card(
    out: Annotated[Path, typer.Option(help="Folder for card.md and card.csv.")] = Path("runs/card"),
    **flags: Any,
) -> None:
    """Measure every figure of the organism's card on held-out prompts, with intervals."""
    from regap.analyses.organism.card import as_markdown, measure_card

    with progress() as track:
        figures = measure_card(out, flags["seed"] or 0, track)
    screen.print(as_markdown(figures), markup=False, soft_wrap=True)
    if any(figure.met is False for figure in figures):
        raise typer.Exit(1)
