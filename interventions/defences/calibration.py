"""The data that every method is fitted on, and the type of a method."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.data.pairs import Pairs, is_speech_arm
from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.runner import Runner
from regap.geometry.models.component_map import Submodule
from regap.geometry.models.model import Model
from regap.geometry.models.submodule_hooks import has_part
from regap.geometry.prompts.positions import Positions, carrier_of
from regap.geometry.states.activations import Activations, label_means
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.other_arm import OtherArms, layer_vectors
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.rewriting import Rewrite
from regap.interventions.wording import PLAIN, Wording

NEUTRAL = ("blank-colour", "noise", "blank")
"""Arms with a picture without content, in order of preference."""


class FittedRule:
    """A frozen dataclass of vectors and numbers that are fitted on calibration data."""

    @property
    def identity(self) -> str:
        """Digest of its class and of every field."""
        return digest_of([type(self).__name__, *map(_told, vars(self).values())])


def _told(value: Any) -> Any:
    if isinstance(value, Tensor):
        return digest_of_tensor(value)
    return value.fingerprint if isinstance(value, Model) else getattr(value, "identity", value)


@dataclass(frozen=True, eq=False)
class DefenceData:
    """The data that a method may be fitted on: calibration pairs, their states by arm, directions and drifts."""

    runner: Runner = field(repr=False)
    pairs: Pairs = field(repr=False)
    """All pairs that the model will be asked. Of test pairs only the prompts are read: no label, no answer."""
    image_arm: str
    """The arm that is corrected."""
    states: Mapping[str, Activations] = field(repr=False)
    """Calibration states of each arm."""
    refusal: Direction = field(repr=False)
    """Fitted on calibration texts."""
    drifts: Mapping[str, Drift] = field(repr=False)
    """The drift of every arm but text."""
    read_layer: int
    """The layer at which methods read before they write; chosen on calibration texts."""
    false_refusals: float
    """Largest share of harmless calibration images that a gate may open for."""
    refusal_tokens: frozenset[int] = field(default=frozenset(), repr=False)
    """First tokens of the model's own refusals, found in its answers to calibration texts."""
    refused: frozenset[str] = field(default=frozenset(), repr=False)
    """Calibration pairs that the unedited model refuses in the corrected arm."""
    wording: Wording = field(default=PLAIN, repr=False)
    """The sentences of methods that ask the model something."""
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """Parts that are fitted once for all sites, by name."""

    def __post_init__(self) -> None:
        for arm, states in self.states.items():
            if any(row.split != "calibration" for row in states.rows):
                raise ValueError(f"states of arm {arm} hold test pairs; give states[{arm!r}].calibration")

    @property
    def model(self) -> Model:
        """The model that the methods are fitted on."""
        return self.runner.model

    @property
    def text(self) -> Activations:
        """States of the text arm."""
        return self.states["text"]

    @property
    def image(self) -> Activations:
        """States of the corrected arm."""
        return self.states[self.image_arm]

    @property
    def neutral(self) -> str:
        """The arm whose pictures have no content; raises PairError if there is none, or if speech is corrected."""
        if is_speech_arm(self.image_arm):
            raise PairError(
                f"the corrected arm is {self.image_arm}, and a picture without content says nothing about speech; use "
                "a method that needs none"
            )
        for arm in NEUTRAL:
            if arm in self.states:
                return arm
        raise PairError(f"there is no arm {' or '.join(NEUTRAL)}; make one with --make blank-colour")

    @property
    def media(self) -> Positions:
        """The position of the tokens that carry the request in the corrected arm: image, or audio for speech."""
        return carrier_of(self.image_arm)

    @property
    def media_tokens(self) -> bool:
        """False if the model reads images by cross-attention, so that a prompt has no tokens of them to edit."""
        return not self.model.crossing

    def at_media(self, site: Site) -> Site:
        """Return the site at the tokens of images or sounds; raises PairError if the model has no such tokens."""
        if not self.media_tokens:
            raise PairError(
                f"model {self.model.name} reads images by cross-attention and has no image tokens; use methods that "
                "act at the last token"
            )
        return replace(site, positions=self.media, phase="prefill")

    def at(self, site: Site) -> "DefenceData":
        """Return the data whose states are those of the site's tokens.

        At image tokens (or sounds), states are means over these tokens in the corrected and the neutral arm, and means
        over the request's own tokens in text; directions and drifts are fitted on them. They are captured once. At any
        other site, the data itself: states of the last token.
        """
        if site.positions not in ("image", "audio"):
            return self
        name = f"states at {site.positions}"
        if name not in self.kept:
            self.kept[name] = self._by_role(site.positions)
        return self.kept[name]

    def _by_role(self, position: Positions) -> "DefenceData":
        runner, pairs = self.runner.within("activations"), self.pairs.calibration
        arms = [arm for arm in self.states if arm == self.image_arm or arm in NEUTRAL]
        text = capture(runner, pairs, "text", position="request")["text"]
        states = {"text": text, **capture(runner, pairs, arms, position=position)}
        drifts = {arm: modality_drift(text, states[arm]) for arm in arms}
        return replace(self, states=states, refusal=refusal_direction(text), drifts=drifts, kept={})

    @cached_property
    def twins(self) -> OtherArms:
        """The other arms of every image prompt."""
        return OtherArms.of(self.model, self.pairs, self.image_arm)

    @property
    def answered(self) -> Bool[Tensor, " prompt"]:
        """True for the images that the unedited model does not refuse."""
        return torch.tensor([pair_id not in self.refused for pair_id in self.image.pair_ids])

    def text_gap(self, layer: int) -> Float[Tensor, " d_model"]:
        """Return mean harmful minus mean harmless text state after block `layer`, in units of the residual stream."""
        means, place = label_means(self.text), self.text.layers.index(layer)
        return means["harmful"][place] - means["harmless"][place]

    def refusal_dose(self, site: Site) -> Callable[[float], Shift]:
        """Return the shift h <- h + strength * (mean harmful - mean harmless text) at the site, for any strength."""
        there = self.at(site)
        return shift_dose(site, [-there.text_gap(layer) for layer in site.layers], "refusal")


def shift_dose(site: Site, vectors: Sequence[Tensor], name: str) -> Callable[[float], Shift]:
    """Return the shift h <- h - strength * vector at the site, with one vector for each layer, for any strength."""
    stacked = layer_vectors(vectors)
    return lambda strength: Shift(site, stacked, strength, name)


def mean_shifts(
    before: Activations, after: Activations, layers: Iterable[int]
) -> list[Float[Tensor, " d_model"]]:
    """Return the mean of `after` minus `before` after each block, on the pairs that both have, float64."""
    before, after = before.aligned_with(after, between_positions=True)
    return [(after.at(layer).double() - before.at(layer).double()).mean(0) for layer in layers]


def require_parts(
    calibration: DefenceData, method: str, parts: Iterable[Submodule], layers: Iterable[int]
) -> None:
    """Raise PairError if the model has a block whose part is not known; nothing is run."""
    model = calibration.model
    for layer, part in product(layers, parts):
        if not has_part(model, part, layer):
            raise PairError(
                f"{method} changes the {part} of attention, and block {layer} of model {model.name} has none that are "
                "known; leave it out"
            )


Dose = Callable[[float], Sequence[Edit]]
"""strength -> edits; 0.0 changes nothing, 1.0 is the natural unit of the method."""
Method = Callable[[DefenceData, Site], Dose]
"""(data, site) -> dose; fitted once at a site, then applied at any strength."""
Rewriting = Callable[[DefenceData], Rewrite]
"""A method that changes the prompts; it has neither site nor strength."""
