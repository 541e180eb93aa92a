"""JailBreakV-28K: jailbreaks of many kinds, each with the plain request behind it."""

from collections.abc import Iterator
from pathlib import Path

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Loader, Message, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow

COLUMNS = ("id", "jailbreak_query", "redteam_query", "format", "policy", "image_path")


def _loader(files: tuple[str, ...]) -> Loader:
    def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
        path = source.file(*files)
        images = path.parent.relative_to(source.folder)
        for row in source.rows(path, COLUMNS):
            request = row.text("redteam_query")
            image = Message(row.text("jailbreak_query"), (images / Path(row.text("image_path")),), shown="")
            messages = {"text": words(request), _arm(row): image}
            yield BenchmarkEntry(row.text("id"), "harmful", request, messages, row.text("policy"))

    return load


def _arm(row: SourceRow) -> str:
    """Return the arm, by the image's folder and name; the images of transferred jailbreaks have no content."""
    path = row.text("image_path").lower()
    folder, name = path.split("/")[0], path.split("/")[-1]
    if folder == "llm_transfer_attack":
        return "blank-transfer" if name.startswith("blank") else "noise-transfer"
    if folder == "figstep":
        return "typographic"
    if "typo" in name:
        return "picture_typographic" if "sd" in name else "typographic-query"
    return "picture"


FILES = ("JailBreakV_28K/JailBreakV_28K.csv", "JailBreakV_28K.csv")
MINI = ("JailBreakV_28K/mini_JailBreakV_28K.csv", "mini_JailBreakV_28K.csv")
HOME = "https://huggingface.co/datasets/JailbreakV-28K/JailBreakV-28k"
ARMS = (
    "text",
    "typographic",
    "typographic-query",
    "picture",
    "picture_typographic",
    "blank-transfer",
    "noise-transfer",
)
CARDS = (
    BenchmarkCard(
        "jailbreakv-28k", _loader(FILES), "safety", ARMS, "MIT", HOME, ("|".join(FILES),), (28_000,),
        hub="JailbreakV-28K/JailBreakV-28k", note="one image arm per row; images of transferred jailbreaks are empty",
    ),
    BenchmarkCard(
        "jailbreakv-28k-mini", _loader(MINI), "safety", ARMS, "MIT", HOME, ("|".join(MINI),), (280,),
        hub="JailbreakV-28K/JailBreakV-28k",
    ),
)  # fmt: skip
