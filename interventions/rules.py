"""How strongly each prompt is corrected, by the kind of correction: one entry a kind."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from regap.interventions.correction_settings import Kind
from regap.interventions.corrections import Correction
from regap.interventions.prompt_end import PromptEnd

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
