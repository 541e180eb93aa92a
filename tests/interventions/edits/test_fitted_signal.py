"""A fitted signal finds what was planted, and on noise it is no better on new prompts than chance."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from regap.errors import PairError
from regap.interventions.edits.signals import Traces, cross_fitted, fit_weights, folds_of

HARMFUL = torch.tensor([True, False] * 60)
CLUSTERS = [f"c{place // 2}-{place % 2}" for place in range(120)]


def planted(effect: float) -> Traces:
    """z before carries nothing; z after at layer 1 minus that at layer 0 carries the label."""
    generator = torch.Generator().manual_seed(1)
    before, after = (torch.randn(120, 6, generator=generator).double() for _ in range(2))
    after[:, 1] = after[:, 0] + effect * HARMFUL.double() + 0.3 * after[:, 1]
    return Traces(before, after)


def test_planted_weights_are_found() -> None:
    weights = fit_weights("fitted", planted(1.0), HARMFUL)
    assert weights[1, 1] > 0 > weights[1, 0] and float(weights[0].abs().max()) < float(weights[1, 1]) / 2
    after_alone = fit_weights("fitted_after", planted(1.0), HARMFUL)
    assert not after_alone[0].any() and bool(after_alone[1].all())


def aurocs(traces: Traces, harmful: torch.Tensor) -> tuple[float, float]:
    """AUROC of the fitted signal on the prompts it was fitted on, and on prompts it was not."""
    inside = traces.signal("fitted", fit_weights("fitted", traces, harmful))
    outside = cross_fitted("fitted", traces, harmful, folds_of(CLUSTERS, harmful))
    return roc_auc_score(harmful, inside), roc_auc_score(harmful, outside)


def test_on_new_prompts_noise_detects_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    shuffles = [HARMFUL[torch.randperm(120, generator=generator)] for _ in range(12)]
    found = torch.tensor([aurocs(planted(0.0), labels) for labels in shuffles]).mean(0)
    assert found[0] > 0.65  # what a fit to noise would have claimed
    assert abs(found[1] - 0.5) < 0.05
    assert aurocs(planted(1.0), HARMFUL)[1] > 0.9


def test_folds_keep_clusters_whole_and_labels_spread() -> None:
    clusters = [f"c{place // 4}-{place % 2}" for place in range(120)]
    folds = folds_of(clusters, HARMFUL)
    for name in set(clusters):
        assert len({int(folds[i]) for i, each in enumerate(clusters) if each == name}) == 1
    for fold in range(5):
        held = folds == fold
        assert int((held & HARMFUL).sum()) == int((held & ~HARMFUL).sum()) == 12


def test_too_few_requests_are_refused() -> None:
    with pytest.raises(PairError, match="3 harmful calibration requests are too few for 5 folds"):
        folds_of([str(i) for i in range(20)], torch.tensor([True] * 3 + [False] * 17))
    with pytest.raises(PairError, match="no prompt is harmful"):
        fit_weights("fitted", planted(1.0), torch.zeros(120, dtype=torch.bool))
