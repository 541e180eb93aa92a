"""One number a model: their mean with an interval over models, and an exact test that flips signs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from regap.geometry.estimates import LEVEL, Estimate

FLIPS = 2**17
"""Sign patterns that are tried; all of them if there are fewer."""


@dataclass(frozen=True)
class OverModels:
    """The mean over models, and the p-value that it lies at the bound, two-sided; NaN without one."""

    mean: Estimate
    """n is the number of models; its interval is Student's, and NaN for one model or equal numbers."""
    p: float

    @classmethod
    def unknown(cls, models: int) -> "OverModels":
        """Return what is known of models without a number: nothing."""
        return cls(Estimate(float("nan"), float("nan"), float("nan"), models), float("nan"))


def over_models(values: Sequence[float], bound: float = 0.0) -> OverModels:
    """Return the mean of one number a model, and the sign-flip test that it lies at `bound`.

    The interval and the test speak of models like these; models that share a training are less different than others.
    Raises ValueError for no model or a number that is not finite.
    """
    found = np.asarray(values, dtype=np.float64)
    if not len(found) or not np.isfinite(found).all():
        raise ValueError(f"values are {list(values)}; give one finite number for each model")
    mean, count = float(found.mean()), len(found)
    error = float(found.std(ddof=1)) / count**0.5 if count > 1 else 0.0
    reach = float(t.ppf((1 + LEVEL) / 2, count - 1)) * error if error > 0 else float("nan")
    return OverModels(Estimate(mean, mean - reach, mean + reach, count), sign_flip(found - bound))


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Return the two-sided p-value that the differences are symmetric around 0; exact up to 17 of them.

    Source: Fisher's randomisation test for paired differences.
    """
    given = np.asarray(differences, dtype=np.float64)
    if len(given) < 2:
        return float("nan")
    count, every = len(given), 2 ** len(given)
    if (
        every <= FLIPS
    ):  # SciPy's permutation_test goes through them one by one, which takes minutes in a simulation
        signs = 1 - 2 * (np.arange(every)[:, None] >> np.arange(count) & 1)
    else:
        drawn = np.random.default_rng(0).integers(0, 2, (FLIPS, count))
        signs = 1 - 2 * np.vstack([np.zeros((1, count), dtype=np.int64), drawn])
    sums = np.abs(signs @ given)
    return float((sums >= sums[0] * (1 - 1e-12)).mean())
