"""Alignment: the state of each token is moved towards where an affine map takes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ConfigError
from regap.geometry.alignment import MAPS, cloud_of
from regap.geometry.models.model import Model
from regap.geometry.one_or_several import as_layers
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.activations import require_one_origin
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.geometry.states.token_states import Role, TokenStates
from regap.interventions.edits.displacement import Displace, Displacing
from regap.interventions.edits.site import Site, check_strength, check_width
from regap.interventions.edits.stored import StoredEdit, check_made_on


@dataclass(frozen=True, eq=False)
class Alignment(Displacing, StoredEdit, kind="alignment"):
    """h <- h + strength * (map(h) - h) at a site, with map(h) = target + matrix (h - source); 0 changes nothing."""

    site: Site
    source: Float[Tensor, "layer d_model"] = field(repr=False)
    """Mean of the tokens that are moved, for each layer of the site."""
    target: Float[Tensor, "layer d_model"] = field(repr=False)
    """Mean of the tokens that they are moved onto."""
    matrix: Float[Tensor, "layer d_model d_model"] = field(repr=False)
    """How offsets from the mean are mapped."""
    strength: float
    """1 is the whole map."""
    name: str
    """Name of the map: mean, diagonal or gaussian."""
    model: str = field(default="", repr=False, metadata={"stored": False})
    """Fingerprint of the model whose states the map was fitted on; empty if it is not known."""
    token_by_token: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_strength(self.strength)
        shapes = {each: list(getattr(self, each).shape) for each in ("source", "target", "matrix")}
        layers, width = len(self.site.layers), self.source.shape[-1]
        if shapes != {
            "source": [layers, width],
            "target": [layers, width],
            "matrix": [layers, width, width],
        }:
            raise ValueError(
                f"map {self.name!r} has shapes {shapes}, which do not fit site {self.site}; give one row of source, "
                "target and matrix for each layer"
            )
        if not all(bool(torch.isfinite(each).all()) for each in (self.source, self.target, self.matrix)):
            raise ValueError(f"map {self.name!r} holds infinities or NaN; fit it on float32 states")

    @property
    def identity(self) -> str:
        """Digest of site, map and strength."""
        parts = [digest_of_tensor(each) for each in (self.source, self.target, self.matrix)]
        return digest_of(["alignment", str(self.site), parts, self.strength])

    @property
    def made_on(self) -> str:
        """Fingerprint of the model that the map was fitted on."""
        return self.model

    @property
    def width(self) -> int:
        """Width of the residual stream that it fits."""
        return self.source.shape[1]

    def at(self, strength: float) -> "Alignment":
        """Return the same map at another strength."""
        return replace(self, strength=strength)

    def displacements(self, model: Model, batch: Batch) -> Iterable[Displace]:  # noqa: ARG002
        """Return the displacement of each state at each layer; ModelError for a map of another model."""
        check_made_on(self.model, model, f"map {self.name!r}")
        check_width(f"means and matrix of map {self.name!r}", self.width, model)
        apart = torch.eye(self.width, dtype=self.matrix.dtype)
        maps = zip(self.source, self.target - self.source, self.matrix - apart, strict=True)
        return [self._moved(*each) for each in maps]

    def _moved(self, source: Tensor, moved: Tensor, turned: Tensor) -> Displace:
        def displace(states: Tensor, rows: Tensor) -> Tensor:  # noqa: ARG001
            offset = states - source.to(states)
            return self.strength * (moved.to(states) + offset @ turned.to(states).T)

        return displace


def alignment(
    image: TokenStates,
    text: TokenStates,
    layers: Sequence[int] | int,
    kind: str = "gaussian",
    strength: float = 1.0,
    role: Role = "image",
) -> Alignment:
    """Return the map of the tokens of an image, or of a sound, onto the request's own tokens in words.

    It acts where it was fitted: at the tokens of `role`, at these layers, 0-based. kind: mean (the shift by the drift
    between the roles), diagonal or gaussian. Give states of every token of calibration pairs; labels weigh the same.
    Our operationalisation. Raises ConfigError for an unknown kind, and PairError for states of two models.
    """
    if kind not in MAPS:
        raise ConfigError(f"kind is {kind!r}; choose one of {', '.join(MAPS)}")
    require_one_origin(text, image)
    chosen = as_layers(layers)
    clouds = [(cloud_of(image, role, each), cloud_of(text, "request", each)) for each in chosen]
    return Alignment(
        Site(chosen, "audio" if role == "audio" else "image"),
        torch.stack([source.mean for source, _ in clouds]),
        torch.stack([target.mean for _, target in clouds]),
        torch.stack([MAPS[kind](source, target) for source, target in clouds]),
        strength,
        kind,
        image.model,
    )
