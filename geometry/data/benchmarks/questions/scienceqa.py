"""ScienceQA: school questions with choices, most about an image."""

import re
from collections.abc import Iterator, Sequence

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Message, words
from regap.geometry.data.benchmarks.questions.choices import asked, letter
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow

FILES = (
    "ScienceQA-IMG/test*.parquet",
    "data/ScienceQA-IMG/test*.parquet",
    "ScienceQA-FULL/test*.parquet",
    "test*.parquet",
)


def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
    """Yield the test questions; one without an image has a text arm, one with an image a picture arm."""
    first, number = source.file(*FILES), 0
    for path in sorted(first.parent.glob("test*.parquet")):
        for row in source.rows(path, ("image", "question", "choices", "answer", "hint")):
            choices = _choices(row)
            question = asked(row.text("question"), choices, row.get("hint"))
            right = letter(_place(row), choices, row.where)
            shown = row.raw("image") is not None
            messages = {"picture": Message(question, (row.image(),))} if shown else {"text": words(question)}
            yield BenchmarkEntry(f"{number:04d}", "harmless", question, messages, "all", right)
            number += 1


def _choices(row: SourceRow) -> Sequence[str]:
    choices = row.raw("choices")
    if not isinstance(choices, list):
        raise PairError(f"{row.where}: choices is not a list; download the file again")
    return [row.written("choices", choice) for choice in choices]


def _place(row: SourceRow) -> int:
    answer = row.text("answer")
    if not re.fullmatch("[0-9]{1,3}", answer):
        raise PairError(
            f"{row.where}: answer is {answer!r}, not the index of a choice; download the file again"
        )
    return int(answer)


CARDS = (
    BenchmarkCard(
        "scienceqa", load, "utility", ("picture", "text"), "CC BY-NC-SA 4.0",
        "https://huggingface.co/datasets/lmms-lab/ScienceQA", ("|".join(FILES),), (2017, 4241),
        hub="lmms-lab/ScienceQA", hub_files=("ScienceQA-IMG/test*.parquet",),
        note="2,017 test questions with an image, 4,241 in all",
    ),
)  # fmt: skip
