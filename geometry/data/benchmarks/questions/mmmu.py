"""MMMU: college questions with up to seven images each, placed where the question names them."""

import ast
import re
from collections.abc import Iterator

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.questions.choices import ASK_WORD, asked, letter
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow
from regap.geometry.data.pairs import IMAGE_SLOT

FILES = ("data/validation*.parquet", "*/validation*.parquet", "validation*.parquet", "**/validation*.parquet")
MARK = re.compile(r"<image (\d)>")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the validation questions; an image that a question names twice is shown twice."""
    first = source.file(*FILES)
    folder = first.parent if first.parent in (source.folder, source.folder / "data") else source.folder
    for path in sorted(folder.rglob("validation*.parquet")):
        for row in source.rows(path, ("id", "question", "options", "answer", "image_1")):
            yield _entry(row)


def _entry(row: SourceRow) -> BenchmarkEntry:
    choices = _options(row)
    question = row.text("question")
    written = asked(question, choices) if choices else f"{question}\n{ASK_WORD}"
    right = row.text("answer")
    if choices:
        right = letter(ord(right[0]) - ord("A"), choices, row.where)
    images = tuple(row.image(f"image_{number}") for number in MARK.findall(written))
    text = MARK.sub(IMAGE_SLOT, written)
    if not images:  # a few questions name none of their images
        images = (row.image("image_1"),)
    name, subject = row.text("id"), re.sub(r"^(validation|dev|test)_|_\d+$", "", row.text("id"))
    request = written if choices else question
    return BenchmarkEntry(name, "harmless", request, {"picture": Message(text, images)}, subject, right)


def _options(row: SourceRow) -> list[str]:
    """Return the options, which are written as a Python list."""
    try:
        found = ast.literal_eval(row.text("options"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # of a text that is deeply nested
        found = None
    if not isinstance(found, list):
        raise PairError(f"{row.where}: options is not a list; download the file again")
    return [row.written("options", option) for option in found]


CARDS = (
    BenchmarkCard(
        "mmmu", load, "utility", ("picture",), "Apache-2.0", "https://huggingface.co/datasets/MMMU/MMMU",
        ("|".join(FILES),), (900,), hub="MMMU/MMMU", hub_files=("*/validation*.parquet",),
        note="the validation questions; several images in a prompt",
    ),
)  # fmt: skip
