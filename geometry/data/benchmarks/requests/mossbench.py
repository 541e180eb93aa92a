"""MOSSBench: benign questions about images that models tend to refuse, and harmful contrasts to them."""

from collections.abc import Iterator
from pathlib import Path

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message, described, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import Label

BENIGN = ("data/information.json", "information.json")
CONTRAST = ("data_contrast/information.json", "information_contrast.json")
SIDES: dict[str, tuple[Label, tuple[str, ...]]] = {
    "benign": ("harmless", BENIGN),
    "contrast": ("harmful", CONTRAST),
}


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield benign questions and contrasts; those with one pid are twins. The text arm describes the image."""
    for side, (label, files) in SIDES.items():
        path = source.file(*files)
        folder = path.parent.relative_to(source.folder)
        for pid, row in source.entries(path):
            question, description = row.text("question"), row.text("description")
            asked = described(question, description)
            messages = {
                "text": words(asked),
                "picture": Message(question, (folder / Path(row.text("image")),)),
            }
            kind = row.inner("metadata").text("over")
            yield BenchmarkEntry(f"{side}-{pid}", label, asked, messages, kind, twins=f"mossbench {pid}")


CARDS = (
    BenchmarkCard(
        "mossbench", load, "safety", ("text", "picture"), "CC BY-SA 4.0, not for training",
        "https://github.com/xirui-li/MOSSBench", ("|".join(BENIGN), "|".join(CONTRAST)), (544,),
        note="300 benign and 244 contrasts, most on the same image or with the same question",
    ),
)  # fmt: skip
