"""Intervals hold the truth as often as they say, because they resample clusters."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from regap.geometry.estimates import (
    Estimate,
    Resamples,
    estimate,
    estimates,
    exact_if_constant,
    mean_draws,
    proportion,
    widened_if_constant,
)
from regap.geometry.separability import d_prime


def coverage(simulate: Callable[[np.random.Generator], Estimate], truth: float, times: int = 200) -> float:
    """The share of simulated intervals that hold the truth."""
    found = [simulate(np.random.default_rng(seed)) for seed in range(times)]
    return float(np.mean([each.low <= truth <= each.high for each in found]))


def clustered_mean(generator: np.random.Generator, known: bool) -> Estimate:
    """The mean of 40 clusters of 5 prompts that have most of their noise in common."""
    names = np.repeat(np.arange(40), 5).astype(str)
    values = np.repeat(generator.normal(size=40), 5) + 0.5 * generator.normal(size=200)
    clusters = names if known else np.arange(200).astype(str)
    resamples = Resamples.of(clusters, torch.ones(200, dtype=torch.bool), count=300)
    return estimate(mean_draws(torch.from_numpy(values)[:, None], resamples.weights)[:, 0], 200)


def d_prime_of_gaussians(generator: np.random.Generator) -> Estimate:
    harmful = torch.arange(80) % 2 == 0
    z = torch.from_numpy(generator.normal(size=(80, 1)))
    z[harmful] += 1.5
    resamples = Resamples.of(np.arange(80).astype(str), harmful, count=300)
    return estimate(d_prime(z, harmful, resamples.weights)[:, 0], 80)


def test_intervals_of_clustered_data_cover_at_about_their_nominal_rate() -> None:
    assert 0.89 <= coverage(lambda generator: clustered_mean(generator, known=True), 0.0) <= 0.99


def test_intervals_that_ignore_clusters_cover_too_rarely() -> None:
    assert coverage(lambda generator: clustered_mean(generator, known=False), 0.0) < 0.8


def test_intervals_of_d_prime_cover_at_about_their_nominal_rate() -> None:
    assert 0.88 <= coverage(d_prime_of_gaussians, 1.5) <= 0.99


def test_resamples_that_equal_the_value_but_for_rounding_are_equal() -> None:
    """A change of shares as one mean, and as the difference of two, whose last bits differ."""
    generator = np.random.default_rng(0)
    before, after = (
        torch.from_numpy(generator.random(100) < share)[:, None].double() for share in (0.4, 0.9)
    )
    weights = Resamples.of(np.arange(100).astype(str), torch.ones(100, dtype=torch.bool)).weights
    one = mean_draws(after - before, weights)[:, 0]
    other = mean_draws(after, weights)[:, 0] - mean_draws(before, weights)[:, 0]
    assert not torch.equal(one, other) and torch.allclose(one, other, atol=1e-14)
    assert vars(estimate(one, 100)) == pytest.approx(vars(estimate(other, 100)), abs=1e-12)
    noisy = torch.cat([one[:1], one[1:] - 1e-15])
    assert vars(estimate(noisy, 100)) == pytest.approx(vars(estimate(one, 100)), abs=1e-12)
    assert vars(estimate(one + 0.01 * torch.rand(len(one)), 100)) != pytest.approx(vars(estimate(one, 100)))


def test_the_prompts_of_a_cluster_always_weigh_the_same_and_row_0_is_the_sample() -> None:
    names = np.array(["a", "b", "a", "c", "b", "d"])
    weights = Resamples.of(
        names, torch.tensor([True, False, True, True, False, False]), count=200, seed=1
    ).weights
    assert torch.equal(weights[0], torch.ones(6, dtype=torch.float64))
    assert torch.equal(weights[:, 0], weights[:, 2]) and torch.equal(weights[:, 1], weights[:, 4])
    assert not torch.equal(weights[:, 0], weights[:, 1])


@pytest.mark.parametrize("mixed", [False, True])
def test_every_resample_has_both_labels(mixed: bool) -> None:
    """Two of each label would often lose one of them if they were drawn together; also in clusters of both."""
    harmful = torch.tensor([True, True, False, False]).repeat_interleave(2)
    names = list("aabcaade") if mixed else list("abcdefgh")
    weights = Resamples.of(names, harmful, count=500).weights
    assert bool((weights[:, harmful].sum(1) > 0).all()) and bool((weights[:, ~harmful].sum(1) > 0).all())


def test_taking_prompts_keeps_their_draws() -> None:
    resamples = Resamples.of(list("abcdef"), torch.arange(6) < 3, count=20)
    kept = torch.tensor([True, False, True, False, True, False])
    assert torch.equal(resamples.take(kept).weights, resamples.weights[:, kept])


def test_the_same_seed_gives_the_same_draws_and_leaves_the_global_generators_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        return Resamples.of(list("abcdefgh"), torch.arange(8) < 4, count=50, seed=seed).weights

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(drawn(5), drawn(5)) and not torch.equal(drawn(5), drawn(6))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", range(20))
def test_a_value_lies_in_its_interval(seed: int) -> None:
    drawn = torch.from_numpy(np.random.default_rng(seed).normal(size=30))
    drawn[0] += 4 * (seed % 3 - 1)  # even where the resamples all lie to one side of it
    found = estimate(drawn, 5)
    assert found.low <= found.value <= found.high and found.value == float(drawn[0])


def test_resamples_without_a_number_are_left_out_and_none_at_all_is_no_interval() -> None:
    nan, some = float("nan"), torch.tensor([1.0, 0.0, float("nan"), 2.0]).double()
    assert estimate(some, 3).low >= 0
    unknown = estimate(torch.tensor([1.0, nan, nan]).double(), 3)
    assert unknown.value == 1 and np.isnan([unknown.low, unknown.high]).all()
    assert [each.value for each in estimates(torch.eye(3, dtype=torch.float64), 3)] == [1, 0, 0]


@pytest.mark.parametrize("share", [0, 1])
def test_shares_of_none_and_of_all_get_the_exact_binomial_bounds_over_clusters(share: int) -> None:
    names = np.repeat(np.arange(12), 3).astype(str)
    found = proportion(torch.full((36,), bool(share)), names)
    exact = binomtest(12 * share, 12).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert (found.value, found.n) == (share, 36) and found.high - found.low > 0.2


def test_a_share_between_has_a_clustered_interval() -> None:
    hits = torch.arange(60) % 3 == 0
    apart = proportion(hits, [str(place) for place in range(60)])
    together = proportion(hits, [str(place % 3 + 3 * (place // 12)) for place in range(60)])
    assert apart.value == together.value == pytest.approx(1 / 3)
    assert 0 < together.low < apart.low < apart.high < together.high < 1


def test_an_empty_set_is_an_error_and_not_0() -> None:
    with pytest.raises(ValueError, match="a share of no prompts is not defined; check the filters before it"):
        proportion(torch.zeros(0, dtype=torch.bool), [])
    with pytest.raises(ValueError, match="an estimate needs at least one prompt"):
        Estimate(0.0, 0.0, 0.0, 0)


def test_an_interval_upside_down_is_an_error() -> None:
    with pytest.raises(ValueError, match="upside down"):
        Estimate(0.5, 1.0, 0.0, 3)


def test_below_two_clusters_a_stratum_there_is_no_interval() -> None:
    harmful = torch.arange(40) < 20
    by_label = ["harmful" if each else "harmless" for each in harmful.tolist()]
    drawn = Resamples.of(by_label, harmful)
    assert bool((drawn.weights[0] == 1).all()) and bool(drawn.weights[1:].isnan().all())
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 1)))
    found = estimate(d_prime(z, harmful, drawn.weights)[:, 0], 40)
    assert np.isfinite(found.value) and np.isnan([found.low, found.high]).all()
    assert str(found).endswith("[no interval]")
    share = proportion(torch.arange(20) < 7, ["one"] * 20)
    assert share.value == 0.35 and np.isnan([share.low, share.high]).all()
    assert np.isnan(proportion(torch.zeros(20, dtype=torch.bool), ["one"] * 20).high)
    two = Resamples.of([f"{label}{place % 2}" for place, label in enumerate(by_label)], harmful)
    assert bool(two.weights.isfinite().all())  # two are enough to be resampled


def test_a_lone_cluster_is_drawn_with_those_of_both_labels() -> None:
    harmful = torch.tensor([place % 2 == 0 for place in range(20)] + [True])
    drawn = Resamples.of([str(place // 2) for place in range(20)] + ["alone"], harmful)
    assert bool(drawn.weights.isfinite().all()) and len(set(drawn.weights[:, -1].tolist())) > 2


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, 7.5])
def test_resamples_that_never_differ_are_no_interval(value: float) -> None:
    found = estimate(torch.full((1001,), value, dtype=torch.float64), 9)
    assert found.value == value and np.isnan([found.low, found.high]).all()


def test_a_share_that_is_the_same_in_every_cluster_has_the_binomial_interval_over_clusters() -> None:
    names = np.repeat(np.arange(10), 2).astype(str)
    found = proportion(torch.arange(20) % 2 == 0, names)
    exact = binomtest(5, 10).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_a_bound_that_varies_is_left_and_one_trial_has_none() -> None:
    varied = Estimate(1.0, 0.8, 1.0, 9)
    assert exact_if_constant(varied, 9) == varied
    assert np.isnan(exact_if_constant(Estimate(1.0, float("nan"), float("nan"), 9), 1).low)


def test_what_rounding_leaves_of_nothing_is_printed_as_nothing() -> None:
    assert str(Estimate(5.2e-18, -1e-17, 0.25, 9)) == "0 [0, 0.25]"
    assert str(Estimate(-1e-16, float("nan"), float("nan"), 9)) == "0 [no interval]"


def test_resamples_that_hardly_vary_give_no_interval_of_width_0() -> None:
    draws = torch.cat([torch.zeros(1000), torch.ones(1)]).double()
    found = estimate(draws, 9)
    assert np.isnan([found.low, found.high]).all()
    widened = widened_if_constant(found, 100)
    assert widened.low == pytest.approx(-0.0362, abs=1e-3) and widened.high == -widened.low
    assert np.isnan(widened_if_constant(found, 1).low)
