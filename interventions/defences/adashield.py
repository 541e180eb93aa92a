"""AdaShield-S: the same warning before every prompt."""

from collections.abc import Sequence
from dataclasses import replace

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt
from regap.geometry.models.model import Model
from regap.geometry.prompts.chat import render
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.rewriting import Rewrite
from regap.interventions.wording import Wording


def adashield(calibration: DefenceData) -> Rewrite:
    """Return the rewriting x -> (warning, x): the same text for all inputs; no state is edited.

    Source: AdaShield-S, arXiv 2403.09513, known from descriptions: a static defence prompt, written by hand, beside
    the query; AdaShield-A, which adapts it to each query with a second model, is not included. Needs: a longer prompt.
    Assumed: our own warning (`Wording.careful`), as the system message if the chat template takes one.
    """
    return lambda prompts, _ask, _budget: carefully(calibration.model, prompts, calibration.wording)


def carefully(model: Model, prompts: Sequence[Prompt], wording: Wording) -> list[Prompt]:
    """Return the prompts with the warning as system message; before the user's message if the template takes none."""
    found = []
    for prompt in prompts:
        warned = wording.warned(prompt)
        try:
            render(model, warned)
        except ModelError:
            warned = replace(prompt, text=f"{wording.careful}\n{prompt.text}")
        found.append(warned)
    return found
