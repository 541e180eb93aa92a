"""HarmBench: harmful behaviours as text, some with a context, and behaviours about an image."""

from collections.abc import Iterator

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message, described, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FOLDERS = ("data/behavior_datasets/", "behavior_datasets/", "")
TEXT = tuple(
    f"{start}harmbench_behaviors_text_{part}.csv" for part in ("all", "test", "val") for start in FOLDERS
)
MULTIMODAL = tuple(f"{start}harmbench_behaviors_multimodal_all.csv" for start in FOLDERS)


def load_text(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the text behaviours; a contextual one is asked after its context, as the benchmark does."""
    columns = ("Behavior", "FunctionalCategory", "ContextString", "BehaviorID")
    for row in source.rows(source.file(*TEXT), columns):
        behaviour, context = row.text("Behavior"), row.get("ContextString")
        asked = f"{context}\n\n---\n\n{behaviour}" if context else behaviour
        yield BenchmarkEntry(
            row.text("BehaviorID"),
            "harmful",
            behaviour,
            {"text": words(asked)},
            row.text("FunctionalCategory"),
        )


def load_multimodal(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the behaviours about an image; the text arm has its published description in its place."""
    columns = ("Behavior", "BehaviorID", "SemanticCategory", "ImageFileName", "ImageDescription")
    images = source.place("data/multimodal_behavior_images", "multimodal_behavior_images", "images")
    for row in source.rows(source.file(*MULTIMODAL), columns):
        behaviour, description = row.text("Behavior"), row.text("ImageDescription")
        asked = described(behaviour, description)
        messages = {
            "text": words(asked),
            "picture": Message(behaviour, (images / row.text("ImageFileName"),)),
        }
        yield BenchmarkEntry(row.text("BehaviorID"), "harmful", asked, messages, row.text("SemanticCategory"))


HOME = "https://github.com/centerforaisafety/HarmBench"
CARDS = (
    BenchmarkCard("harmbench", load_text, "safety", ("text",), "MIT", HOME, ("|".join(TEXT),), (400, 320, 80)),
    BenchmarkCard(
        "harmbench-multimodal", load_multimodal, "safety", ("text", "picture"), "MIT", HOME, ("|".join(MULTIMODAL),),
        (110,), note="50 rows ask to solve a CAPTCHA: weak tests of refusal",
    ),
)  # fmt: skip
