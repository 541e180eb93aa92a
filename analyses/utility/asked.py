"""Ask a run's model a utility benchmark, without correction and with each of the run's corrections."""

from collections.abc import Sequence
from dataclasses import dataclass

from regap.analyses.comparison.choice import calibration_of, check_names, choose
from regap.analyses.runs.questions import save_answer
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import Run
from regap.analyses.utility.marking import RULES
from regap.analyses.utility.tables import scored, utility_records, with_known
from regap.errors import ConfigError, PairError
from regap.geometry.data.benchmarks.loading import benchmark
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.hooks import Edit
from regap.geometry.sole_writer import sole_writer
from regap.interventions.defences.catalogue import METHODS


@dataclass(frozen=True)
class Asking:
    """A benchmark, the place of its data, and the questions to ask."""

    benchmark: str
    data: str | None = None
    limit: int | None = None
    """Number of questions from the start of the file; their twins are added."""
    methods: tuple[str, ...] = ()
    """Methods of `regap compare`, besides the run's own conditions."""
    download: bool = False
    partial: bool = False

    def __post_init__(self) -> None:
        check_names(self.methods)
        for name in self.methods:
            if METHODS[name].speaks:
                raise ConfigError(
                    f"method {name} rewrites the prompt, but a benchmark fixes its questions; leave it out"
                )
            if METHODS[name].looks_at:
                raise ConfigError(
                    f"method {name} also runs {' and '.join(METHODS[name].looks_at)} for each prompt, which "
                    f"{self.benchmark} lacks; leave it out"
                )
        if self.benchmark not in RULES:
            raise ConfigError(
                f"benchmark is {self.benchmark!r}, which has no scoring rule; choose one of {', '.join(RULES)}"
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit is {self.limit}; give a number of questions above 0")


def ask_utility(run: Run, asking: Asking, seed: int | None = None) -> tuple[Record, ...]:
    """Return the tables of utility with this benchmark added, and store them in the run folder.

    Answers are stored, so an interrupted command continues. Questions that the run calibrated on, and their twins, are
    not asked.
    """
    pairs = benchmark(asking.benchmark, asking.data, download=asking.download, allow_partial=asking.partial)
    with sole_writer(run.folder):
        calibrated = run.calibrated
        asked = unseen(first_with_twins(pairs, asking.limit), calibrated.seen.pairs)
        conditions: dict[str, Sequence[Edit]] = {**calibrated.conditions}
        if asking.methods:
            fitted_on = calibration_of(calibrated.seen, calibrated.seen.pairs + asked)
            conditions |= {name: choose(calibrated.seen, fitted_on, name).edits for name in asking.methods}
        found = [
            one
            for arm in asked.arms
            for one in scored(calibrated.seen.model.name, arm, calibrated.answers(arm, conditions, asked))
        ]
        seed = calibrated.seen.config.seed if seed is None else seed
        records = with_known(utility_records(found, seed=seed), run.folder)
        settings = {name: getattr(asking, name) for name in ("benchmark", "limit", "methods")}
        save_answer(run.folder, "utility", {**settings, "seed": seed}, records)
        return records


def first_with_twins(pairs: Pairs, limit: int | None) -> Pairs:
    """Return the first pairs and those that share a cluster with one of them, because measures need whole groups."""
    if limit is None:
        return pairs
    kept = {pair.cluster for pair in pairs.pairs[:limit]}
    return Pairs(tuple(pair for pair in pairs if pair.cluster in kept), pairs.notes)


def unseen(asked: Pairs, known: Pairs) -> Pairs:
    """Return the pairs that share no cluster with calibration pairs. Raises PairError if none is left."""
    clusters = {pair.cluster for pair in known if pair.split == "calibration"}
    names = {pair.pair_id for pair in known if pair.split == "calibration"}
    kept = tuple(pair for pair in asked if pair.cluster not in clusters and pair.pair_id not in names)
    if not kept:
        raise PairError(
            f"the run calibrated on all {len(asked)} questions, or on their twins; make a run on "
            "other pairs, then ask this benchmark"
        )
    return Pairs(kept, asked.notes)
