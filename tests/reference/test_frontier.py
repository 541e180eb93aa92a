"""The hull of a claim equals the lowest of all points and of all lines between two of them."""

import numpy as np
import torch
from recomputed_frontier import lowest_at

from regap.analyses.claims.frontier import hull_at


def test_the_hull_is_the_lowest_mixture() -> None:
    generator = np.random.default_rng(0)
    across, up, x = generator.random((40, 7)).round(1), generator.random((40, 7)), generator.random(40)
    found = hull_at(*(torch.from_numpy(one) for one in (x, across, up)))
    for draw in range(40):
        expected = lowest_at(x[draw], list(zip(across[draw], up[draw], strict=True)))
        np.testing.assert_allclose(float(found[draw]), expected, atol=1e-12, equal_nan=True)
    assert np.isnan(found.numpy()).any() and np.isfinite(found.numpy()).sum() > 20
