"""The call of a plain model that holds the end of a prompt, run as often as it takes to decide on a correction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import ModelError
from regap.interventions.edits.site import Norm, Site, shifted
from regap.interventions.packs.correction import Correction, SiteVectors
from regap.interventions.packs.plain_blocks import Blocks, Change
from regap.interventions.packs.settings import Kind

TOKENS = ("input_ids", "inputs_embeds")
BY_LAST = ("position_ids", "token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids", "cache_position")
"""Inputs with one entry a token, along their second or their last dimension."""
EVERY_PART = ("attention_mask", "past_key_values", "use_cache", "return_dict", "logits_to_keep")
"""What the last token alone is run with besides; pictures are in the cache by then."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a model's forward, and which columns of the sequence it runs."""

    forward: Callable[..., Any] = field(repr=False)
    inputs: Mapping[str, Any] = field(repr=False)
    first: int
    """Column of its first token: how many the cache holds already."""
    prompt: int
    """How many columns the prompt has."""

    @property
    def tokens(self) -> Tensor:
        """What it runs, [prompt, token] or [prompt, token, d_model]."""
        given = self.inputs.get("inputs_embeds")
        return self.inputs["input_ids"] if given is None else given

    @property
    def columns(self) -> int:
        """How many tokens of each prompt it runs."""
        return self.tokens.shape[1]

    @property
    def cache(self) -> Any:
        """Keys and values of what came before, None if there are none."""
        return self.inputs.get("past_key_values")

    @property
    def ends_prompt(self) -> bool:
        """True if the last column of the prompt is the last of the call."""
        return self.first + self.columns == self.prompt

    def all_but_last(self) -> "Call":
        """Return the call of every token but the last."""
        inputs = {name: _cut(name, value, slice(None, -1)) for name, value in self.inputs.items()}
        return replace(self, inputs=inputs)

    def last_token(self) -> "Call":
        """Return the call of the last token alone, to be run once all before it is in the cache."""
        kept = {name: value for name, value in self.inputs.items() if name in EVERY_PART}
        last = {
            name: _cut(name, value, slice(-1, None))
            for name, value in self.inputs.items()
            if name in (*TOKENS, *BY_LAST)
        }
        return replace(self, inputs={**kept, **last}, first=self.first + self.columns - 1)

    def same_for_all(self, strength: float) -> Float[Tensor, " prompt"]:
        """Return one strength for every prompt of the call."""
        return torch.full((len(self.tokens),), float(strength))

    def marked(self, site: Site) -> Bool[Tensor, " token"]:
        """True at the columns of the call that the site edits."""
        column = torch.arange(self.first, self.first + self.columns)
        from_where = self.prompt - 1 if site.positions == "last" else 0
        until = self.prompt if site.phase == "prefill" else self.first + self.columns
        return (column >= from_where) & (column < until)


@dataclass(eq=False)
class PromptEnd:
    """Runs the end of a prompt uncorrected, under probes, and at last as it is answered."""

    call: Call
    blocks: Blocks
    correction: Correction
    one_token: bool
    """True if the prompt can be run up to its last token once, and gone on from."""

    @torch.no_grad()
    def coordinates(self, strength: float) -> Float[Tensor, "prompt read"]:
        """Return z at the layers the gate reads, under the probe at one strength; 0 is none."""
        if self.one_token:
            self._make_repeatable(strength)
        kept: dict[int, Tensor] = {}
        keepers = {layer: keeper(self.call, layer, kept) for layer in self.correction.read_layers}
        probe = changes_of(self.correction.probed, self.call, self.same_for_all(strength)) if strength else {}
        self._run({**probe, **keepers})
        self._take_back()
        return coordinates_of(self.correction, kept)

    def same_for_all(self, strength: float) -> Float[Tensor, " prompt"]:
        """Return one strength for every prompt."""
        return self.call.same_for_all(strength)

    def finish(self, strengths: Float[Tensor, " prompt"]) -> Any:
        """Return what the model says with each prompt corrected by its own strength."""
        return self._run(changes_of(self.correction.removed, self.call, strengths))

    def _run(self, changes: Mapping[int, Change]) -> Any:
        with self.blocks.changed(changes):
            return self.call.forward(**self.call.inputs)

    def _make_repeatable(self, strength: float) -> None:
        """Have all but the last token in the cache, unless an uncorrected pass is about to put it there."""
        slides = any(self.call.cache.is_sliding)
        if self.call.columns > 1 and (strength or slides):
            self.call.forward(**self.call.all_but_last().inputs)
            self.call = self.call.last_token()
        if slides:
            self.call.cache.activate_past_recording()  # windows can then be put back as they were

    def _take_back(self) -> None:
        """Leave the cache as it was before the pass, or with all but the last token."""
        if self.one_token:
            self.call.cache.crop(-1)
            self.call = self.call if self.call.columns == 1 else self.call.last_token()
        elif self.call.cache is not None:
            self.call.cache.reset()


