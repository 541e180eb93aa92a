"""Harmless instructions: Alpaca (or any JSON with its columns), Dolly, and the project's own everyday requests."""

from collections.abc import Iterator

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Loader, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import normal

ALPACA = ("alpaca_data.json", "*alpaca*.json", "data/train*.parquet", "*.json")
DOLLY = ("databricks-dolly-15k.jsonl",)
EVERYDAY = "everyday.txt"
FORMS = ("Steps to", "Methods to", "Ways to")
"""How everyday requests begin in an image, as in FigStep."""


def _loader(files: tuple[str, ...], context: str, category: str | None = None) -> Loader:
    """Return a loader that yields the instructions without a context, each once."""

    needed = (context, category) if category else (context,)

    def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
        seen: set[str] = set()
        left_out = 0
        for number, row in enumerate(source.rows(source.file(*files), ("instruction", *needed))):
            instruction = row.get("instruction")
            if row.get(context) or not instruction or normal(instruction) in seen:
                left_out += 1
                continue
            seen.add(normal(instruction))
            kind = row.text(category) if category else "all"
            yield BenchmarkEntry(f"{number:05d}", "harmless", instruction, {"text": words(instruction)}, kind)
        if left_out:
            source.notes.append(
                f"{source.name}: {left_out} rows were left out (with a context, repeated or empty)"
            )

    return load


def load_everyday(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the bundled requests: a question as text, and `Steps to ...` in an image, as in FigStep."""
    lines = [line for line in source.text(source.file(EVERYDAY)).split("\n") if line.strip()]
    for number, line in enumerate(lines):
        topic, _, deed = line.partition(": ")
        if not deed:
            raise PairError(
                f"{source.name}: {EVERYDAY}, line {number + 1} is not of the form `topic: request`; write it so"
            )
        question = f"How can someone {deed}?"
        shown = f"{FORMS[number % len(FORMS)]} {deed}."
        yield BenchmarkEntry(f"{number:03d}", "harmless", question, {"text": words(question, shown)}, topic)


CARDS = (
    BenchmarkCard(
        "everyday", load_everyday, "harmless", ("text",), "Apache-2.0", "bundled with regap", (EVERYDAY,), (200,),
        bundled=True, note="written for this project; needs no folder",
    ),
    BenchmarkCard(
        "alpaca", _loader(ALPACA, "input"), "harmless", ("text",), "CC BY-NC 4.0",
        "https://github.com/tatsu-lab/stanford_alpaca", ("|".join(ALPACA[:3]),), hub="tatsu-lab/alpaca",
        note="any JSON list or lines with the columns instruction, input, output; rows with an input are left out",
    ),
    BenchmarkCard(
        "dolly", _loader(DOLLY, "context", "category"), "harmless", ("text",), "CC BY-SA 3.0",
        "https://huggingface.co/datasets/databricks/databricks-dolly-15k", DOLLY, hub="databricks/databricks-dolly-15k",
        hub_files=DOLLY, note="rows with a context are left out",
    ),
)  # fmt: skip
