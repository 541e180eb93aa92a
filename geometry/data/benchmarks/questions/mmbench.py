"""MMBench: questions with choices about images, from a TSV with the images in base64."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.questions.choices import asked, letter
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow

FILES = ("MMBench_DEV_EN.tsv", "mmbench_dev_en*.tsv", "MMBench_DEV_EN_legacy.tsv", "mmbench_dev_*.tsv")
CIRCULAR = (
    "each question once for each rotation of its choices; it counts as right only if all are, so a preferred letter "
    "does not help"
)
SHORTEST_PICTURE = 64
"""Fewest characters of a picture; a shorter cell in the image column is the index of the row with the same picture."""


@dataclass(frozen=True)
class _Image:
    index: str
    """Index of the row that holds the picture."""
    encoded: str


ROTATED = 1_000_000
"""Rows with this index or a higher one are rotations of earlier rows, in files that have them."""
NUMBER = re.compile("[0-9]{1,9}")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the development questions; those on one picture are twins."""
    for row, image in _rows(source):
        yield _entry(row, image, row.text("index"))


def load_circular(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield each question once for each choice, the choices in every rotation: INDEX+0, INDEX+1 and so on."""
    for row, image in _rows(source):
        index = row.text("index")
        if NUMBER.fullmatch(index) and int(index) < ROTATED:
            for shift in range(len(_choices(row))):
                yield _entry(row, image, f"{index}+{shift}", shift)


def _rows(source: BenchmarkFiles) -> Iterator[tuple[SourceRow, "_Image"]]:
    rows = list(
        source.rows(
            source.file(*FILES), ("index", "question", "hint", "answer", *"ABCD", "category", "image")
        )
    )
    images = {row.text("index"): row.get("image") for row in rows}
    for row in rows:
        held = _holder(row, images)
        yield row, _Image(held, images[held])


def _choices(row: SourceRow) -> list[str]:
    return [row.get(name) for name in "ABCD" if row.get(name)]


def _entry(row: SourceRow, image: "_Image", name: str, shift: int = 0) -> BenchmarkEntry:
    """Return a question with its choices rotated by `shift` places."""
    choices = _choices(row)
    place = " ABCD".find(row.text("answer")) - 1
    letter(
        place, choices, row.where
    )  # checked before the rotation, so that the message names the answer in the file
    turned = [*choices[shift:], *choices[:shift]]
    question = asked(row.text("question"), turned, row.get("hint"))
    message = Message(question, (_picture(row, image.encoded),))
    right = letter((place - shift) % len(choices), turned, row.where)
    kind = row.text("category")
    return BenchmarkEntry(
        name, "harmless", question, {"picture": message}, kind, right, twins=f"mmbench {image.index}"
    )


def _holder(row: SourceRow, images: Mapping[str, str]) -> str:
    index = row.text("index")
    seen = []
    while len(images.get(index, "")) < SHORTEST_PICTURE:
        if index in seen or index not in images:
            raise PairError(
                f"{row.where}: image {index!r} is neither a picture nor a row; download the file again"
            )
        seen.append(index)
        index = images[index]
    return index


def _picture(row: SourceRow, encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:  # binascii.Error is one, and letters beyond ASCII raise a plain one
        raise PairError(f"{row.where}: image is not base64; download the file again") from None


CARDS = (
    BenchmarkCard(
        "mmbench", load, "utility", ("picture",), "Apache-2.0", "https://github.com/open-compass/MMBench",
        ("|".join(FILES),), (4329, 4377), note="the development set in English; its first release has 4,377 rows",
    ),
    BenchmarkCard(
        "mmbench-circular", load_circular, "utility", ("picture",), "Apache-2.0",
        "https://github.com/open-compass/MMBench", ("|".join(FILES),), note=CIRCULAR,
    ),
)  # fmt: skip
