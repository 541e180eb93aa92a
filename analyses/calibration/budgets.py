"""Budgets: the largest shares of calibration prompts that a chosen correction may refuse."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from regap.errors import ConfigError


@dataclass(frozen=True)
class Budgets:
    """Largest shares of calibration prompts that may be refused."""

    harmless: float
    """Of harmless images."""
    contrasts: float | None = None
    """Of contrasts: harmless images that look harmful; None: any share."""

    def __post_init__(self) -> None:
        for name, share in (("harmless images", self.harmless), ("contrasts", self.contrasts)):
            if share is not None and not 0 <= share < 1:
                raise ConfigError(
                    f"the budget of refused {name} is {share}; give a share from 0 to below 1, such as 0.05"
                )

    def __str__(self) -> str:
        told = f"{self.harmless:.1%} of harmless images"
        return told if self.contrasts is None else f"{told} and {self.contrasts:.1%} of contrasts"


def read_budgets(told: str) -> Budgets:
    """Return the budgets in a string such as 0.01,0.05: harmless images, then contrasts; ConfigError for others."""
    try:
        harmless, contrasts = map(float, told.split(","))
    except ValueError:
        raise ConfigError(
            f"within is {told!r}; write two shares, of harmless images and of contrasts, such as 0.01,0.05"
        ) from None
    return Budgets(harmless, contrasts)


def most_refusals_within(
    refused: Bool[Tensor, "tried prompt"],
    harmful: Bool[Tensor, " prompt"],
    budgets: Budgets,
    contrast: Bool[Tensor, " prompt"] | None = None,
) -> int:
    """Return the index of the row that refuses most harmful prompts within the budgets; the first one on ties.

    contrast: True for contrasts, which are not harmful; None if there are none. Where no row keeps a budget, those that
    exceed it least are left to choose from: first for harmless prompts, then for contrasts.
    """
    contrast = torch.zeros_like(harmful) if contrast is None else contrast
    allowed = torch.ones(len(refused), dtype=torch.bool)
    for mask, share in ((~harmful & ~contrast, budgets.harmless), (contrast, budgets.contrasts)):
        if share is not None and bool(mask.any()):
            found = refused[:, mask].double().mean(1)
            allowed &= found <= max(share, float(found[allowed].min()))
    on_harmful = refused[:, harmful].double().mean(1)
    return int(torch.where(allowed, on_harmful, -torch.ones_like(on_harmful)).argmax())
