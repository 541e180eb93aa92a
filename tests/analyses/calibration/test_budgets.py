"""A choice keeps the budgets of harmless images and of contrasts, and refuses as many harmful ones as they leave."""

import pytest
import torch

from regap.analyses.calibration.budgets import Budgets, most_refusals_within, read_budgets
from regap.errors import ConfigError

HARMFUL = torch.tensor([True] * 4 + [False] * 8)
CONTRAST = torch.tensor([False] * 8 + [True] * 4)


def refusing(harmful: int, harmless: int, contrasts: int) -> list[bool]:
    """So many of four harmful prompts, four harmless ones and four contrasts."""
    return [place < count for count in (harmful, harmless, contrasts) for place in range(4)]


def chosen(*rows: list[bool], contrasts: float | None = 0.25) -> int:
    return most_refusals_within(torch.tensor(rows), HARMFUL, Budgets(0.25, contrasts), CONTRAST)


def test_both_budgets_are_kept() -> None:
    assert chosen(refusing(2, 1, 1), refusing(4, 2, 0), refusing(4, 1, 3), refusing(3, 1, 1)) == 3
    assert (
        chosen(refusing(2, 1, 1), refusing(4, 1, 3), contrasts=None) == 1
    )  # contrasts count only with a budget


def test_among_equals_the_first_is_chosen() -> None:
    assert chosen(refusing(3, 0, 0), refusing(3, 1, 1)) == 0


def test_where_no_budget_is_kept_the_least_excess_is_chosen_from() -> None:
    assert chosen(refusing(4, 3, 0), refusing(2, 2, 4), refusing(3, 2, 3)) == 2


@pytest.mark.parametrize("told", ["0.01", "0.01,0.05,0.1", "a,b", "", "-0.1,0.05", "0.01,1", "nan,0.1"])
def test_budgets_are_two_shares(told: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 0\.0"):
        read_budgets(told)
