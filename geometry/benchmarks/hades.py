"""HADES: instructions whose harmful words are moved into an image, in six steps of strength."""

import re
from collections.abc import Iterator

from regap.geometry.benchmarks.card import Card
from regap.geometry.benchmarks.entry import Entry, Message, words
from regap.geometry.benchmarks.source import Row, Source
from regap.geometry.pairs import PairError

FILES = ("data/*.parquet", "*.parquet")
COLUMNS = ("image", "id", "scenario", "keywords", "step", "category", "instruction")


def load(source: Source) -> Iterator[Entry]:
    """Yield each instruction once, with one picture arm for each step: `picture-step1` to `picture-step6`."""
    found: dict[tuple[str, str], list[Row]] = {}
    for path in _files(source):
        for row in source.rows(path, COLUMNS):
            found.setdefault((row.text("scenario"), row.text("instruction")), []).append(row)
    for number, ((scenario, instruction), rows) in enumerate(found.items()):
        messages = {"text": words(instruction)}
        for row in rows:
            arm = f"picture-step{row.text('step')}"
            if arm in messages:
                raise PairError(
                    f"{row.where}: step {row.text('step')} of {instruction[:40]!r} stands there twice"
                )
            messages[arm] = Message(_pointing(row), (row.image(),))
        yield Entry(f"{number:03d}", "harmful", instruction, messages, scenario)


def _pointing(row: Row) -> str:
    """Return the instruction with its harmful words replaced by a pointer to the image."""
    pointer = f"the {row.text('category')} in the image"
    instruction, keywords = row.text("instruction"), row.text("keywords")
    pointed, count = re.subn(
        re.escape(keywords), lambda _: pointer, instruction, count=1, flags=re.IGNORECASE
    )
    if not count:
        raise PairError(
            f"{row.where}: the keywords {keywords[:40]!r} are not in the instruction; download it again"
        )
    return pointed


def _files(source: Source) -> list:
    first = source.file(*FILES)
    return sorted(first.parent.glob("*.parquet"))


CARDS = (
    Card(
        "hades", load, "safety", ("text", "picture-step*"), "MIT", "https://github.com/AoiDragon/HADES",
        ("|".join(FILES),), (750,), hub="Monosail/HADES", hub_files=("data/*.parquet",),
        note="750 instructions in 6 steps; the pictures stay in memory",
    ),
)  # fmt: skip
