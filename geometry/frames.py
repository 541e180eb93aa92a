"""States as a table: one row for each prompt and layer, or for each prompt, layer and token."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.states.activations import Activations, by_arm, require_one_origin
from regap.geometry.states.token_states import TokenStates

States = Activations | TokenStates


def to_frame(
    states: Mapping[str, States] | Iterable[States] | States,
    direction: Direction | None = None,
    drift: Drift | None = None,
) -> pd.DataFrame:
    """Return one row for each arm, prompt and layer; for states at every token, one for each token.

    Columns: pair_id, label, category, split, cluster, arm, layer, norm; with a direction `z`, the coordinate along it;
    with a drift `delta`, the drift strength (0 at the mean text state, 1 at the mean image state). States at every
    token also have token (its text), role, index (0-based) and last. Raises PairError for a direction or a drift of
    another model or of other layers; for states at every token, the position it was fitted at does not matter.
    """
    frames = [_frame(arm, direction, drift) for arm in by_arm(states)]
    return pd.concat(frames, ignore_index=True)


def _frame(states: States, direction: Direction | None, drift: Drift | None) -> pd.DataFrame:
    for vectors in (direction, drift):
        if vectors is not None and isinstance(states, Activations):
            require_one_origin(vectors, states)
        elif vectors is not None:
            require_one_origin(replace(vectors, position=""), states)
    parts = []
    for place, layer in enumerate(states.layers):
        if isinstance(states, Activations):
            known = pd.DataFrame([vars(row) for row in states.rows])
            parts.append(
                known.assign(
                    arm=states.arm, layer=layer, **_columns(states.at(layer), layer, direction, drift)
                )
            )
            continue
        for row, tokens, residuals in states:
            about: dict[str, Any] = {**vars(row), "arm": states.arm, "layer": layer}
            known = pd.DataFrame(
                {"token": [each.text for each in tokens], "role": [each.role for each in tokens]}
            )
            known = known.assign(**about, index=range(len(tokens)), last=[*[False] * (len(tokens) - 1), True])
            parts.append(known.assign(**_columns(residuals[:, place], layer, direction, drift)))
    return pd.concat(parts, ignore_index=True)


def _columns(
    states: Float[Tensor, "row d_model"], layer: int, direction: Direction | None, drift: Drift | None
) -> dict[str, Any]:
    """Return norm, z and delta of each state, float64."""
    found = {"norm": states.double().norm(dim=-1).numpy()}
    if direction is not None:
        found["z"] = direction.coordinate(states, layer).numpy()
    if drift is not None:
        found["delta"] = drift.strength_of(states, layer).numpy()
    return found
