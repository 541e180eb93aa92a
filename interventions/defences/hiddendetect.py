"""HiddenDetect: refusal evidence in the states of safety-aware layers opens a gate."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.models.model import Model
from regap.geometry.states.activations import Activations
from regap.interventions.defences.calibration import DefenceData, Dose, FittedRule
from regap.interventions.edits.gate import budget_threshold
from regap.interventions.edits.shift import GatedShift
from regap.interventions.edits.site import Site


@dataclass(frozen=True, eq=False)
class Detector(FittedRule):
    """1 if the area under the refusal evidence of consecutive layers is above the threshold, else 0."""

    model: Model = field(repr=False)
    """The model whose norm and head read the states."""
    tokens: tuple[int, ...]
    """First tokens of refusals."""
    layers: tuple[int, ...]
    """Consecutive blocks, at least two."""
    threshold: float

    def scores(self, states: Float[Tensor, "prompt layer d_model"]) -> Float[Tensor, " prompt"]:
        """Return the area under the evidence over the layers, by the trapezoidal rule with step 1."""
        places = range(states.shape[1])
        seen = torch.stack([evidence(self.model, states[:, place], self.tokens) for place in places], 1)
        return torch.trapezoid(seen, dim=1)

    def __call__(self, states: Float[Tensor, "prompt layer d_model"]) -> Float[Tensor, " prompt"]:
        """Return whether the gate is open for each prompt."""
        return (self.scores(states) > self.threshold).to(states.dtype)


def hiddendetect(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h + strength * 1[S(x) > t] * (mean harmful - mean harmless), S the refusal evidence of x.

    S is the trapezoid over layers of F_l = cos(W_U norm(h_l), e_R), e_R 1 at refusal tokens and 0 elsewhere, at the
    last token. Source: HiddenDetect, arXiv 2502.14744, code read: only a detector, on the layers whose few-shot gap of
    F between unsafe and safe exceeds that of the last layer. Needs: one reading pass; refusal tokens. Assumed: an open
    gate adds the refusal direction; t is set so that the gate opens for at most the given share of harmless
    calibration images; tokens are the first tokens of the model's own refusals; the layers are found on calibration
    texts, from the first such layer to the last. Raises PairError if no refusal tokens are known.
    """
    if "hiddendetect" not in calibration.kept:
        calibration.kept["hiddendetect"] = fitted_detector(calibration)
    detector = calibration.kept["hiddendetect"]
    refusal = calibration.refusal_dose(site)
    return lambda strength: [GatedShift(refusal(strength), detector.layers, detector)]


def fitted_detector(calibration: DefenceData) -> Detector:
    """Return the detector, with layers chosen on calibration texts and threshold on harmless calibration images."""
    if not calibration.refusal_tokens:
        raise PairError(
            "no first token of a refusal is known for this model, and hiddendetect needs one; leave it out"
        )
    model, tokens = calibration.model, tuple(sorted(calibration.refusal_tokens))
    layers = safety_layers(_gaps(model, calibration.text, tokens))
    unset = Detector(model, tokens, tuple(calibration.text.layers[place] for place in layers), 0.0)
    harmless = calibration.image.where(label="harmless")
    seen = torch.stack([harmless.at(layer).double() for layer in unset.layers], 1)
    return replace(unset, threshold=budget_threshold(unset.scores(seen), calibration.false_refusals))


def evidence(
    model: Model, states: Float[Tensor, "prompt d_model"], tokens: tuple[int, ...]
) -> Float[Tensor, " prompt"]:
    """Return the cosine of the logits of states with the vector that is 1 at these tokens, 0 elsewhere; float64."""
    logits = model.logit_lens(states).double()
    return logits[:, list(tokens)].sum(-1) / (logits.norm(dim=-1) * len(tokens) ** 0.5)


def safety_layers(gaps: Float[Tensor, " layer"]) -> list[int]:
    """Return the indices from the first to the last layer whose gap exceeds that of the final layer; at least two."""
    above = [place for place, gap in enumerate(gaps.tolist()) if gap > float(gaps[-1])]
    first, last = (above[0], above[-1]) if above else (len(gaps) - 2, len(gaps) - 1)
    return list(range(first, max(last, first + 1) + 1))  # one point has no area


def _gaps(model: Model, text: Activations, tokens: tuple[int, ...]) -> Float[Tensor, " layer"]:
    harmful, found = text.harmful, []
    for layer in text.layers:
        seen = evidence(model, text.at(layer), tokens)
        found.append(seen[harmful].mean() - seen[~harmful].mean())
    return torch.stack(found)
