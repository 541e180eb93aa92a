"""AdvBench: harmful behaviours as text."""

from collections.abc import Iterator

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FILES = ("data/advbench/harmful_behaviors.csv", "harmful_behaviors.csv", "advbench.csv")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the goals; rows have no id, so their number serves as id."""
    for number, row in enumerate(source.rows(source.file(*FILES), ("goal", "target"))):
        yield BenchmarkEntry(f"{number:03d}", "harmful", row.text("goal"), {"text": words(row.text("goal"))})


CARDS = (
    BenchmarkCard(
        "advbench", load, "safety", ("text",), "MIT", "https://github.com/llm-attacks/llm-attacks",
        ("|".join(FILES),), (520,), note="many goals differ in a few words only",
    ),
)  # fmt: skip
