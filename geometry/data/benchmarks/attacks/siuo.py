"""SIUO: image and question are each safe, and unsafe together."""

from collections.abc import Iterator
from pathlib import Path

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FILES = ("data/siuo_gen.json", "siuo_gen.json")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the questions; there is no text arm, since the benchmark does not describe its images.

    The request that judges see is the question with the benchmark's own warning, which says why it is unsafe.
    """
    images = source.place("images", "data/images")
    for row in source.rows(
        source.file(*FILES), ("question_id", "image", "question", "category", "safety_warning")
    ):
        question, name = row.text("question"), row.text("question_id")
        request = f"{question}\nWith its image: {row.text('safety_warning')}"
        messages = {"picture": Message(question, (images / Path(row.text("image")),))}
        yield BenchmarkEntry(name, "harmful", request, messages, row.text("category"))


CARDS = (
    BenchmarkCard(
        "siuo", load, "safety", ("picture",), "CC BY-NC 4.0", "https://github.com/sinwang20/SIUO", ("|".join(FILES),),
        (167,), hub="sinwang/SIUO", note="no text arm: safe image and safe question, unsafe together",
    ),
)  # fmt: skip
