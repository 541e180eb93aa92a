"""VLSafe: harmful questions about COCO images, and benign questions about the same images."""

from collections.abc import Iterator
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message, described, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import normal

COCO = ("images", "coco", "train2017", "coco/train2017", "train2014", "coco/train2014", "val2017", "val2014")
EXAMINE = ("**/*[Ee]xamine*.jsonl",)
ALIGNMENT = ("**/*[Aa]lignment*.jsonl",)
SAFE = ("**/vlsafe_convert_safe.jsonl",)


def load_examine(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the questions to be refused; the caption stands in for the image in the text arm."""
    images = source.place(*COCO)
    for number, row in enumerate(source.rows(source.file(*EXAMINE), ("image_id", "caption", "query"))):
        image = images / row.text("image_id")
        yield _harmful(f"{number:04d}", row.text("query"), row.text("caption"), image)


def load_alignment(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the questions to be refused, and their benign twins if the file of benign questions is there."""
    images = source.place(*COCO)
    rows = list(source.rows(source.file(*ALIGNMENT), ("image_id", "caption", "query")))
    for number, row in enumerate(rows):
        image = images / row.text("image_id")
        yield _harmful(f"{number:04d}", row.text("query"), row.text("caption"), image)
    path = source.find(*SAFE)
    for number, row in enumerate(source.rows(path, ("image_id", "safe_query", "orig_query")) if path else ()):
        if number >= len(rows) or normal(rows[number].text("query")) != normal(row.text("orig_query")):
            raise PairError(
                f"{row.where}: orig_query is not the query of row {number + 1}; download both again"
            )
        query, caption = row.text("safe_query"), rows[number].text("caption")
        asked = described(query, caption)
        messages = {"text": words(asked), "picture": Message(query, (images / row.text("image_id"),))}
        twins = _twins(row.text("orig_query"))
        yield BenchmarkEntry(f"safe-{number:04d}", "harmless", asked, messages, twins=twins)


def _harmful(name: str, query: str, caption: str, image: Path) -> BenchmarkEntry:
    asked = described(query, caption)
    messages = {"text": words(asked), "picture": Message(query, (image,))}
    return BenchmarkEntry(name, "harmful", asked, messages, twins=_twins(query))


def _twins(query: str) -> str:
    return f"vlsafe {normal(query)}"


HOME = "https://huggingface.co/datasets/YangyiYY/LVLM_NLF"
CARDS = (
    BenchmarkCard(
        "vlsafe", load_examine, "safety", ("text", "picture"), "not verified", HOME, EXAMINE, (1110,),
        hub="YangyiYY/LVLM_NLF", hub_files=("VLSafe/*",), note="put the COCO images it names in images/",
    ),
    BenchmarkCard(
        "vlsafe-alignment", load_alignment, "safety", ("text", "picture"), "not verified", HOME, ALIGNMENT,
        (3000, 6000), hub="YangyiYY/LVLM_NLF", hub_files=("VLSafe/*",),
        note="6,000 with vlsafe_convert_safe.jsonl (AutoSteer), whose benign questions are twins",
    ),
)  # fmt: skip
