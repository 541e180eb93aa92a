"""ECSO: if the model judges its own answer harmful, it answers again with a description in place of the picture."""

from collections.abc import Sequence

from regap.geometry.data.pairs import Prompt
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.rewriting import Ask, Rewrite

VERDICT, CAPTION = 8, 128
"""Most tokens of a verdict and of a caption."""


def ecso(calibration: DefenceData) -> Rewrite:
    """Return the rewriting: answer, judge the answer, and unless it is harmless, answer again from a caption only.

    Source: ECSO, arXiv 2403.09572, prompts read. Needs: up to three more answers of the model for each input; it must
    follow the two instructions. Assumed: our own wording (`Wording.judge`, `describe`); an unreadable verdict counts
    as harmful; no state is edited.
    """
    wording = calibration.wording

    def rewrite(prompts: Sequence[Prompt], ask: Ask, budget: int) -> list[Prompt]:
        asked = zip(prompts, ask(prompts, budget), strict=True)
        verdicts = ask([wording.judgement(prompt, answer) for prompt, answer in asked], VERDICT)
        flagged = [row for row, verdict in enumerate(verdicts) if not wording.clears(verdict)]
        captions = ask([wording.description_of(prompts[row]) for row in flagged], CAPTION)
        found = list(prompts)
        for row, caption in zip(flagged, captions, strict=True):
            found[row] = wording.without_pictures(prompts[row], caption)
        return found

    return rewrite
