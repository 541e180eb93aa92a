"""Records shown: each file draws one figure from its tables, `draw(record) -> plotly Figure`, and loads no model."""

from regap.figures import (
    dose_response,
    drift_and_separability,
    outcomes,
    refusal_drift_plane,
    regap_against_fixed,
    self_rectification,
    separability_by_layer,
)

__all__ = [
    "dose_response",
    "drift_and_separability",
    "outcomes",
    "refusal_drift_plane",
    "regap_against_fixed",
    "self_rectification",
    "separability_by_layer",
]
