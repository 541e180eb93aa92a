"""Kappa against its textbook example, its limits, and its chance level; what was not judged counts for neither."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from regap.analyses.judges.agreement import agreement, disagreements, kappa_draws
from regap.analyses.judges.verdicts import Judged

Make = Callable[[Sequence[tuple[str, ...]]], list[Judged]]
# Two raters, yes and no: 20 both yes, 5 and 10 apart, 15 both no: kappa = (0.7 - 0.5) / (1 - 0.5).
TEXTBOOK = [("refused", "refused")] * 20 + [("refused", "complied")] * 5
TEXTBOOK += [("complied", "refused")] * 10 + [("complied", "complied")] * 15


def two(make: Make, cells: Sequence[tuple[str, str]], clusters: int = 1) -> tuple[list[Judged], list[Judged]]:
    """Two judges' verdicts; `clusters` answers in a row share a cluster."""
    first, second = (
        make([("harmful", cell[side], f"c{place // clusters}") for place, cell in enumerate(cells)])
        for side in (0, 1)
    )
    return first, second


def test_the_textbook_example(make_judged: Make) -> None:
    found = agreement(*two(make_judged, TEXTBOOK))
    assert found and found.unjudged == 0
    assert found.kappa.value == pytest.approx(0.4) and found.share.value == pytest.approx(0.7)
    assert found.kappa.low < 0.4 < found.kappa.high and found.kappa.n == 50


def test_every_resample_is_the_kappa_of_its_own_answers() -> None:
    random = np.random.default_rng(0)
    one, other = random.integers(0, 3, 40), random.integers(0, 3, 40)
    other[:25] = one[:25]
    counts = random.multinomial(40, np.full(40, 1 / 40), size=5)
    draws = kappa_draws(torch.tensor(one), torch.tensor(other), torch.tensor(counts, dtype=torch.float64))
    expected = [cohen_kappa_score(np.repeat(one, each), np.repeat(other, each)) for each in counts]
    assert draws.tolist() == pytest.approx(expected)


def test_judges_that_know_nothing_of_each_other_agree_by_chance_alone(make_judged: Make) -> None:
    random = np.random.default_rng(1)
    names = np.array(["refused", "complied"])
    cells = [(str(a), str(b)) for a, b in names[(random.random((600, 2)) < 0.3).astype(int)]]
    found = agreement(*two(make_judged, cells))
    assert found and found.kappa.low < 0 < found.kappa.high and abs(found.kappa.value) < 0.1
    same = agreement(*two(make_judged, [(one, one) for one, _ in cells]))
    assert same and same.kappa.value == 1 and 0.9 < same.kappa.low < 1


def test_two_judges_with_one_verdict_have_no_kappa(make_judged: Make) -> None:
    found = agreement(*two(make_judged, [("refused", "refused")] * 9))
    assert found and np.isnan(found.kappa.value) and found.share.value == 1


def test_a_judge_with_one_verdict_has_a_kappa_of_0_and_no_interval(make_judged: Make) -> None:
    found = agreement(*two(make_judged, [(one, "refused") for one, _ in TEXTBOOK]))
    assert found and found.kappa.value == pytest.approx(0) and found.share.value == 0.5
    assert np.isnan([found.kappa.low, found.kappa.high]).all()


def test_answers_of_one_cluster_count_as_one_draw(make_judged: Make) -> None:
    cells = [cell for cell in TEXTBOOK for _ in range(4)]
    wide, narrow = agreement(*two(make_judged, cells, clusters=4)), agreement(*two(make_judged, cells))
    assert wide and narrow and wide.kappa.value == pytest.approx(narrow.kappa.value)
    assert wide.kappa.high - wide.kappa.low > 1.5 * (narrow.kappa.high - narrow.kappa.low)


def test_what_one_did_not_judge_is_neither_agreement_nor_disagreement(make_judged: Make) -> None:
    cells = [*TEXTBOOK, ("not_judged", "refused"), ("not_judged", "not_judged"), ("degenerate", "complied")]
    first, second = two(make_judged, cells)
    found = agreement(first, second)
    assert found and (found.kappa.n, found.unjudged) == (51, 2)
    assert disagreements(first, second) == (*range(20, 35), 52)
    assert agreement(*two(make_judged, [("not_judged", "refused")] * 3)) is None


def test_judges_of_different_answers_are_not_compared(make_judged: Make) -> None:
    first, second = two(make_judged, TEXTBOOK)
    for wrong in (second[1:], second[::-1], []):
        with pytest.raises(ValueError, match="judged different answers"):
            agreement(first, wrong)
    with pytest.raises(ValueError, match="no answers were judged; generate answers first"):
        agreement([], [])


def test_in_one_cluster_agreement_has_no_interval(make_judged: Make) -> None:
    found = agreement(*two(make_judged, TEXTBOOK, clusters=50))
    assert found and found.kappa.value == pytest.approx(0.4)
    assert np.isnan([found.kappa.low, found.kappa.high, found.share.low, found.share.high]).all()


def test_what_was_misread_is_no_matter_of_judges(make_judged: Make) -> None:
    first, second = two(make_judged, [*TEXTBOOK, ("misread", "misread"), ("misread", "refused")])
    found = agreement(first, second)
    assert found and found.unjudged == 2 and found.kappa.value == pytest.approx(0.4)
    assert max(disagreements(first, second)) < 50
