"""Signals are weighted sums of coordinates; what is not finite, or weighted wrongly, is refused."""

import pytest
import torch

from regap.errors import ModelError
from regap.interventions.edits.signals import FITTED, Traces, weights_of


def traces() -> Traces:
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(9, 3, generator=generator).double() for _ in range(2))
    return Traces(before, after)


def test_each_signal_is_what_its_name_says() -> None:
    found = traces()
    expected = {
        "rho": (found.after - found.before).mean(1),
        "z_before": found.before.mean(1),
        "z_after": found.after.mean(1),
        "growth": found.after[:, 2] - found.after[:, 0],
    }
    for kind, values in expected.items():
        assert torch.allclose(found.signal(kind), values)  # pyright: ignore[reportArgumentType]
    weights = torch.tensor([[1.0, 0.0, -2.0], [0.5, 0.0, 0.0]]).double()
    by_hand = found.before[:, 0] - 2 * found.before[:, 2] + found.after[:, 0] / 2
    assert torch.allclose(found.signal("fitted", weights), by_hand)
    assert not torch.allclose(found.signal("rho"), by_hand)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["before", "after"])
def test_streams_that_are_not_finite_are_refused(broken: float, place: str) -> None:
    found = traces()
    getattr(found, place)[4, 1] = broken
    with pytest.raises(ModelError, match="residual streams of 1 of 9 prompts hold NaN or infinity"):
        Traces(found.before, found.after)


def test_weights_that_do_not_fit_are_refused() -> None:
    for kind in FITTED:
        with pytest.raises(ValueError, match=r"needs weights of shape \[2, 3\]"):
            weights_of(kind, 3)
    ones = torch.ones(2, 3).double()
    with pytest.raises(ValueError, match="signal fitted_before has weights for z after; set them to 0"):
        weights_of("fitted_before", 3, ones)
    with pytest.raises(ValueError, match="signal rho has fixed weights; leave weights out"):
        weights_of("rho", 3, ones)
    with pytest.raises(ValueError, match="growth is a difference between two read layers"):
        weights_of("growth", 1)
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        weights_of("fitted", 3, ones * float("nan"))
