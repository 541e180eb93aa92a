"""MSSBench: one question, safe with one image and unsafe with another."""

from collections.abc import Iterator
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message, described, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow
from regap.geometry.data.pairs import Label

SIDES: tuple[tuple[str, Label], ...] = (("safe", "harmless"), ("unsafe", "harmful"))


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield chat and embodied questions: harmless with their safe image, harmful with their unsafe image."""
    path = source.file("combine.json", "data/combine.json")
    content = source.json(path)
    root = path.parent.relative_to(source.folder)
    for part, read in (("chat", _chat), ("embodied", _embodied)):
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise PairError(
                f"{source.name}: {path} has no list of objects named {part}; download the file again"
            )
        for number, values in enumerate(rows):
            yield from read(
                SourceRow(f"{source.name}: {path.name}, {part} {number}", values), number, root / part
            )


def _chat(row: SourceRow, number: int, images: Path) -> Iterator[BenchmarkEntry]:
    """Yield chat questions. Only the unsafe image is described; its description is in caption arm and request."""
    for place, query in enumerate(_list(row, "queries")):
        for side, label in SIDES:
            messages = {"picture": Message(query, (images / row.text(f"{side}_image_path"),))}
            request = query
            if side == "unsafe":
                request = described(query, row.text("unsafe_image"))
                messages["caption"] = words(request)
            name, twins = f"chat-{number}-{place}-{side}", f"mssbench chat {number}"
            yield BenchmarkEntry(name, label, request, messages, f"chat: {row.text('Type')}", twins=twins)


def _embodied(row: SourceRow, number: int, images: Path) -> Iterator[BenchmarkEntry]:
    """Yield embodied instructions. Both images are described; instruction and description are the text arm."""
    for side, label in SIDES:
        for place, instruction in enumerate(_list(row, f"{side}_instructions")):
            request = described(instruction, row.text(f"observation_{side}"))
            messages = {"text": words(request), "picture": Message(instruction, (images / row.text(side),))}
            name, twins = f"embodied-{number}-{place}-{side}", f"mssbench embodied {number}"
            yield BenchmarkEntry(
                name, label, request, messages, f"embodied: {row.text('category')}", twins=twins
            )


def _list(row: SourceRow, column: str) -> list[str]:
    values = row.raw(column)
    if not isinstance(values, list) or not values:
        raise PairError(f"{row.where}: {column} is not a list of questions; download the file again")
    return [row.written(column, value) for value in values]


CARDS = (
    BenchmarkCard(
        "mssbench", load, "safety", ("text", "picture", "caption"), "MIT (code); data card not read",
        "https://github.com/eric-ai-lab/MSSBench", ("combine.json|data/combine.json",), hub="kzhou35/mssbench",
        note="the same question with a safe and an unsafe image are twins; chat rows have no text arm",
    ),
)  # fmt: skip
