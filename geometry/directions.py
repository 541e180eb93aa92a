"""The refusal direction: from harmless to harmful text requests, at every layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ConfigError
from regap.geometry.states.activations import Activations, label_means, one_arm, require_one_origin
from regap.geometry.states.vector_files import load_vectors, save_vectors

States = Float[Tensor, "prompt d_model"]
DirectionMethod = Callable[[Float[Tensor, "harmful d_model"], Float[Tensor, "harmless d_model"]], Tensor]
"""(harmful, harmless) -> vector of any length that points from harmless to harmful."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector at each layer, and the threshold on it that separates harmful from harmless states."""

    vectors: Float[Tensor, "layer d_model"] = field(repr=False)
    """Unit length, float64; positive towards harmful."""
    thresholds: Float[Tensor, " layer"] = field(repr=False)
    """Midpoint of the mean coordinates of harmful and harmless states."""
    layers: tuple[int, ...]
    """Which blocks' outputs, 0-based."""
    arm: str
    """The arm it was fitted on."""
    model: str = ""
    """Fingerprint of the model whose states it was fitted on; empty if not known."""
    position: str = "last"
    """The token at which those states were read."""

    def __post_init__(self) -> None:
        worst = (self.vectors.norm(dim=-1) - 1).abs().max().item()
        if worst > 1e-6:
            raise ValueError(f"a Direction has length 1 at each layer; one is off by {worst:.2g}")

    def at(self, layer: int) -> Float[Tensor, " d_model"]:
        """Return the unit vector after block `layer`."""
        if layer not in self.layers:
            raise ValueError(f"layer {layer} has no direction; there are {list(self.layers)}")
        return self.vectors[self.layers.index(layer)]

    def coordinates(self, states: Activations) -> Float[Tensor, "prompt layer"]:
        """Return z, the coordinate of each state along the direction of its layer.

        Raises PairError for states of another model, other layers or another position.
        """
        require_one_origin(self, states)
        z = torch.empty(len(states), len(self.layers), dtype=torch.float64)
        for part in states.parts():
            z[torch.from_numpy(part.rows)] = torch.einsum("pld,ld->pl", part.residuals.double(), self.vectors)
        return z

    def coordinate(self, states: Float[Tensor, "row d_model"], layer: int) -> Float[Tensor, " row"]:
        """Return z of states after block `layer`, float64."""
        return states.double() @ self.at(layer)

    def save(self, path: str | Path) -> Path:
        """Write the direction to one safetensors file, which `load_direction` reads back bit for bit."""
        return save_vectors(path, "direction", self, {"vectors": self.vectors, "thresholds": self.thresholds})


def load_direction(path: str | Path) -> Direction:
    """Return the direction that `Direction.save` wrote; raises StoreError for a missing, damaged or other file."""
    tensors, origin = load_vectors(path, "direction")
    return Direction(tensors["vectors"], tensors["thresholds"], **origin)


def difference_of_means(
    harmful: Float[Tensor, "harmful d_model"], harmless: Float[Tensor, "harmless d_model"]
) -> Float[Tensor, " d_model"]:
    """Return mean harmful minus mean harmless (the usual estimator of the refusal direction)."""
    return harmful.mean(0) - harmless.mean(0)


def median_of_means(
    harmful: Float[Tensor, "harmful d_model"], harmless: Float[Tensor, "harmless d_model"], blocks: int = 8
) -> Float[Tensor, " d_model"]:
    """Return the difference of coordinatewise medians of block means, which is robust to a few outliers."""

    def centre(states: Tensor) -> Tensor:
        chunks = torch.tensor_split(states, min(blocks, len(states)))
        return torch.stack([chunk.mean(0) for chunk in chunks]).median(0).values

    return centre(harmful) - centre(harmless)


def logistic_probe(
    harmful: Float[Tensor, "harmful d_model"], harmless: Float[Tensor, "harmless d_model"]
) -> Float[Tensor, " d_model"]:
    """Return the weights of an L2-regularised logistic probe, fitted on standardised coordinates."""
    from sklearn.linear_model import LogisticRegression  # slow to import

    states = torch.cat([harmful, harmless])
    centre, scale = states.mean(0), states.std(0) + 1e-6 * states.std() + 1e-12
    labels = [1] * len(harmful) + [0] * len(harmless)
    probe = LogisticRegression(C=0.1, max_iter=2000).fit(((states - centre) / scale).numpy(), labels)
    return torch.from_numpy(probe.coef_[0]) / scale


def linear_discriminant(
    harmful: Float[Tensor, "harmful d_model"], harmless: Float[Tensor, "harmless d_model"]
) -> Float[Tensor, " d_model"]:
    """Return the linear discriminant with Ledoit-Wolf shrinkage of the pooled covariance."""
    labels = [1] * len(harmful) + [0] * len(harmless)
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # slow to import

    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return torch.from_numpy(fitted.fit(torch.cat([harmful, harmless]).numpy(), labels).coef_[0])


METHODS: Mapping[str, DirectionMethod] = {
    method.__name__: method
    for method in (difference_of_means, median_of_means, logistic_probe, linear_discriminant)
}
"""The built-in methods by name."""


def refusal_direction(states: Activations, method: DirectionMethod | str = difference_of_means) -> Direction:
    """Return unit(mean harmful - mean harmless) at every layer, or the unit vector that another method finds.

    Give it the calibration split of the text arm: that is the refusal direction of the text-aligned model, in
    our operationalisation. Positive towards harmful. Raises PairError if a label is missing, and ValueError if
    the two labels have the same mean or the method returns anything but such a vector. `method` is
    difference_of_means, median_of_means, logistic_probe or linear_discriminant, or a function of your own of harmful
    and harmless states [prompt, d_model]:

        def median(harmful, harmless):
            return harmful.median(0).values - harmless.median(0).values

        refusal = rg.refusal_direction(states["text"].calibration, method=median)
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise ConfigError(
                f"method is {method!r}; choose one of {', '.join(METHODS)}, or give a function of harmful and harmless "
                "states"
            )
        method = METHODS[method]
    means = label_means(one_arm(states))
    for label in ("harmful", "harmless"):
        if label not in means:
            states.where(label=label)  # raises an error that names the label
    if method is difference_of_means:
        raw = means["harmful"] - means["harmless"]
    else:
        raw = torch.stack([_by_layer(states, layer, method) for layer in states.layers])
    lengths = raw.norm(dim=-1, keepdim=True)
    if bool((lengths == 0).any()):
        layer = states.layers[int((lengths.flatten() == 0).nonzero()[0])]
        raise ValueError(
            f"arm {states.arm}: harmful and harmless states are equal after block {layer}, so there is no direction; "
            "leave that layer out, or give pairs whose requests differ"
        )
    vectors = raw / lengths
    centre = (means["harmful"] + means["harmless"]) / 2
    return Direction(
        vectors, (centre * vectors).sum(-1), states.layers, states.arm, states.model, states.position
    )


def _by_layer(states: Activations, layer: int, method: DirectionMethod) -> Float[Tensor, " d_model"]:
    """Return the vector that a method finds at one layer; only that layer's states are in memory."""
    at_layer = states.at(layer).double()
    found = method(at_layer[states.harmful], at_layer[~states.harmful])
    if not isinstance(found, Tensor) or found.shape != at_layer.shape[1:] or not bool(found.isfinite().all()):
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"method {getattr(method, '__name__', 'given')} returned {shape} at layer {layer}; it must return a "
            f"finite tensor of {at_layer.shape[1]} numbers that points from harmless to harmful"
        )
    return found.double()
