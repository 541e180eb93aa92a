"""HADES: instructions whose harmful words are moved into an image, in six steps of strength."""

import re
from collections.abc import Iterator

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow

FILES = ("data/*.parquet", "*.parquet")
COLUMNS = ("image", "id", "scenario", "keywords", "step", "category", "instruction")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield each instruction once, with one picture arm for each step: `picture-step1` to `picture-step6`."""
    found: dict[tuple[str, str], list[SourceRow]] = {}
    for path in _files(source):
        for row in source.rows(path, COLUMNS):
            found.setdefault((row.text("scenario"), row.text("instruction")), []).append(row)
    for number, ((scenario, instruction), rows) in enumerate(found.items()):
        messages = {"text": words(instruction)}
        for row in rows:
            arm = f"picture-step{row.text('step')}"
            if arm in messages:
                raise PairError(
                    f"{row.where}: step {row.text('step')} of {instruction[:40]!r} occurs twice; download it again"
                )
            messages[arm] = Message(_pointing(row), (row.image(),))
        yield BenchmarkEntry(f"{number:03d}", "harmful", instruction, messages, scenario)


def _pointing(row: SourceRow) -> str:
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


def _files(source: BenchmarkFiles) -> list:
    first = source.file(*FILES)
    return sorted(first.parent.glob("*.parquet"))


CARDS = (
    BenchmarkCard(
        "hades", load, "safety", ("text", "picture-step*"), "MIT", "https://github.com/AoiDragon/HADES",
        ("|".join(FILES),), (750,), hub="Monosail/HADES", hub_files=("data/*.parquet",),
        note="750 instructions in 6 steps; the pictures stay in memory",
    ),
)  # fmt: skip
