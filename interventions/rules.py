"""How strongly each prompt is corrected, by the kind of correction: one entry a kind."""

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor

from regap.interventions.corrections import Correction, Kind
from regap.interventions.prompt_end import PromptEnd
from regap.interventions.signals import SIGNALS

Rule = Callable[[Correction, PromptEnd], Float[Tensor, "prompt layer"]]
"""Decides on the strength of every prompt at every layer of the site; may run the end of the prompts to read it."""


def fixed(correction: Correction, end: PromptEnd) -> Float[Tensor, "prompt layer"]:
    """Return one strength for all prompts, and run nothing."""
    return end.same_for_all(correction.settings.strength)


def self_rectified(correction: Correction, end: PromptEnd) -> Float[Tensor, "prompt layer"]:
    """Return alpha_max * gate(signal) of every prompt, from one pass of its last token or two."""
    facts, gate = correction.settings.gate, correction.gate()
    assert facts is not None  # checked when the correction was made
    signal = SIGNALS[facts.signal]
    before = end.coordinates(0.0)
    after = end.coordinates(facts.probe) if signal.probes else before
    strengths = correction.settings.strength * gate(signal.of(before, after))
    return strengths[:, None].expand(-1, len(correction.vectors))


RULES: Mapping[Kind, Rule] = {"fixed": fixed, "regap": self_rectified}
