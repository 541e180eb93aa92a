"""Each claim is decided from numbers alone: planted ones give the verdict that they should."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from regap.analyses.claims import collapse, drift_causes, drift_predicts, self_rectification
from regap.analyses.claims.criteria import criteria
from regap.geometry.estimates import Resamples
from regap.geometry.separability import d_prime

HARMFUL = torch.arange(80) < 40
NAMES = tuple(map(str, range(80)))
WEIGHTS = Resamples.of(NAMES, HARMFUL, 200).weights


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def test_the_share_lost_is_that_of_d_prime() -> None:
    text = 4 * HARMFUL[:, None].double() + normal(80, 2)
    image = HARMFUL[:, None].double() + normal(80, 2, seed=1)
    lost = collapse.share_lost(text, image, HARMFUL, WEIGHTS)
    kept = d_prime(image, HARMFUL, WEIGHTS) / d_prime(text, HARMFUL, WEIGHTS)
    assert torch.allclose(lost + kept, torch.ones_like(lost))
    assert bool((collapse.share_lost(text, text + 7, HARMFUL, WEIGHTS).abs() < 1e-9).all())  # a common shift


def test_a_correlation_over_prompts_is_scipys() -> None:
    drift, z = normal(40), normal(40, seed=1)
    complied = drift + normal(40, seed=2) > 0
    weights = Resamples.of(NAMES[:40], torch.ones(40, dtype=torch.bool), 50).weights
    found = drift_predicts.item_correlations(drift, z, complied, weights)
    for name, values in (("z", z), ("compliance", complied.double())):
        expected = float(np.asarray(spearmanr(drift, values).statistic))
        assert float(found.draws[name][0]) == pytest.approx(expected)


def test_the_p_value_across_models_counts_all_permutations() -> None:
    drift, success = [1.0, 2.0, 3.0, 4.0, 5.0], [0.1, 0.3, 0.2, 0.5, 0.4]
    found = drift_predicts.Across.between(drift, {"attack_success": success}).found["attack_success"]
    every = [float(np.corrcoef(drift, order)[0, 1]) for order in permutations([1.0, 3.0, 2.0, 5.0, 4.0])]
    upper = np.mean([one >= found[0] - 1e-9 for one in every])
    assert found[0] == pytest.approx(0.8) and found[1] == pytest.approx(2 * upper)


def test_seven_models_have_no_verdict_across_them_and_eight_have() -> None:
    weights = Resamples.of(NAMES, torch.ones(80, dtype=torch.bool), 200).weights
    drift = normal(80)
    z = -drift + 0.3 * normal(80, seed=1)
    items = drift_predicts.item_correlations(drift, z, z < 0, weights)
    verdicts = {}
    for models in (7, 8):
        places = [float(place) for place in range(models)]
        wrong = {"d_prime": places, "attack_success": places[::-1]}
        claim = drift_predicts.decide(items, drift_predicts.Across.between(places, wrong))
        verdicts[models] = claim.verdict
    assert verdicts == {7: "holds", 8: "does not hold"}


def refusals(closed: float, opened: float, by_chance: int = 0) -> drift_causes.Refusals:
    """100 texts that are all refused, and images that are not; the dose 1 closes and opens these shares."""

    def first(share: float) -> torch.Tensor:
        return torch.arange(100) < round(100 * share)

    none, every = first(0), first(1)
    return drift_causes.Refusals(
        {0.0: none, 0.25: none, 1.0: first(closed)},
        {0.0: every, 0.25: every, 1.0: first(1 - opened)},
        torch.stack([first(by_chance / 100)] * 20),
        torch.stack([first(1 - by_chance / 100)] * 20),
        tuple(map(str, range(100))),
    )


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (refusals(1.0, 1.0), "holds"),
        (refusals(0.9, 0.9), "holds"),
        (refusals(0.9, 0.0), "does not hold"),
        (refusals(0.2, 0.9), "does not hold"),
        (refusals(0.52, 0.9), "unclear"),
        (refusals(0.9, 0.9, by_chance=95), "does not hold"),
    ],
)
def test_a_cause_closes_and_opens_most_of_the_gap_and_no_random_vector_does(
    found: drift_causes.Refusals, verdict: str
) -> None:
    assert drift_causes.decide(found).verdict == verdict


def test_refusals_of_nobody_are_an_error() -> None:
    nobody = torch.zeros(0, dtype=torch.bool)
    with pytest.raises(ValueError, match="no harmful prompt was judged under every dose"):
        drift_causes.Refusals({0.0: nobody}, {0.0: nobody}, nobody[None], nobody[None], ())


def moved(
    after_drift: float, after_refusal: float = 0.0, names: Sequence[str] = NAMES
) -> self_rectification.Moved:
    def rho(further: float, seed: int) -> torch.Tensor:
        return further * HARMFUL.double() + normal(80, seed=seed)

    random = torch.stack([rho(0.0, seed) for seed in range(2, 22)])
    return self_rectification.Moved(
        rho(after_drift, 0), random, rho(after_refusal, 1), HARMFUL, tuple(names), WEIGHTS
    )


def test_later_layers_must_move_harmful_images_further_than_after_any_other_vector() -> None:
    assert self_rectification.decide(moved(2.0)).verdict == "holds"
    assert self_rectification.decide(moved(2.0, after_refusal=4.0)).verdict == "does not hold"
    assert self_rectification.decide(moved(-2.0)).verdict == "does not hold"


def test_a_perfect_detector_has_the_bound_of_its_clusters_and_an_empty_label_decides_nothing() -> None:
    perfect = self_rectification.decide(moved(50.0)).estimate
    shared = [f"{label}{place % 4}" for label in "ab" for place in range(40)]
    few = self_rectification.decide(moved(50.0, names=shared)).estimate
    assert perfect.value == few.value == 1.0 and perfect.low > 0.9 and few.low < 0.5
    nothing = self_rectification.decide(moved(2.0).take(~HARMFUL))
    assert nothing.verdict == "unclear" and "nothing is left to detect" in nothing.evidence


def test_images_refused_without_correction_do_not_count() -> None:
    kept = moved(2.0).take(torch.arange(80) >= 30)
    assert len(kept.drift) == len(kept.clusters) == kept.weights.shape[1] == 50
    assert int(kept.harmful.sum()) == 10
    assert kept.random.shape == (int(criteria()["self_rectification"].effect("random_vectors")), 50)
