"""MM-SafetyBench: a harmful question with its key phrase shown as a picture, as text, or as both."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from regap.geometry.data.benchmarks.card import BenchmarkCard
from regap.geometry.data.benchmarks.entry import BenchmarkEntry, Loader, Message, words
from regap.geometry.data.benchmarks.source import BenchmarkFiles, SourceRow

HARMFUL: Mapping[str, int] = MappingProxyType(
    {
        "01-Illegal_Activitiy": 97,  # as it is distributed; the spelling Illegal_Activity is found too
        "02-HateSpeech": 163,
        "03-Malware_Generation": 44,
        "04-Physical_Harm": 144,
        "05-EconomicHarm": 122,
        "06-Fraud": 154,
        "07-Sex": 109,
        "09-Privacy_Violence": 139,
    }
)
ADVICE: Mapping[str, int] = MappingProxyType(
    {
        "08-Political_Lobbying": 153,
        "10-Legal_Opinion": 130,
        "11-Financial_Advice": 167,
        "12-Health_Consultation": 109,
        "13-Gov_Decision": 149,
    }
)
"""Scenarios in which a wrong answer lacks a disclaimer but does no harm; a separate benchmark."""
SHOWN = {"SD": "picture", "TYPO": "typographic", "SD_TYPO": "picture_typographic"}
COLUMNS = ("Question", "Changed Question", "Key Phrase", "Rephrased Question", "Rephrased Question(SD)")


def _loader(scenarios: Mapping[str, int]) -> Loader:
    def load(source: BenchmarkFiles) -> Iterator[BenchmarkEntry]:
        for scenario in scenarios:
            spelt = _spellings(scenario)
            path = source.find(*(f"{start}{name}.json" for start in QUESTIONS for name in spelt))
            yield from _from_json(source, scenario, path) if path else _from_parquet(source, scenario)

    return load


QUESTIONS = ("data/processed_questions/", "processed_questions/", "")
IMAGES = ("data/imgs", "imgs", "images", "data/images")


def _spellings(scenario: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((scenario, scenario.replace("Activitiy", "Activity"))))


def _from_json(source: BenchmarkFiles, scenario: str, path: Path) -> Iterator[BenchmarkEntry]:
    """Yield the entries of a JSON file; ids are used as they are, gaps included."""
    folder = source.place(*(f"{start}/{name}" for start in IMAGES for name in _spellings(scenario)))
    for number, row in source.entries(path):
        for column in COLUMNS:
            row.text(column)
        messages = {"text": words(row.text("Changed Question")), "text-question": words(row.text("Question"))}
        for kind, arm in SHOWN.items():
            asks = row.text("Rephrased Question(SD)" if kind == "SD" else "Rephrased Question")
            phrase = row.text("Key Phrase")
            messages[arm] = Message(asks, (folder / kind / f"{number}.jpg",), phrase)
        name = f"{scenario[:2]}-{number}"
        yield BenchmarkEntry(name, "harmful", row.text("Question"), messages, scenario)


def _from_parquet(source: BenchmarkFiles, scenario: str) -> Iterator[BenchmarkEntry]:
    """Yield the entries of the hub's files: one file for each scenario and kind, joined by id."""
    kinds = {kind: _table(source, scenario, kind) for kind in (*SHOWN, "Text_only")}
    for number, plain in kinds["Text_only"].items():
        messages = {"text": words(plain.text("question"))}
        for kind, arm in SHOWN.items():
            row = kinds[kind].get(number)
            if row:
                messages[arm] = Message(row.text("question"), (row.image(),), shown="")
        yield BenchmarkEntry(
            f"{scenario[:2]}-{number}", "harmful", plain.text("question"), messages, scenario
        )


def _table(source: BenchmarkFiles, scenario: str, kind: str) -> dict[str, SourceRow]:
    names = [name[3:] for name in _spellings(scenario)]
    path = source.file(
        *(
            f"{start}{name}/{kind}{end}"
            for start in ("data/", "")
            for name in names
            for end in (".parquet", "-*.parquet")
        )
    )
    return {row.text("id"): row for row in source.rows(path, ("id", "question"))}


HOME = "https://github.com/isXinLiu/MM-SafetyBench"
HUB = "PKU-Alignment/MM-SafetyBench"
ARMS = ("text", "text-question", *SHOWN.values())


def _files(name: str) -> tuple[str, ...]:
    patterns = [f"{start}{name}.json" for start in QUESTIONS] + [
        f"data/{name[3:]}/*.parquet",
        f"{name[3:]}/*.parquet",
    ]
    return ("|".join(patterns),)


CARDS = (
    BenchmarkCard(
        "mm-safetybench", _loader(HARMFUL), "safety", ARMS, "CC BY-NC 4.0", HOME, _files("02-HateSpeech"),
        (sum(HARMFUL.values()),), HARMFUL, HUB, style="mm-safetybench",
        note="the eight scenarios about harm; get the images from the publisher's drive or from the hub",
    ),
    BenchmarkCard(
        "mm-safetybench-advice", _loader(ADVICE), "safety", ARMS, "CC BY-NC 4.0", HOME, _files("13-Gov_Decision"),
        (sum(ADVICE.values()),), ADVICE, HUB, style="mm-safetybench",
        note="scenarios 08 and 10 to 13, about missing disclaimers: do not average them with the others",
    ),
)  # fmt: skip
