"""Signals fitted on calibration pairs: a logistic regression on coordinates that separates harmful from harmless."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from regap.errors import PairError
from regap.interventions.edits.signals import FITTED, Signal, Traces, Weights, weights_of

FOLDS = 5
REGULARISATION = 1.0
"""Inverse strength of the ridge penalty on standardised coordinates."""


def fit_weights(kind: Signal, traces: Traces, harmful: Bool[Tensor, " prompt"]) -> Weights:
    """Return the weights of a signal; for a fitted one, those of a ridge-penalised logistic regression.

    Positive towards harmful. The weights apply to the coordinates without standardisation; there is no intercept,
    since the gate has a threshold. Raises PairError if a label is missing.
    """
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
