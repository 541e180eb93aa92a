"""Signals: one number per input, from coordinates along the refusal direction before and after a probe correction.

Every signal is linear in these coordinates, so that two rows of weights define it. Our operationalisation; the paper's
abstract only names self-rectification.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regap.errors import ModelError, PairError

Signal = Literal["rho", "z_before", "z_after", "growth", "fitted_before", "fitted_after", "fitted"]
FITTED: tuple[Signal, ...] = ("fitted_before", "fitted_after", "fitted")
"""Signals whose weights are fitted on calibration pairs; the name of any other fixes its weights."""
Passes = Literal["probe", "single"]
"""probe: z is read in one-token passes before the answer; single: z is read in the answer's own pass."""
Weights = Float[Tensor, "2 layer"]
"""Weights of z before (row 0) and after the probe (row 1), at each read layer."""


@dataclass(frozen=True, eq=False)
class Traces:
    """Coordinates along the refusal direction at the read layers, before and after a correction."""

    before: Float[Tensor, "prompt layer"]
    after: Float[Tensor, "prompt layer"]

    def __post_init__(self) -> None:
        finite = torch.isfinite(self.before).all(1) & torch.isfinite(self.after).all(1)
        if not bool(finite.all()):
            raise ModelError(
                f"residual streams of {int((~finite).sum())} of {len(finite)} prompts hold NaN or infinity at the "
                "read layers; run the model with --dtype float32 or bfloat16"
            )

    def signal(self, kind: Signal, weights: Weights | None = None) -> Float[Tensor, " prompt"]:
        """Return the signal of every prompt; a fitted signal needs its weights."""
        return self.weighted(weights_of(kind, self.before.shape[1], weights))

    def weighted(self, weights: Weights) -> Float[Tensor, " prompt"]:
        """Return the weighted sum of z before and after."""
        return self.before.double() @ weights[0].double() + self.after.double() @ weights[1].double()


def weights_of(kind: Signal, layers: int, fitted: Weights | None = None) -> Weights:
    """Return the weights of z before and after at this number of read layers, float64.

    rho: the mean change (self-rectification). z_before, z_after: the means. growth: z after at the last read layer
    minus z after at the first. fitted: any weights; fitted_before, fitted_after: weights in one row, 0 in the other.
    """
    if kind not in get_args(Signal):
        raise ValueError(f"signal is {kind!r}; choose one of {', '.join(get_args(Signal))}")
    if kind in FITTED:
        return _checked(kind, layers, fitted)
    if fitted is not None:
        raise ValueError(f"signal {kind} has fixed weights; leave weights out, or choose fitted")
    if kind == "growth" and layers < 2:
        raise ValueError("signal growth is a difference between two read layers; give at least two")
    weights, mean = torch.zeros(2, layers, dtype=torch.float64), 1 / layers
    if kind == "growth":
        weights[1, 0], weights[1, -1] = -1.0, 1.0
        return weights
    weights[0] = {"rho": -mean, "z_before": mean, "z_after": 0.0}[kind]
    weights[1] = 0.0 if kind == "z_before" else mean
    return weights


def _checked(kind: Signal, layers: int, fitted: Weights | None) -> Weights:
    if fitted is None or fitted.shape[1] != layers:
        raise ValueError(f"signal {kind} needs weights of shape [2, {layers}], a column for each read layer")
    if not bool(torch.isfinite(fitted).all()):
        raise ValueError(f"weights of signal {kind} hold NaN or infinity; fit them on finite coordinates")
    unused = {"fitted_before": fitted[1], "fitted_after": fitted[0]}.get(kind)
    if unused is not None and bool(unused.any()):
        row = "after" if kind == "fitted_before" else "before"
        raise ValueError(f"signal {kind} has weights for z {row}; set them to 0, or choose fitted")
    return fitted.double()


FOLDS = 5
REGULARISATION = 1.0
"""Inverse strength of the ridge penalty on standardised coordinates."""


def fit_weights(kind: Signal, traces: Traces, harmful: Bool[Tensor, " prompt"]) -> Weights:
    """Return the weights of a signal; for a fitted one, those of a ridge-penalised logistic regression.

    Positive towards harmful. The weights apply to the coordinates without standardisation; there is no intercept,
    since the gate has a threshold. Raises PairError if a label is missing.
    """
    from sklearn.linear_model import LogisticRegression  # slow to import

    layers = traces.before.shape[1]
    if kind not in FITTED:
        return weights_of(kind, layers)
    for label, present in (("harmful", harmful.any()), ("harmless", (~harmful).any())):
        if not bool(present):
            raise PairError(
                f"signal {kind} is fitted on both labels, and no prompt is {label}; add {label} pairs"
            )
    weights = torch.zeros(2, layers, dtype=torch.float64)
    rows = {"fitted_before": [0], "fitted_after": [1], "fitted": [0, 1]}[kind]
    states = torch.cat([(traces.before, traces.after)[row] for row in rows], 1).double()
    scale = states.std(0) + 1e-9 * states.std() + 1e-12
    standard = ((states - states.mean(0)) / scale).numpy()
    found = LogisticRegression(C=REGULARISATION, max_iter=3000).fit(standard, harmful.numpy())
    weights[rows] = (torch.from_numpy(found.coef_[0]) / scale).reshape(len(rows), layers)
    return weights


def cross_fitted(
    kind: Signal, traces: Traces, harmful: Bool[Tensor, " prompt"], folds: Int[Tensor, " prompt"]
) -> Float[Tensor, " prompt"]:
    """Return each prompt's signal, with weights fitted on the other folds, as for new prompts."""
    if kind not in FITTED:
        return traces.signal(kind)
    found = torch.empty(len(harmful), dtype=torch.float64)
    for fold in folds.unique():
        held = folds == fold
        others = Traces(traces.before[~held], traces.after[~held])
        weights = fit_weights(kind, others, harmful[~held])
        found[held] = Traces(traces.before[held], traces.after[held]).weighted(weights)
    return found


def folds_of(
    clusters: Sequence[str], harmful: Bool[Tensor, " prompt"], count: int = FOLDS, seed: int = 0
) -> Int[Tensor, " prompt"]:
    """Return the fold of each prompt; clusters are kept whole and each label is spread evenly.

    Raises PairError if a label has fewer clusters than there are folds.
    """
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    has_harmful = np.bincount(codes, weights=harmful.numpy(), minlength=len(names)) > 0
    fold, generator = np.empty(len(names), dtype=np.int64), np.random.default_rng(seed)
    for label, members in (("harmful", has_harmful), ("harmless", ~has_harmful)):
        places = np.flatnonzero(members)
        if len(places) < count:
            raise PairError(
                f"{len(places)} {label} calibration requests are too few for {count} folds; add pairs, or raise --limit"
            )
        fold[generator.permutation(places)] = np.arange(len(places)) % count
    return torch.from_numpy(fold[codes])
