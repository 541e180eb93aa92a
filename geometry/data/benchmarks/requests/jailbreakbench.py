"""JailbreakBench: 100 harmful and 100 benign behaviours; the i-th of each are on the same theme."""

from collections.abc import Iterator

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import Label

FOLDERS = ("data/", "")
FILES = {
    "harmful": tuple(f"{start}harmful-behaviors.csv" for start in FOLDERS),
    "benign": tuple(f"{start}benign-behaviors.csv" for start in FOLDERS),
}


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield harmful, then benign behaviours; those with the same index are twins. The index column may be unnamed."""
    for kind, files in FILES.items():
        label: Label = "harmful" if kind == "harmful" else "harmless"
        for row in source.rows(source.file(*files), ("Goal", "Behavior", "Category")):
            index = row.text("Index", "Unnamed: 0", "")
            goal = row.text("Goal")
            yield BenchmarkEntry(
                f"{kind}-{index}", label, goal, {"text": words(goal)}, row.text("Category"),
                twins=f"jailbreakbench {index}",
            )  # fmt: skip


CARDS = (
    BenchmarkCard(
        "jailbreakbench", load, "safety", ("text",), "MIT", "https://github.com/JailbreakBench/jailbreakbench",
        tuple("|".join(files) for files in FILES.values()), (200,), hub="JailbreakBench/JBB-Behaviors",
        hub_files=("data/*-behaviors.csv",), note="both labels; the benign behaviour of an index is a twin",
    ),
)  # fmt: skip
