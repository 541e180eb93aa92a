"""Omni-SafetyBench, text and image arms: one request in several modalities, aligned by id."""

from collections.abc import Iterator
from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow

ARMS = {
    "picture": "dual-modal/image-text/diffusion",
    "typographic": "dual-modal/image-text/typo",
    "picture_typographic": "dual-modal/image-text/diff_typo",
    "typographic-full": "unimodal/image-only",
}
"""The file of each image arm; a prompt of `typographic-full` has an image and no text."""


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the requests of the text-only file, with every image arm; audio and video are left out."""
    arms = {arm: _by_id(source, file) for arm, file in ARMS.items()}
    for number, plain in _by_id(source, "unimodal/text-only").items():
        request = plain.text("text", "corresponding_text")
        messages = {"text": words(request)}
        for arm, rows in arms.items():
            if number not in rows:
                raise PairError(
                    f"{source.name}: id {number} is not in {ARMS[arm]}.jsonl; download the file again"
                )
            row = rows[number]
            messages[arm] = _message(arm, row)
        yield BenchmarkEntry(number, "harmful", request, messages, plain.text("harmful_category"))


def _message(arm: str, row: SourceRow) -> Message:
    image = (Path(row.text("image_path")),)
    if arm == "typographic-full":
        return Message("", image)
    return Message(row.text("text"), image, row.text("key_phrase"))


def _by_id(source: BenchmarkFiles, file: str) -> dict[str, SourceRow]:
    path = source.file(f"meta_files/{file}.jsonl", f"{file}.jsonl")
    found: dict[str, SourceRow] = {}
    for row in source.rows(path, ("id",)):
        if row.text("id") in found:
            raise PairError(f"{row.where}: the id {row.text('id')} occurs twice; download the file again")
        found[row.text("id")] = row
    return found


CARDS = (
    BenchmarkCard(
        "omni-safetybench", load, "safety", ("text", *ARMS), "Apache-2.0 (code); seeds CC BY-NC 4.0",
        "https://github.com/THU-BPM/Omni-SafetyBench",
        ("meta_files/unimodal/text-only.jsonl|unimodal/text-only.jsonl",), (972,), hub="Leyiii/Omni-SafetyBench",
        hub_files=("meta_files/*", "mm_data/*/image/*"), style="mm-safetybench",
        note="images are read from data.tar or from its folder",
    ),
)  # fmt: skip
