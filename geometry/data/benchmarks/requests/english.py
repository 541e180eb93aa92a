"""The project's own English requests: harmful ones, harmless twins that look alike, and everyday ones.

Each topic is held out or for training as a whole. Only held-out topics are read as benchmarks, so that a model that was
trained on the others can be measured on them.
"""

from collections import Counter
from collections.abc import Iterator

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Loader, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles
from regap.geometry.data.pairs import Label

FILE = "english.csv"
COLUMNS = ("split", "label", "category", "topic", "pair", "request")
SPLITS = ("training", "held_out")
HELD_OUT = "held_out"


LABELS: dict[str, Label] = {"harmful": "harmful", "contrast": "harmless", "everyday": "harmless"}
"""The kinds of requests; a contrast is the harmless twin of a harmful one."""


def _loader(*kinds: str) -> Loader:
    """Return a loader of the held-out requests of these kinds; the first of every topic come before the second of any.

    So the first few of them, which a limit keeps, are on as many topics as can be.
    """

    def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
        known = Counter[tuple[str, str]]()
        found: list[tuple[int, BenchmarkEntry]] = []
        for entry in read(source):
            own = (entry.twins or "", entry.label)
            found.append((known[own], entry))
            known[own] += 1
        yield from (entry for _, entry in sorted(found, key=lambda each: each[0]))

    def read(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
        for number, row in enumerate(source.rows(source.file(FILE), COLUMNS)):
            split = row.text("split")
            if split not in SPLITS:
                raise PairError(
                    f"{source.name}: {FILE}, row {number + 1} has split {split!r}; write one of {', '.join(SPLITS)}"
                )
            kind = row.text("label")
            if split == HELD_OUT and kind in kinds:
                request, name = row.text("request"), f"{number:04d}"
                messages, category = {"text": words(request)}, row.text("category")
                yield BenchmarkEntry(name, LABELS[kind], request, messages, category, twins=row.text("topic"))

    return load


CARDS = (
    BenchmarkCard(
        "english", _loader("harmful"), "safety", ("text",), "Apache-2.0", "bundled with regap", (FILE,), (300,),
        bundled=True, note="harmful requests, written for this project; needs no folder",
    ),
    BenchmarkCard(
        "english-twins", _loader("harmful", "contrast"), "safety", ("text",), "Apache-2.0", "bundled with regap",
        (FILE,), (600,), bundled=True, note="the same with their harmless twins, which share verb or nouns",
    ),
    BenchmarkCard(
        "english-everyday", _loader("everyday"), "harmless", ("text",), "Apache-2.0", "bundled with regap", (FILE,),
        (600,), bundled=True, note="written for this project; needs no folder",
    ),
)  # fmt: skip
