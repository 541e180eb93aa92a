"""Omni-SafetyBench, arms of text, images and speech: one request in several modalities, aligned by id."""

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
SPEECH = {
    "speech": "dual-modal/audio-text/tts",
    "speech_noise": "dual-modal/audio-text/tts_noise",
    "speech-full": "unimodal/audio-only",
}
"""The file of each arm of speech; a prompt of `speech-full` has a sound and no text."""
SOUNDS = {
    "speech": "mm_data/key_phrase/audio/tts",
    "speech_noise": "mm_data/key_phrase/audio/tts_noise",
    "speech-full": "mm_data/full/audio",
}
"""The folder of each arm's sounds; without it the arm is left out, with a note."""


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the requests of the text-only file, with every arm of images and those of speech whose sounds are there.

    Arms of video, and of images and sounds together, are left out.
    """
    heard = {arm: file for arm, file in SPEECH.items() if (source.folder / SOUNDS[arm]).is_dir()}
    absent = [arm for arm in SPEECH if arm not in heard]
    if absent:
        folders = ", ".join(SOUNDS[arm] for arm in absent)
        source.notes.append(f"{source.name}: {', '.join(absent)} is left out, since {folders} is not there")
    files = {**ARMS, **heard}
    arms = {arm: _by_id(source, file) for arm, file in files.items()}
    for number, plain in _by_id(source, "unimodal/text-only").items():
        request = plain.text("text", "corresponding_text")
        messages = {"text": words(request)}
        for arm, rows in arms.items():
            if number not in rows:
                raise PairError(
                    f"{source.name}: id {number} is not in {files[arm]}.jsonl; download the file again"
                )
            row = rows[number]
            messages[arm] = _message(arm, row)
        yield BenchmarkEntry(number, "harmful", request, messages, plain.text("harmful_category"))


def _message(arm: str, row: SourceRow) -> Message:
    if arm in SPEECH:
        sound = (Path(row.text("audio_path")),)
        if arm == "speech-full":
            return Message("", sounds=sound)
        return Message(row.text("text"), shown=row.text("key_phrase"), sounds=sound)
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
        "omni-safetybench", load, "safety", ("text", *ARMS, *SPEECH), "Apache-2.0 (code); seeds CC BY-NC 4.0",
        "https://github.com/THU-BPM/Omni-SafetyBench",
        ("meta_files/unimodal/text-only.jsonl|unimodal/text-only.jsonl",), (972,), hub="Leyiii/Omni-SafetyBench",
        hub_files=("meta_files/*", "mm_data/*/image/*", "mm_data/*/audio/*"), style="mm-safetybench",
        note="images and sounds are read from data.tar or from its folder",
    ),
)  # fmt: skip
