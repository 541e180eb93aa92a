"""MMBench: questions with choices about images, from a TSV with the images in base64."""

import base64
import binascii
from collections.abc import Iterator, Mapping

from regap.geometry.benchmarks.card import Card
from regap.geometry.benchmarks.choices import asked, letter
from regap.geometry.benchmarks.entry import Entry, Message
from regap.geometry.benchmarks.source import Row, Source
from regap.geometry.pairs import PairError

FILES = ("MMBench_DEV_EN.tsv", "mmbench_dev_en*.tsv", "MMBench_DEV_EN_legacy.tsv", "mmbench_dev_*.tsv")
SHORTEST_PICTURE = 64
"""Characters; what is shorter in the image column is the index of the row that has the same picture."""


def load(source: Source) -> Iterator[Entry]:
    """Yield the development questions; those on one picture are twins."""
    rows = list(
        source.rows(
            source.file(*FILES), ("index", "question", "hint", "answer", *"ABCD", "category", "image")
        )
    )
    images = {row.text("index"): row.get("image") for row in rows}
    for row in rows:
        choices = [row.get(name) for name in "ABCD" if row.get(name)]
        question = asked(row.text("question"), choices, row.get("hint"))
        right = letter(" ABCD".find(row.text("answer")) - 1, choices, row.where)
        held = _holder(row, images)
        message = Message(question, (_picture(row, images[held]),))
        kind = row.text("category")
        yield Entry(
            row.text("index"),
            "harmless",
            question,
            {"picture": message},
            kind,
            right,
            twins=f"mmbench {held}",
        )


def _holder(row: Row, images: Mapping[str, str]) -> str:
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


def _picture(row: Row, encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise PairError(f"{row.where}: image is no base64; download the file again") from None


CARDS = (
    Card(
        "mmbench", load, "utility", ("picture",), "Apache-2.0", "https://github.com/open-compass/MMBench",
        ("|".join(FILES),), (4329, 4377), note="the development set in English; its first release has 4,377 rows",
    ),
)  # fmt: skip
