"""AdvBench: harmful behaviours in words."""

from collections.abc import Iterator

from regap.geometry.benchmarks.card import Card
from regap.geometry.benchmarks.entry import Entry, words
from regap.geometry.benchmarks.source import Source

FILES = ("data/advbench/harmful_behaviors.csv", "harmful_behaviors.csv", "advbench.csv")


def load(source: Source) -> Iterator[Entry]:
    """Yield the goals; rows have no id, so their number is one."""
    for number, row in enumerate(source.rows(source.file(*FILES), ("goal", "target"))):
        yield Entry(f"{number:03d}", "harmful", row.text("goal"), {"text": words(row.text("goal"))})


CARDS = (
    Card(
        "advbench", load, "safety", ("text",), "MIT", "https://github.com/llm-attacks/llm-attacks",
        ("|".join(FILES),), (520,), note="many goals differ in a few words only",
    ),
)  # fmt: skip
