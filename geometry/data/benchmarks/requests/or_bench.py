"""OR-Bench: harmless prompts that models tend to refuse, and toxic prompts."""

from collections.abc import Iterator

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Loader, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import Label

HARD, TOXIC, LARGE = "or-bench-hard-1k.csv", "or-bench-toxic.csv", "or-bench-80k.csv"


def _loader(**files: str) -> Loader:
    labels: dict[str, Label] = {"harmless": "harmless", "harmful": "harmful"}

    def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
        for label, file in files.items():
            for number, row in enumerate(
                source.rows(source.file(file, f"data/{file}"), ("prompt", "category"))
            ):
                prompt = row.text("prompt")
                name = f"{label}-{number:05d}"
                yield BenchmarkEntry(
                    name, labels[label], prompt, {"text": words(prompt)}, row.text("category")
                )

    return load


HOME, HUB = "https://huggingface.co/datasets/bench-llm/or-bench", "bench-llm/or-bench"
CARDS = (
    BenchmarkCard(
        "or-bench", _loader(harmless=HARD, harmful=TOXIC), "safety", ("text",), "CC BY 4.0", HOME,
        (f"{HARD}|data/{HARD}", f"{TOXIC}|data/{TOXIC}"), hub=HUB, hub_files=(HARD, TOXIC),
        note="the hard harmless prompts and the toxic ones",
    ),
    BenchmarkCard(
        "or-bench-80k", _loader(harmless=LARGE), "harmless", ("text",), "CC BY 4.0", HOME, (f"{LARGE}|data/{LARGE}",),
        hub=HUB, hub_files=(LARGE,),
    ),
)  # fmt: skip
