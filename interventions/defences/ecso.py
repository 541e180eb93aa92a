"""ECSO: if the model judges its own answer harmful, it answers again with a description in place of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from regap.geometry.data.pairs import Prompt
from regap.geometry.states.store import digest_of
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.rewriting import Ask
from regap.interventions.wording import Wording

VERDICT, CAPTION = 8, 128
"""Most tokens of a verdict and of a caption."""


@dataclass(frozen=True, eq=False)
class JudgedByItself:
    """A rewriting that keeps prompts whose answer the model calls harmless; in others it describes the pictures."""

    wording: Wording

    @property
    def identity(self) -> str:
        """Digest of what the model is asked."""
        return digest_of(["judged by itself", self.wording.identity])

    def __call__(self, prompts: Sequence[Prompt], ask: Ask, budget: int) -> list[Prompt]:
        """Return each prompt; as text only unless the model's verdict on its own answer is that it is harmless."""
        answers = ask(prompts, budget)
        asked = zip(prompts, answers, strict=True)
        verdicts = ask([self.wording.judgement(prompt, answer) for prompt, answer in asked], VERDICT)
        flagged = [row for row, verdict in enumerate(verdicts) if not self.wording.clears(verdict)]
        captions = ask([self.wording.description_of(prompts[row]) for row in flagged], CAPTION)
        found = list(prompts)
        for row, caption in zip(flagged, captions, strict=True):
            found[row] = self.wording.without_pictures(prompts[row], caption)
        return found


def ecso(calibration: DefenceData) -> JudgedByItself:
    """Return the rewriting: answer, judge the answer, and unless it is harmless, answer again from a caption only.

    Source: ECSO, arXiv 2403.09572, prompts read. Needs: up to three more answers of the model for each input; it must
    follow the two instructions. Assumed: our own wording (`Wording.judge`, `describe`); an unreadable verdict counts
    as harmful; no state is edited.
    """
    return JudgedByItself(calibration.wording)
