"""How strongly each prompt is corrected, by the kind of correction: one entry a kind."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from regap.interventions.corrections import Correction, Kind
from regap.interventions.prompt_end import PromptEnd

Rule = Callable[[Correction, PromptEnd], Float[Tensor, "prompt layer"]]
"""Decides on the strength of every prompt at every layer of the site; may run the end of the prompts to read it."""


def fixed(correction: Correction, end: PromptEnd) -> Float[Tensor, "prompt layer"]:
    """Return one strength for all prompts, and run nothing."""
    return end.same_for_all(correction.settings.strength)


def self_rectified(correction: Correction, end: PromptEnd) -> Float[Tensor, "prompt layer"]:
    """Return alpha_max * gate(signal) of every prompt, from one pass of its last token or two."""
    facts, gate = correction.settings.gate, correction.gate()
    assert facts is not None  # checked when the correction was made
    before, after = facts.reading().unbind(0)
    runs = {0.0: before, facts.probe: after} if facts.probe else {0.0: before + after}
    signal = sum(
        (end.coordinates(strength) @ weights for strength, weights in runs.items() if bool(weights.any())),
        start=torch.zeros(len(end.call.tokens), dtype=torch.float64),
    )
    strengths = correction.settings.strength * gate(signal)
    return strengths[:, None].expand(-1, len(correction.vectors))


RULES: Mapping[Kind, Rule] = {"fixed": fixed, "regap": self_rectified}
