"""Every method by name, with its needs, its cost beyond one pass, and its strengths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from regap.geometry.forward.hooks import Edit
from regap.interventions.defences.activation_revision import activation_revision
from regap.interventions.defences.adashield import adashield
from regap.interventions.defences.adasteer import adasteer, adasteer_both
from regap.interventions.defences.astra import astra
from regap.interventions.defences.calibration import NEUTRAL, DefenceData, Dose, Method, Rewriting
from regap.interventions.defences.cast import cast
from regap.interventions.defences.cmrm import cmrm_dataset, cmrm_sample
from regap.interventions.defences.dtr import dtr
from regap.interventions.defences.ecso import ecso
from regap.interventions.defences.hiddendetect import hiddendetect
from regap.interventions.defences.leace import leace, mean_shift
from regap.interventions.defences.mars import mars
from regap.interventions.defences.ras import ras
from regap.interventions.defences.refusal_direction import refusal_ablation, refusal_addition
from regap.interventions.defences.safeptr import safeptr
from regap.interventions.defences.shiftdc import shiftdc, shiftdc_text
from regap.interventions.defences.vlm_guard import vlm_guard
from regap.interventions.edits.regap import calibrate_regap
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site


def drift_fixed(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * D, the drift of the corrected arm; our operationalisation.

    Needs: texts and images of calibration pairs. At image tokens, D is the drift between token roles.
    """
    drift = calibration.at(site).drifts[calibration.image_arm]
    return lambda strength: [fixed_correction(drift, site, strength)]


def drift_adaptive(calibration: DefenceData, site: Site) -> Dose:
    """Return h <- h - strength * gate(rho(x)) * D, rho the self-rectification of x; our operationalisation.

    Source: the abstract of arXiv 2605.18104 names the mechanism, not a formula. Needs: two readings of the last
    token, without and with a probe.
    """
    drift = calibration.drifts[calibration.image_arm]
    regap = calibrate_regap(
        calibration.runner,
        calibration.pairs,
        calibration.refusal,
        drift,
        site.layers,
        positions=site.positions,
        phase=site.phase,
        norm=site.norm,
        strongest=1.0,
        false_refusals=calibration.false_refusals,
    )
    return lambda strength: [replace(regap, strongest=strength)]


def none(calibration: DefenceData, site: Site) -> Dose:  # noqa: ARG001 - nothing is fitted
    """Return no edits at any strength: the unedited model."""

    def dose(strength: float) -> Sequence[Edit]:  # noqa: ARG001
        return []

    return dose


Where = Literal["layer", "everywhere", "image", "window", "heads"]
"""layer: one layer, at the last prompt token; everywhere: all layers, all positions and every step; image: all layers,
at image tokens; window: two early layers in a row, at image tokens; heads: all layers, at the last token of the prompt
and of every step."""


@dataclass(frozen=True)
class DefenceEntry:
    """One method of the comparison."""

    title: str
    method: Method = field(default=none, repr=False)
    rewriting: Rewriting | None = field(default=None, repr=False)
    """How it changes the prompts; None for methods that leave them unchanged."""
    arms: tuple[str, ...] = ()
    """Arms of calibration pairs it is fitted on, besides text and the corrected arm; `neutral` is any of NEUTRAL."""
    looks_at: tuple[str, ...] = ()
    """Other arms of each test input that the method runs, which give it more information than the picture."""
    readings: int = 0
    """Passes of only the last token for each input."""
    writes: str = ""
    """What the model generates for each input besides the final answer; empty for nothing."""
    passes_over: int = 0
    """Further passes over each input's own prompt, unedited or with gradients."""
    where: Where = "layer"
    """The sites that it may act at."""
    at_image: bool = False
    """True if it may act at image tokens of one layer too, with states that were read there."""
    strengths: tuple[float, ...] = ()
    """The only meaningful strengths; empty for any."""
    recipe: bool = False
    """True if it chooses its own sites and strengths, by cross-validation on calibration pairs and not on the grid."""

    @property
    def speaks(self) -> bool:
        """True if it gives the model text of its own."""
        return self.rewriting is not None or bool(self.writes)

    @property
    def passes(self) -> int:
        """Whole prompts run for each input, besides its own."""
        return len(self.looks_at) + self.passes_over

    def missing(self, arms: Sequence[str]) -> tuple[str, ...]:
        """Return the arms it needs that are missing."""
        there = {*arms, "neutral"} if set(arms) & set(NEUTRAL) else set(arms)
        return tuple(dict.fromkeys(arm for arm in (*self.arms, *self.looks_at) if arm not in there))


METHODS: Mapping[str, DefenceEntry] = {
    "none": DefenceEntry("no defence", none, strengths=(1.0,), where="everywhere"),
    "refusal_addition": DefenceEntry("refusal direction added", refusal_addition, at_image=True),
    "refusal_ablation": DefenceEntry(
        "refusal direction ablated", refusal_ablation, strengths=(1.0,), where="everywhere"
    ),
    "cmrm_dataset": DefenceEntry("CMRM, data-set level", cmrm_dataset, arms=("neutral",), at_image=True),
    "cmrm_sample": DefenceEntry("CMRM, sample level", cmrm_sample, looks_at=("neutral", "text")),
    "shiftdc": DefenceEntry("ShiftDC", shiftdc, looks_at=("caption",), readings=1),
    "shiftdc_text": DefenceEntry("ShiftDC, perfect captions", shiftdc_text, looks_at=("text",), readings=1),
    "vlm_guard": DefenceEntry("VLM-Guard", vlm_guard, looks_at=("text",)),
    "adasteer": DefenceEntry("AdaSteer's rule", adasteer, readings=1, at_image=True),
    "adasteer_both": DefenceEntry("AdaSteer's rule, both terms", adasteer_both, readings=1),
    "cast": DefenceEntry("CAST", cast, readings=1, at_image=True),
    "hiddendetect": DefenceEntry("HiddenDetect as a gate", hiddendetect, readings=1, at_image=True),
    "ras": DefenceEntry("RAS", ras, looks_at=("caption",), writes="3 tokens"),
    "astra": DefenceEntry("ASTRA's clamp", astra, at_image=True),
    "mars": DefenceEntry("MARS, from its abstract", mars, arms=("neutral",), at_image=True),
    "dtr": DefenceEntry("DTR, token reweighting", dtr, where="image", passes_over=4),
    "safeptr": DefenceEntry(
        "SafePTR, prune and restore", safeptr, where="window", strengths=(0.1, 0.25, 0.5), passes_over=1
    ),
    "activation_revision": DefenceEntry(
        "activation revision, heads",
        activation_revision,
        where="heads",
        strengths=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0),
    ),
    "adashield": DefenceEntry("AdaShield-S", rewriting=adashield),
    "ecso": DefenceEntry("ECSO", rewriting=ecso, writes="answer, verdict, caption"),
    "leace": DefenceEntry("LEACE of modality", leace, strengths=(1.0,), at_image=True),
    "mean_shift": DefenceEntry("mean-shift erasure", mean_shift, strengths=(1.0,), at_image=True),
    "fixed": DefenceEntry("fixed correction", drift_fixed, at_image=True),
    "regap_rho": DefenceEntry("ReGap, gate on ρ only", drift_adaptive, readings=2),
    "regap": DefenceEntry("ReGap, recipe chosen", recipe=True),
}
