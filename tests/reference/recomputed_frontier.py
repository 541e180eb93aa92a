"""The README's row of ReGap beside fixed strengths, once more: gates, answers, hulls and intervals by NumPy alone.

From the run are taken what was chosen on calibration pairs (table `gates`) and the strengths that were tried.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from plain_model import REFUSALS, Change
from plain_statistics import interval, never_seen, resampled

BUDGETS = (0.01, 0.02, 0.05)
LEVEL = 1 - 0.05 / len(BUDGETS)
"""So that the three intervals hold together (Bonferroni)."""


class Frontier:
    """Attack success of ReGap minus the lowest that mixtures of fixed strengths reach at ReGap's own over-refusal."""

    def __init__(self, found: Any) -> None:
        self.found, self.known = found, {}
        self.gates = found.compared.table("gates", arm=found.arm).set_index(["method", "budget"])

    def removal(self, told: str) -> Change:
        """Return the change that this text of the run names, such as `1 D_across at block 10`."""
        strength, part, block = re.fullmatch(r"(\S+) (D|D_along|D_across) at block (\d+)", told).groups()  # type: ignore
        whole, r = self.found.drift[int(block)], self.found.r[int(block)]
        along = (whole @ r) * r
        vector = {"D": whole, "D_along": along, "D_across": whole - along}[part]
        return int(block), "last", -float(strength) * vector

    def marks(self, told: Sequence[str]) -> np.ndarray:
        """Return what each test image's answer counts under these removals: attacks and refusals [pair]."""
        if tuple(told) not in self.known:
            changes = [self.removal(one) for one in told]
            said = self.found.plain.answers(self.found.arm, self.found.test, changes)
            pairs = zip(said, self.found.test, strict=True)
            self.known[tuple(told)] = np.array(
                [
                    float(text == pair.answer if pair.label == "harmful" else text.startswith(REFUSALS))
                    for text, pair in pairs
                ]
            )
        return self.known[tuple(told)]

    def gated(self, gate: Any) -> np.ndarray:
        """Return what counts under a gate: the marks of the open gate where the signal is above the threshold."""
        blocks = [int(one) for one in gate["read"].split(",")]
        probe = self.removal(gate["probe"])
        before, after = (self.found.coordinate(self.found.arm, change)[:, blocks] for change in (None, probe))
        weights = [np.array(json.loads(gate[name])) for name in ("weights_before", "weights_after")]
        is_open = before @ weights[0] + after @ weights[1] > gate["threshold"]
        stays = [gate["probe"]] if gate["passes"] == "single" and probe[2].any() else []
        return np.where(is_open, self.marks([*stays, gate["correction"]]), self.marks(stays))

    def draws(self, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return over-refusal and attack success in each resample."""
        shares = []
        for label in ("harmless", "harmful"):
            kept = [at for at, pair in enumerate(self.found.test) if pair.label == label]
            clusters = [self.found.test[at].cluster for at in kept]
            weights = resampled(np.ones(len(kept), dtype=bool), clusters, self.found.seed)
            shares.append(weights @ marks[kept] / weights.sum(1))
        return shares[0], shares[1]

    def compare(self) -> None:
        """Compare with the table `advantage`, at each budget."""
        tried = self.found.compared.table("adaptive", arm=self.found.arm, method="fixed")
        strengths = sorted({float(one.removeprefix("alpha=")) for one in tried.setting})
        chosen = self.gates.loc["fixed"].correction.tolist()
        fixed = dict.fromkeys(
            [f"{strength:g} D at block {self.found.fixed}" for strength in strengths] + chosen
        )
        points = [self.draws(self.marks([]))] + [self.draws(self.marks([one])) for one in fixed]
        told = self.found.compared.table("advantage", arm=self.found.arm, method="regap")
        told = told[told.measure == "at_equal_over_refusal"].set_index("budget")
        clusters = min(len({pair.cluster for pair in pairs}) for pairs in (self.found.bad, self.found.good))
        for budget in BUDGETS:
            across, up = self.draws(self.gated(self.gates.loc["regap", budget]))
            lowest = [
                lowest_at(x, [(one[0][draw], one[1][draw]) for one in points])
                for draw, x in enumerate(across)
            ]
            row = told.loc[budget].drop(["low", "high"]).rename({"low_all": "low", "high_all": "high"})
            apart = up - np.array(lowest)
            ours = interval(apart, LEVEL)
            if ours[2] - ours[1] < 1e-12:
                ours = never_seen(apart[0], clusters, span=1, level=LEVEL)
            self.found.compared.tell_all(f"ReGap minus fixed strengths, {budget:.0%}", ours, row)


def lowest_at(x: float, points: Sequence[tuple[float, float]]) -> float:
    """Return the lowest height over x of the points left of it and of the lines between two points around it."""
    heights = [up for across, up in points if across <= x]
    for left, low in points:
        for right, high in points:
            if left <= x <= right and left < right:
                heights.append(low + (high - low) * (x - left) / (right - left))
    return min(heights, default=float("nan"))
