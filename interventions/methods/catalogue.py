"""Every method by name: what it needs, what it costs beyond one pass, and which strengths are tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from regap.interventions.methods.adashield import adashield
from regap.interventions.methods.adasteer import adasteer
from regap.interventions.methods.adasteer_both import adasteer_both
from regap.interventions.methods.astra import astra
from regap.interventions.methods.calibration import NEUTRAL, Method, Rewriting
from regap.interventions.methods.cast import cast
from regap.interventions.methods.cmrm import cmrm_dataset, cmrm_sample
from regap.interventions.methods.drift_adaptive import drift_adaptive
from regap.interventions.methods.drift_fixed import drift_fixed
from regap.interventions.methods.ecso import ecso
from regap.interventions.methods.hiddendetect import hiddendetect
from regap.interventions.methods.leace import leace
from regap.interventions.methods.mars import mars
from regap.interventions.methods.mean_shift import mean_shift
from regap.interventions.methods.none import none
from regap.interventions.methods.ras import ras
from regap.interventions.methods.refusal_ablation import refusal_ablation
from regap.interventions.methods.refusal_addition import refusal_addition
from regap.interventions.methods.shiftdc import shiftdc, shiftdc_text
from regap.interventions.methods.vlm_guard import vlm_guard


@dataclass(frozen=True)
class Entry:
    """One method as it is compared with the others."""

    title: str
    method: Method = field(default=none, repr=False)
    rewriting: Rewriting | None = field(default=None, repr=False)
    """How it changes what is asked; None for methods that ask what everyone asks."""
    arms: tuple[str, ...] = ()
    """Arms of calibration pairs it is fitted on, beside text and the corrected one; `neutral` is any of NEUTRAL."""
    looks_at: tuple[str, ...] = ()
    """Arms of each test input that are run as well: what the method is told that the picture alone does not say."""
    readings: int = 0
    """Passes of the last token alone for each input."""
    writes: str = ""
    """What the model writes for each input beside the answer that counts; empty for nothing."""
    everywhere: bool = False
    """Acts on all layers, all positions and every step; else where it is put."""
    strengths: tuple[float, ...] = ()
    """The only ones that mean something; empty for any."""
    recipe: bool = False
    """Chooses its own sites and strengths, by cross-validation on calibration pairs; not on the grid of the others."""

    @property
    def speaks(self) -> bool:
        """True if it puts words of its own to the model."""
        return self.rewriting is not None or bool(self.writes)

    @property
    def passes(self) -> int:
        """Whole prompts run for each input beyond its own."""
        return len(self.looks_at)

    def missing(self, arms: Sequence[str]) -> tuple[str, ...]:
        """Return which of the arms it needs are not there."""
        there = {*arms, "neutral"} if set(arms) & set(NEUTRAL) else set(arms)
        return tuple(dict.fromkeys(arm for arm in (*self.arms, *self.looks_at) if arm not in there))


METHODS: Mapping[str, Entry] = {
    "none": Entry("no defence", none, strengths=(1.0,), everywhere=True),
    "refusal_addition": Entry("refusal direction added", refusal_addition),
    "refusal_ablation": Entry(
        "refusal direction ablated", refusal_ablation, strengths=(1.0,), everywhere=True
    ),
    "cmrm_dataset": Entry("CMRM, data-set level", cmrm_dataset, arms=("neutral",)),
    "cmrm_sample": Entry("CMRM, sample level", cmrm_sample, looks_at=("neutral", "text")),
    "shiftdc": Entry("ShiftDC", shiftdc, looks_at=("caption",), readings=1),
    "shiftdc_text": Entry("ShiftDC, perfect captions", shiftdc_text, looks_at=("text",), readings=1),
    "vlm_guard": Entry("VLM-Guard", vlm_guard, looks_at=("text",)),
    "adasteer": Entry("AdaSteer's rule", adasteer, readings=1),
    "adasteer_both": Entry("AdaSteer's rule, both terms", adasteer_both, readings=1),
    "cast": Entry("CAST", cast, readings=1),
    "hiddendetect": Entry("HiddenDetect as a gate", hiddendetect, readings=1),
    "ras": Entry("RAS", ras, looks_at=("caption",), writes="3 tokens"),
    "astra": Entry("ASTRA's clamp", astra),
    "mars": Entry("MARS, from its abstract", mars, arms=("neutral",)),
    "adashield": Entry("AdaShield-S", rewriting=adashield),
    "ecso": Entry("ECSO", rewriting=ecso, writes="answer, verdict, caption"),
    "leace": Entry("LEACE of modality", leace, strengths=(1.0,)),
    "mean_shift": Entry("mean-shift erasure", mean_shift, strengths=(1.0,)),
    "fixed": Entry("fixed correction", drift_fixed),
    "regap_rho": Entry("ReGap, gate on ρ alone", drift_adaptive, readings=2),
    "regap": Entry("ReGap, recipe chosen", recipe=True),
}
