"""VLGuard: unsafe images, and safe images with one safe and one unsafe instruction each."""

from collections.abc import Iterator
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Loader, Message
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow
from regap.geometry.data.pairs import Label


def _loader(part: str) -> Loader:
    def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
        images = source.place(part, f"images/{part}", "images")
        for row in source.rows(source.file(f"{part}.json"), ("id", "image", "safe", "instr-resp")):
            yield from _entries(row, images)

    return load


def _entries(row: SourceRow, images: Path) -> Iterator[BenchmarkEntry]:
    """Yield the instructions of one image, which are twins. No text arm: the images are not described."""
    instructions = _instructions(row)
    asked: list[tuple[str, str, Label]] = (
        [("safe_safes", "safe_instruction", "harmless"), ("safe_unsafes", "unsafe_instruction", "harmful")]
        if row.raw("safe") is True
        else [("unsafes", "instruction", "harmful")]
    )
    for subset, column, label in asked:
        if column not in instructions:
            raise PairError(f"{row.where}: no {column} in instr-resp; download the file again")
        yield _entry(row, images, subset, instructions[column], label)


def _entry(row: SourceRow, images: Path, subset: str, instruction: str, label: Label) -> BenchmarkEntry:
    image = row.text("image")
    message = Message(instruction.replace("<image>", "").strip(), (images / image,))
    category = f"{subset}: {row.text('harmful_category')}" if subset == "unsafes" else subset
    name = f"{subset}-{row.text('id')}"
    return BenchmarkEntry(name, label, instruction, {"picture": message}, category, twins=f"vlguard {image}")


def _instructions(row: SourceRow) -> dict[str, str]:
    turns = row.raw("instr-resp")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise PairError(f"{row.where}: instr-resp is not a list of objects; download the file again")
    return {
        name: row.written(name, text)
        for turn in turns
        for name, text in turn.items()
        if name.endswith("instruction") and text is not None
    }


HOME = "https://github.com/ys-zong/VLGuard"
CARDS = (
    BenchmarkCard(
        "vlguard", _loader("test"), "safety", ("picture",), "none stated", HOME, ("test.json",), (2 * 558 + 442,),
        hub="ys-zong/VLGuard", hub_files=("test.json", "test.zip"),
        note="unzip test.zip; no text arm: safe and unsafe instructions on the same image are twins",
    ),
    BenchmarkCard(
        "vlguard-train", _loader("train"), "safety", ("picture",), "none stated", HOME, ("train.json",),
        (2 * 977 + 1023,), hub="ys-zong/VLGuard", hub_files=("train.json", "train.zip"), note="unzip train.zip",
    ),
)  # fmt: skip
