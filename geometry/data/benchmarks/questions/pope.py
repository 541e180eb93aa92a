"""POPE: yes-or-no questions whether an object is in the image; objects are random, popular or adversarial."""

from collections.abc import Iterator
from pathlib import Path

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.questions.choices import ASK_WORD
from regap.geometry.data.benchmarks.source import BenchmarkFiles

KINDS = ("random", "popular", "adversarial")


def _patterns(kind: str) -> tuple[str, ...]:
    return tuple(
        f"{start}coco_pope_{kind}.json{end}" for start in ("output/coco/", "coco/", "") for end in ("", "l")
    )


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the questions of all three kinds; those on one image are twins."""
    images = source.place("images", "val2014", "coco/val2014")
    for kind in KINDS:
        for row in source.rows(source.file(*_patterns(kind)), ("question_id", "image", "text", "label")):
            image, question = row.text("image"), row.text("text")
            message = Message(f"{question}\n{ASK_WORD}", (images / Path(image),))
            name = f"{kind}-{row.text('question_id')}"
            yield BenchmarkEntry(
                name,
                "harmless",
                question,
                {"picture": message},
                kind,
                row.text("label"),
                twins=f"coco {image}",
            )


CARDS = (
    BenchmarkCard(
        "pope", load, "utility", ("picture",), "MIT", "https://github.com/RUCAIBox/POPE",
        tuple("|".join(_patterns(kind)) for kind in KINDS), (9000,), dict.fromkeys(KINDS, 3000),
        note="put the COCO val2014 images it names in images/",
    ),
)  # fmt: skip
