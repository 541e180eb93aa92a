"""The benchmarks with a published scoring rule, and how answers to them are marked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from regap.analyses.judges.phrases.answer_text import after_thinking
from regap.analyses.judges.phrases.refusals import opens_with_refusal
from regap.analyses.utility import reading
from regap.geometry.data.pairs import Pair


@dataclass(frozen=True)
class Marked:
    """An answer to a question of a benchmark, read by its rule."""

    pair: Pair = field(repr=False)
    text: str = field(repr=False)
    said: str
    """The answer as the rule reads it after its thinking: yes, no, a letter, or an open answer unchanged."""
    right: bool
    readable: bool
    """False if the rule finds no answer, takes text that it does not recognise for one, or sees only thinking."""

    @property
    def refused(self) -> bool:
        """True if the answer opens with a refusal, however the rule reads it."""
        return opens_with_refusal(self.text)


Marks = Callable[[Pair, str], Marked]


@dataclass(frozen=True)
class ScoringRule:
    """How a benchmark is scored."""

    benchmark: str
    reads: Marks = field(repr=False)
    """How an answer without thinking is marked."""
    measures: tuple[str, ...]
    """Measures besides accuracy, unread and refused."""
    source: str
    defects: str = ""

    def marks(self, pair: Pair, text: str) -> Marked:
        """Return the answer marked by what it says after its thinking; one cut off before is unread and not right."""
        said = after_thinking(text)
        if said is None:
            return Marked(pair, text, "", False, False)
        return replace(self.reads(pair, said), text=text)


def marked_yes_or_no(reads: Callable[[str], str], readable: Callable[[str], bool]) -> Marks:
    """Return the marking of questions whose right answer is yes or no."""

    def marks(pair: Pair, text: str) -> Marked:
        said = reads(text)
        return Marked(pair, text, said, said == answer_of(pair).lower().strip(". "), readable(text))

    return marks


def marked_choice(reads: Callable[[str, reading.Choices], str]) -> Marks:
    """Return the marking of questions whose right answer is the letter of a choice."""

    def marks(pair: Pair, text: str) -> Marked:
        said = reads(text, reading.choices_of(pair.request))
        return Marked(pair, text, said, said == answer_of(pair), bool(said))

    return marks


def marked_mmmu(pair: Pair, text: str) -> Marked:
    """Return MMMU's marking: a letter if there are choices, else an open answer."""
    if reading.choices_of(pair.request):
        return marked_choice(reading.read_mmmu)(pair, text)
    right = reading.is_right(text, answer_of(pair))
    return Marked(pair, text, " ".join(text.split()), right, bool(text.strip()))


def answer_of(pair: Pair) -> str:
    """Return the right answer. Raises ValueError if the pair has none."""
    if not pair.answer:
        raise ValueError(f"pair {pair.pair_id!r} has no right answer, so it cannot be scored; read it again")
    return pair.answer


RULES: Mapping[str, ScoringRule] = {
    rule.benchmark: rule
    for rule in (
        ScoringRule(
            "mme", marked_yes_or_no(reading.read_mme, lambda text: bool(reading.read_mme(text))),
            ("accuracy_plus", "score"),
            "MME's evaluation script; score: 100 times accuracy and accuracy+, summed over kinds of question",
        ),
        ScoringRule(
            "pope", marked_yes_or_no(reading.read_pope, reading.says_either),
            ("precision", "recall", "f1", "yes_share"),
            "POPE's evaluate.py; yes is the positive answer",
            "an answer without no or not counts as yes, even a refusal or an empty one; see also unread and refused",
        ),
        ScoringRule("scienceqa", marked_choice(reading.read_scienceqa), (), "LLaVA's eval_science_qa.py"),
        ScoringRule(
            "mmbench", marked_choice(reading.read_mmbench), (), "VLMEvalKit, each question asked once",
            "a model that always says A is right a quarter of the time; mmbench-circular corrects for this",
        ),
        ScoringRule(
            "mmbench-circular", marked_choice(reading.read_mmbench), ("circular_accuracy",),
            "VLMEvalKit's CircularEval: a question is right if every rotation of its choices is",
        ),
        ScoringRule(
            "mmmu", marked_mmmu, (), "MMMU's eval_utils.py",
            "an unreadable answer counts as wrong; MMMU draws a random letter for it",
        ),
    )
}  # fmt: skip


def benchmark_of(pair: Pair) -> str:
    """Return the benchmark of a pair: the part of its id before the slash."""
    return pair.pair_id.partition("/")[0]


def marked(pairs: Sequence[Pair], texts: Sequence[str]) -> dict[str, tuple[Marked, ...]]:
    """Return the marked answers of each benchmark that has a rule; pairs of other benchmarks are skipped."""
    found: dict[str, list[Marked]] = {}
    for pair, text in zip(pairs, texts, strict=True):
        rule = RULES.get(benchmark_of(pair))
        if rule:
            found.setdefault(rule.benchmark, []).append(rule.marks(pair, text))
    return {benchmark: tuple(answers) for benchmark, answers in found.items()}
