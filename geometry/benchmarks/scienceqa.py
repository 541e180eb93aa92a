"""ScienceQA: school questions with choices, most about an image."""

from collections.abc import Iterator, Sequence

from regap.geometry.benchmarks.card import Card
from regap.geometry.benchmarks.choices import asked, letter
from regap.geometry.benchmarks.entry import Entry, Message, words
from regap.geometry.benchmarks.source import Row, Source
from regap.geometry.pairs import PairError

FILES = (
    "ScienceQA-IMG/test*.parquet",
    "data/ScienceQA-IMG/test*.parquet",
    "ScienceQA-FULL/test*.parquet",
    "test*.parquet",
)


def load(source: Source) -> Iterator[Entry]:
    """Yield the test questions; one without an image has a text arm, one with an image a picture arm."""
    first, number = source.file(*FILES), 0
    for path in sorted(first.parent.glob("test*.parquet")):
        for row in source.rows(path, ("image", "question", "choices", "answer", "hint")):
            choices = _choices(row)
            question = asked(row.text("question"), choices, row.get("hint"))
            right = letter(_place(row), choices, row.where)
            shown = row.raw("image") is not None
            messages = {"picture": Message(question, (row.image(),))} if shown else {"text": words(question)}
            yield Entry(f"{number:04d}", "harmless", question, messages, "all", right)
            number += 1


def _choices(row: Row) -> Sequence[str]:
    try:
        return [str(choice) for choice in row.raw("choices")]
    except TypeError:
        raise PairError(f"{row.where}: choices is no list; download the file again") from None


def _place(row: Row) -> int:
    answer = row.text("answer")
    if not answer.isdigit():
        raise PairError(
            f"{row.where}: answer is {answer!r}, not the place of a choice; download the file again"
        )
    return int(answer)


CARDS = (
    Card(
        "scienceqa", load, "utility", ("picture", "text"), "CC BY-NC-SA 4.0",
        "https://huggingface.co/datasets/lmms-lab/ScienceQA", ("|".join(FILES),), (2017, 4241),
        hub="lmms-lab/ScienceQA", hub_files=("ScienceQA-IMG/test*.parquet",),
        note="2,017 test questions with an image, 4,241 in all",
    ),
)  # fmt: skip
