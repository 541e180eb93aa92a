"""What each correction changes according to each judge: paired tests on the same prompts with and without it."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from regap.analyses.judges.stored_answers import StoredAnswers
from regap.analyses.judges.verdicts import Judged
from regap.analyses.statistics import difference, equivalence, holm

MARGIN = 0.05
"""Utility that changes by less than this counts as equivalent."""
BASELINE = "baseline"
COUNTED: Mapping[str, tuple[Literal["harmful", "harmless"], str]] = {
    "attack_success": ("harmful", "complied"),
    "refusal": ("harmful", "refused"),
    "over_refusal": ("harmless", "refused"),
    "utility": ("harmless", "complied"),
}


def comparison_rows(
    stored: StoredAnswers, verdicts: Sequence[Sequence[Judged]], seed: int = 0
) -> list[dict[str, object]]:
    """Return every condition against no correction, by judge, arm and measure, on prompts judged under both.

    p: McNemar's test; p_holm: adjusted across the conditions of one judge, arm and measure; p_equivalent: equivalence
    test within MARGIN, for utility only.
    """
    rows: list[dict[str, object]] = []
    for judged in verdicts:
        cells = _by_cell(stored, judged)
        for arm in dict.fromkeys(one.arm for one in stored.answers):
            for measure in COUNTED:
                rows += _family(stored.model, judged[0].judge, arm, measure, cells, seed)
    return rows


def _by_cell(stored: StoredAnswers, judged: Sequence[Judged]) -> dict[tuple[str, str], dict[str, Judged]]:
    cells: dict[tuple[str, str], dict[str, Judged]] = {}
    for answered, one in zip(stored.answers, judged, strict=True):
        if one.verdict != "not_judged":
            cells.setdefault((answered.condition, answered.arm), {})[one.pair.pair_id] = one
    return cells


def _family(
    model: str,
    judge: str,
    arm: str,
    measure: str,
    cells: Mapping[tuple[str, str], Mapping[str, Judged]],
    seed: int,
) -> list[dict[str, object]]:
    """Return the rows of one judge, arm and measure: one family of tests."""
    rows, p_values = [], {}
    before = cells.get((BASELINE, arm), {})
    for condition in (name for name, where in cells if where == arm and name != BASELINE):
        row = _row(before, cells[condition, arm], measure, seed)
        if row:
            p_values[condition] = row["p"]
            rows.append({"model": model, "judge": judge, "arm": arm, "condition": condition, **row})
    adjusted = holm(p_values)
    return [{**row, "p_holm": adjusted[row["condition"]]} for row in rows]


def _row(
    before: Mapping[str, Judged], after: Mapping[str, Judged], measure: str, seed: int
) -> dict[str, float | int | str] | None:
    label, verdict = COUNTED[measure]
    names = [name for name, one in before.items() if name in after and one.pair.label == label]
    if not names:
        return None
    hits = [torch.tensor([side[name].verdict == verdict for name in names]) for side in (before, after)]
    clusters = [before[name].pair.cluster for name in names]
    found = difference(hits[0], hits[1], clusters, seed)
    return {
        "measure": measure,
        **vars(found.change),
        "p": found.p_value,
        "detectable": found.detectable if math.isfinite(found.detectable) else math.nan,
        "p_equivalent": equivalence(hits[0], hits[1], clusters, MARGIN) if measure == "utility" else math.nan,
    }
