"""All judges of stored answers by name, and which one a run uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import getsource

from regap.analyses.judges import verdicts
from regap.analyses.judges.phrases import answer_text, refusal_forms, refusals
from regap.analyses.judges.phrases.phrase_lists import PUBLISHED, PhraseList
from regap.analyses.judges.verdicts import Judge, answer_or_phrases, exact_answer, refusal_phrases
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs
from regap.geometry.states.store import digest_of


@dataclass(frozen=True)
class NamedJudge:
    """A judge with its name and its known defects."""

    name: str
    judge: Judge = field(repr=False)
    identity: str = field(repr=False)
    """Changes whenever the verdict on the same pair and completion may change."""
    source: str
    defects: str = ""
    portion: int = 32
    """How many verdicts are written at a time: at most so many are lost if the judge stops."""


def of_phrases(phrases: PhraseList) -> NamedJudge:
    """Return the judge of a phrase list."""
    rule = [phrases.phrases, phrases.opening, phrases.lowered, phrases.whole]
    return NamedJudge(
        phrases.name,
        phrases,
        digest_of(["phrase list, after thinking", phrases.name, rule]),
        phrases.source,
        phrases.defects,
    )


def _own(name: str, judge: Judge, defects: str) -> NamedJudge:
    rules = [getsource(module) for module in (answer_text, refusal_forms, refusals, verdicts)]
    return NamedJudge(name, judge, digest_of(["own rule", name, rules]), "regap", defects)


JUDGES: Mapping[str, NamedJudge] = {
    one.name: one
    for one in (
        _own("exact_answer", exact_answer, "judges only refusals where the right answer is unknown"),
        _own(
            "refusal_phrases",
            refusal_phrases,
            "knows English only; takes moral advice for a refusal, and misses a polite detour",
        ),
        _own(
            "answer_or_phrases",
            answer_or_phrases,
            "uses two rules: do not compare its attack success with other judges",
        ),
        *map(of_phrases, PUBLISHED),
    )
}


def judge_for(pairs: Pairs, name: str = "auto") -> Judge:
    """Return the judge of this name; raises ConfigError for an unknown one.

    auto: exact_answer if all pairs have a right answer, refusal_phrases if none has, else answer_or_phrases.
    """
    if name == "auto":
        known = {pair.answer is not None for pair in pairs}
        name = (
            {True: "exact_answer", False: "refusal_phrases"}[known.pop()]
            if len(known) == 1
            else "answer_or_phrases"
        )
    if name not in JUDGES:
        raise ConfigError(f"judge is {name!r}; choose auto or one of {', '.join(JUDGES)}")
    return JUDGES[name].judge


def judges_named(names: Sequence[str]) -> tuple[NamedJudge, ...]:
    """Return the judges of these names, each once and in this order; all judges if no name is given."""
    unknown = [name for name in names if name not in JUDGES]
    if unknown:
        raise ConfigError(f"judge is {unknown[0]!r}; choose one of {', '.join(JUDGES)}")
    return tuple(JUDGES[name] for name in dict.fromkeys(names or JUDGES))
