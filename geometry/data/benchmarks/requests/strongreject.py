"""StrongREJECT: forbidden prompts as text."""

from collections.abc import Iterator

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FILES = (
    "strongreject_dataset/strongreject_dataset.csv",
    "data/strongreject_dataset.csv",
    "strongreject_dataset.csv",
)


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the forbidden prompts; rows have no id, so their number serves as id."""
    for number, row in enumerate(
        source.rows(source.file(*FILES), ("category", "source", "forbidden_prompt"))
    ):
        prompt = row.text("forbidden_prompt")
        yield BenchmarkEntry(
            f"{number:03d}", "harmful", prompt, {"text": words(prompt)}, row.text("category")
        )


CARDS = (
    BenchmarkCard(
        "strongreject", load, "safety", ("text",), "MIT (not verified)", "https://github.com/alexandrasouly/strongreject",
        ("|".join(FILES),), (313, 346), note="346 prompts in the first release",
    ),
)  # fmt: skip
