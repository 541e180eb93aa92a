"""Models as units: an exact test of signs, and an interval that covers the mean of such models."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from regap.analyses.across_models.statistics import over_models, sign_flip


def test_the_test_counts_every_pattern_of_signs() -> None:
    """Slow oracle: of all 2^6 patterns, those whose mean is as far from 0."""
    values = np.array([0.5, 1.2, -0.1, 0.8, 0.3, 0.9])
    means = [abs(float((values * signs).mean())) for signs in product((-1, 1), repeat=6)]
    far = sum(mean >= abs(values.mean()) - 1e-12 for mean in means)
    assert sign_flip(values) == pytest.approx(far / 2**6)


def test_the_smallest_p_value_of_k_models_is_that_of_one_pattern() -> None:
    assert sign_flip([1.0] * 8) == pytest.approx(2 / 2**8)
    assert np.isnan(sign_flip([1.0]))


def test_the_interval_over_models_covers_their_mean() -> None:
    """2000 sets of 12 models around 0.3: Student's interval covers it in 95 %, up to the error of 2000 sets."""
    drawn = np.random.default_rng(0).normal(0.3, 0.2, (2000, 12))
    found = [over_models(row.tolist()).mean for row in drawn]
    covered = sum(one.low <= 0.3 <= one.high for one in found) / len(found)
    assert 0.935 <= covered <= 0.965
    prompts_only = sum(one.value - 0.02 <= 0.3 <= one.value + 0.02 for one in found) / len(found)
    assert prompts_only < 0.5  # an interval that knows nothing of the spread of models does not cover


def test_many_models_are_tested_on_a_sample_of_the_patterns() -> None:
    drawn = np.random.default_rng(1).normal(0.5, 1.0, 25)
    assert sign_flip(drawn) == pytest.approx(ttest_1samp(drawn, 0).pvalue, abs=0.01)


def test_numbers_that_are_missing_are_no_models() -> None:
    for wrong in ([], [0.1, float("nan")]):
        with pytest.raises(ValueError, match="one finite number for each model"):
            over_models(wrong)
    alone = over_models([0.4])
    assert alone.mean.value == 0.4 and np.isnan(alone.mean.low) and np.isnan(alone.p)
