"""What is read off a model: pairs, residual streams, directions, drift, separability."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regap.geometry.activations import Activations as Activations
    from regap.geometry.benchmarks.loading import benchmark as benchmark
    from regap.geometry.benchmarks.loading import harmless as harmless
    from regap.geometry.directions import Direction as Direction
    from regap.geometry.directions import refusal_direction as refusal_direction
    from regap.geometry.drift import Drift as Drift
    from regap.geometry.drift import modality_drift as modality_drift
    from regap.geometry.estimates import Estimate as Estimate
    from regap.geometry.made_arms import with_arms as with_arms
    from regap.geometry.models import Model as Model
    from regap.geometry.models import load as load
    from regap.geometry.pair_files import read_pairs as read_pairs
    from regap.geometry.pair_files import write_pairs as write_pairs
    from regap.geometry.pairs import Pair as Pair
    from regap.geometry.pairs import Pairs as Pairs
    from regap.geometry.pairs import Picture as Picture
    from regap.geometry.pairs import Prompt as Prompt

_HOMES = {
    "Activations": "activations",
    "benchmark": "benchmarks.loading",
    "harmless": "benchmarks.loading",
    "with_arms": "made_arms",
    "Direction": "directions",
    "refusal_direction": "directions",
    "Drift": "drift",
    "modality_drift": "drift",
    "Estimate": "estimates",
    "Model": "models",
    "load": "models",
    "read_pairs": "pair_files",
    "write_pairs": "pair_files",
    "Pair": "pairs",
    "Pairs": "pairs",
    "Picture": "pairs",
    "Prompt": "pairs",
}
__all__ = [
    "Activations",
    "Direction",
    "Drift",
    "Estimate",
    "Model",
    "Pair",
    "Pairs",
    "Picture",
    "Prompt",
    "benchmark",
    "harmless",
    "load",
    "modality_drift",
    "read_pairs",
    "refusal_direction",
    "with_arms",
    "write_pairs",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: pairs and tables need no model library."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
