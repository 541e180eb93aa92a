"""LLaVA-Instruct: harmless questions about COCO images."""

from collections.abc import Iterator
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message
from regap.geometry.data.benchmarks.source import BenchmarkFiles

FILES = ("llava_instruct_80k.json", "llava_instruct_150k.json", "*llava*instruct*.json")


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the first question of each conversation; there is no text arm. Questions on one image are twins."""
    images = source.place("images", "coco/train2017", "train2017", "coco")
    for number, row in enumerate(source.rows(source.file(*FILES), ("id", "image", "conversations"))):
        turns = row.raw("conversations")
        if not isinstance(turns, list) or not turns or not isinstance(turns[0], dict):
            raise PairError(f"{row.where}: conversations is not a list of turns; download the file again")
        question = row.written("value", turns[0].get("value", "")).replace("<image>", "").strip()
        image = row.text("image")
        messages = {"picture": Message(question, (images / Path(image),))}
        yield BenchmarkEntry(f"{number:06d}", "harmless", question, messages, twins=f"coco {image}")


CARDS = (
    BenchmarkCard(
        "llava-instruct", load, "harmless", ("picture",), "CC BY 4.0",
        "https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K", ("|".join(FILES),),
        hub="liuhaotian/LLaVA-Instruct-150K", hub_files=("llava_instruct_80k.json",),
        note="put the COCO images it names in images/; no text arm",
    ),
)  # fmt: skip
