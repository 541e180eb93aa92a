"""MM-Vet: open questions about images."""

from collections.abc import Iterator
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FILES = ("mm-vet.json", "mm-vet/mm-vet.json")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the questions; the category names the capabilities that a question needs."""
    path = source.file(*FILES)
    images = path.parent.relative_to(source.folder) / "images"
    for name, row in source.entries(path):
        capabilities = row.raw("capability")
        if not isinstance(capabilities, list):
            raise PairError(f"{row.where}: capability is not a list; download the file again")
        question, image = row.text("question"), row.text("imagename")
        needed = "+".join(sorted(row.written("capability", one) for one in capabilities)) or "all"
        arms = {"picture": Message(question, (images / Path(image),))}
        yield BenchmarkEntry(
            name, "harmless", question, arms, needed, row.text("answer"), twins=f"mm-vet {image}"
        )


CARDS = (
    BenchmarkCard(
        "mm-vet", load, "utility", ("picture",), "not verified", "https://github.com/yuweihao/MM-Vet",
        ("|".join(FILES),), (218,), note="open answers: exact match counts too few as right",
    ),
)  # fmt: skip
