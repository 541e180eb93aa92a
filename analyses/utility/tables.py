"""The utility tables: every benchmark in every condition, and the changes by each correction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch

from regap.analyses.judges.stored_answers import StoredAnswers
from regap.analyses.judges.verdicts import Judged
from regap.analyses.runs.records import Record, table_path
from regap.analyses.statistics import difference, equivalence, holm
from regap.analyses.utility.marking import RULES, Marked, marked
from regap.analyses.utility.measures import COUNTED, by_category

MARGIN = 0.05
"""The equivalence margin: utility counts as unchanged if a share changes by less."""


@dataclass(frozen=True)
class Scored:
    """Marked answers of one model to one benchmark in one arm, by condition."""

    model: str
    benchmark: str
    arm: str
    answers: Mapping[str, Sequence[Marked]] = field(repr=False)

    @property
    def known(self) -> dict[str, str]:
        """The columns that every table has for these answers."""
        return {"model": self.model, "benchmark": self.benchmark, "arm": self.arm}


def scored(model: str, arm: str, judged: Mapping[str, Sequence[Judged]]) -> list[Scored]:
    """Return the answers of an arm by benchmark, for benchmarks with a rule; empty if there are none."""
    found: dict[str, dict[str, Sequence[Marked]]] = {}
    for condition, answers in judged.items():
        texts = [one.completion.text for one in answers]
        for benchmark, kept in marked([one.pair for one in answers], texts).items():
            found.setdefault(benchmark, {})[condition] = kept
    return [Scored(model, benchmark, arm, answers) for benchmark, answers in found.items()]


def stored_utility(stored: StoredAnswers, seed: int = 0) -> tuple[Record, ...]:
    """Return the utility tables of a run's stored answers; empty if no pair belongs to a benchmark with a rule."""
    cells: dict[str, dict[str, list[Judged]]] = {}
    for answered, one in zip(stored.answers, stored.verdicts, strict=True):
        cells.setdefault(answered.arm, {}).setdefault(answered.condition, []).append(one)
    found = [one for arm, judged in cells.items() for one in scored(stored.model, arm, judged)]
    return utility_records(found, seed=seed)


def utility_records(found: Sequence[Scored], baseline: str = "baseline", seed: int = 0) -> tuple[Record, ...]:
    """Return the tables utility, utility_changes and utility_answers; empty tables are left out."""
    rows = {
        "utility": [row for one in found for row in _shares(one, seed)],
        "utility_changes": [row for one in found for row in _changes(one, baseline, seed)],
        "utility_answers": [row for one in found for row in _answers(one)],
    }
    return tuple(Record(name, pd.DataFrame(cells)) for name, cells in rows.items() if cells)


def with_known(records: Sequence[Record], folder: Path) -> tuple[Record, ...]:
    """Return tables of utility, with the run's rows of other benchmarks, arms and conditions added.

    Rows of the same model, benchmark, arm and condition are replaced.
    """
    return tuple(_merged(record, folder) for record in records)


def _merged(record: Record, folder: Path) -> Record:
    if not table_path(folder, record.name).is_file():
        return record
    same = ["model", "benchmark", "arm", "condition"]
    old = Record.load(folder, record.name).table
    new = set(record.table[same].itertuples(index=False, name=None))
    kept = old[[row not in new for row in old[same].itertuples(index=False, name=None)]]
    if not len(kept):
        return record
    return Record(record.name, pd.concat([kept, record.table], ignore_index=True))


def _shares(one: Scored, seed: int) -> list[dict[str, object]]:
    return [
        {**one.known, "condition": condition, "category": category, "measure": measure, **vars(value)}
        for condition, answers in one.answers.items()
        for category, found in by_category(one.benchmark, answers, seed).items()
        for measure, value in found.items()
    ]


def _changes(one: Scored, baseline: str, seed: int) -> list[dict[str, object]]:
    """Compare each condition with the baseline on questions answered in both; p-values are adjusted by measure."""
    rows: list[dict[str, object]] = []
    if baseline not in one.answers:
        return rows
    for measure in ("accuracy", *RULES[one.benchmark].measures):
        if measure not in COUNTED:
            continue
        family = [
            {**one.known, "condition": condition, "measure": measure, **change}
            for condition in one.answers
            if condition != baseline and (change := _change(one, baseline, condition, measure, seed))
        ]
        adjusted = holm({str(row["condition"]): float(row["p"]) for row in family})
        rows += [{**row, "p_holm": adjusted[str(row["condition"])]} for row in family]
    return rows


def _change(one: Scored, baseline: str, condition: str, measure: str, seed: int) -> dict[str, float | int]:
    before, after = (COUNTED[measure](one.answers[name]) for name in (baseline, condition))
    place = {name: number for number, name in enumerate(after.names)}
    kept = [number for number, name in enumerate(before.names) if name in place]
    if not kept:
        return {}
    clusters = [before.clusters[number] for number in kept]
    hits = before.right[kept]
    then = after.right[torch.tensor([place[before.names[number]] for number in kept])]
    found = difference(hits, then, clusters, seed)
    return {
        **vars(found.change),
        "p": found.p_value,
        "detectable": found.detectable if math.isfinite(found.detectable) else math.nan,
        "p_equivalent": equivalence(hits, then, clusters, MARGIN),
    }


def _answers(one: Scored) -> list[dict[str, object]]:
    return [
        {
            **one.known,
            "condition": condition,
            "pair_id": answer.pair.pair_id,
            "category": answer.pair.category,
            "answer": answer.pair.answer,
            "text": answer.text,
            "said": answer.said,
            "right": answer.right,
            "refused": answer.refused,
        }
        for condition, answers in one.answers.items()
        for answer in answers
    ]
