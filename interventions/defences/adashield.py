"""AdaShield-S: the same warning before every prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt
from regap.geometry.models.model import Model
from regap.geometry.prompts.chat import render
from regap.geometry.states.store import digest_of
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.rewriting import Ask
from regap.interventions.wording import Wording


@dataclass(frozen=True, eq=False)
class Warned:
    """A rewriting that puts a warning before each prompt; the model is not asked anything else."""

    model: Model = field(repr=False)
    wording: Wording

    @property
    def identity(self) -> str:
        """Digest of the warning."""
        return digest_of(["warned", self.wording.careful])

    def __call__(self, prompts: Sequence[Prompt], ask: Ask, budget: int) -> list[Prompt]:  # noqa: ARG002
        """Return each prompt with the warning."""
        return carefully(self.model, prompts, self.wording)


def adashield(calibration: DefenceData) -> Warned:
    """Return the rewriting x -> (warning, x): the same text for all inputs; no state is edited.

    Source: AdaShield-S, arXiv 2403.09513, known from descriptions: a static defence prompt, written by hand, beside
    the query; AdaShield-A, which adapts it to each query with a second model, is not included. Needs: a longer prompt.
    Assumed: our own warning (`Wording.careful`), as the system message if the chat template takes one.
    """
    return Warned(calibration.model, calibration.wording)


def carefully(model: Model, prompts: Sequence[Prompt], wording: Wording) -> list[Prompt]:
    """Return the prompts with the warning as system message; before the user's message if the template takes none."""
    found = []
    for prompt in prompts:
        warned = wording.warned(prompt)
        try:
            render(model, warned)
        except ModelError:
            words = f"{wording.careful}\n{prompt.text}"
            warned = replace(prompt, text=words)
        found.append(warned)
    return found