def changes_of(removed: SiteVectors, call: Call, strengths: Float[Tensor, " prompt"]) -> dict[int, Change]:
    """Return what is done to the columns of a call, by layer; nothing if the site has none of them.

    The strengths are looked at when a block has run, and may be written to until then.
    """
    where, site = call.marked(removed.site), removed.site
    if not bool(where.any()):
        return {}
    layers = zip(site.layers, removed.vectors, strict=True)
    return {layer: _shift(vector, strengths, where, site.norm) for layer, vector in layers}


def keeper(call: Call, layer: int, kept: dict[int, Tensor]) -> Change:
    """Return what keeps a copy of the prompt's last column after a layer, and changes nothing."""
    column = call.prompt - 1 - call.first

    def keep(residual: Tensor) -> None:
        kept[layer] = residual[:, column].detach().clone()

    return keep


def coordinates_of(
    correction: Correction, kept: Mapping[int, Float[Tensor, "prompt d_model"]]
) -> Float[Tensor, "prompt read"]:
    """Return z at the layers the gate reads, float64, on the CPU; raises ModelError unless all are finite."""
    states = torch.stack([kept[layer].to("cpu", torch.float32) for layer in correction.read_layers], 1)
    z = torch.einsum("pld,ld->pl", states.double(), correction.directions().double())
    if not bool(torch.isfinite(z).all()):
        raise ModelError(
            "residual streams hold NaN or infinity at the layers that the gate reads; run the model in float32 or "
            "bfloat16"
        )
    return z


def _shift(vector: Tensor, strength: Tensor, where: Tensor, norm: Norm) -> Change:
    def shift(residual: Tensor) -> Tensor:
        mask = where.to(residual.device).expand(len(residual), -1)
        return shifted(residual, vector, strength, mask, norm)

    return shift


def _cut(name: str, value: Any, part: slice) -> Any:
    if not isinstance(value, Tensor):
        return value
    if name in (*TOKENS, "attention_mask"):
        return value[:, part]
    return value[..., part] if name in BY_LAST else value


Rule = Callable[[Correction, PromptEnd], Float[Tensor, " prompt"]]
"""Decides on the strength of every prompt; may run the end of the prompts to read it."""


def fixed(correction: Correction, end: PromptEnd) -> Float[Tensor, " prompt"]:
    """Return one strength for all prompts, and run nothing."""
    return end.same_for_all(correction.settings.strength)


def self_rectified(correction: Correction, end: PromptEnd) -> Float[Tensor, " prompt"]:
    """Return alpha_max * gate(signal) of every prompt, from one pass of its last token or two."""
    before, after = correction.weights.unbind(0)
    probe = correction.probe_strength
    runs = {0.0: before, probe: after} if probe else {0.0: before + after}
    signal = sum(
        (end.coordinates(strength) @ weights for strength, weights in runs.items() if bool(weights.any())),
        start=torch.zeros(len(end.call.tokens), dtype=torch.float64),
    )
    return correction.strengths(signal)


RULES: Mapping[Kind, Rule] = {"fixed": fixed, "regap": self_rectified}
