"""AdaShield, ECSO and RAS: what they ask, whom they believe, and how far they lead a state on."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.data.rendering import blank
from regap.geometry.forward.prefix import run
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate
from regap.interventions.defences import adashield as shield
from regap.interventions.defences.adashield import adashield
from regap.interventions.defences.adasteer import adasteer_both
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.ecso import ecso
from regap.interventions.defences.hiddendetect import hiddendetect, safety_layers
from regap.interventions.defences.ras import DECAY, STEPS, Towards, openings, ras
from regap.interventions.edits.site import Site
from regap.interventions.wording import PLAIN
from regap.organism.prompts import HeldOut, held_out_pairs

SHOWN = [Prompt(f"<image>\nmessage {n}", (blank((8, 8)),)) for n in range(3)]


def never(prompts: Sequence[Prompt], budget: int) -> Sequence[str]:
    raise AssertionError("nothing was to be asked")


def test_adashield_warns_once_and_asks_nothing(calibration: DefenceData) -> None:
    found = adashield(calibration)(SHOWN, never, 8)
    assert [each.system for each in found] == [PLAIN.careful] * 3
    assert [each.text for each in found] == [each.text for each in SHOWN]


def test_where_no_system_speaks_the_warning_stands_before_the_message(
    calibration: DefenceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(model: Model, prompt: Prompt) -> str:
        if prompt.system is not None:
            raise ModelError("no system message")
        return prompt.text

    monkeypatch.setattr(shield, "render", render)
    found = adashield(calibration)(SHOWN, never, 8)
    assert found[0].text == f"{PLAIN.careful}\n<image>\nmessage 0" and found[0].system is None


def test_ecso_keeps_what_the_model_clears_and_puts_all_else_in_words(calibration: DefenceData) -> None:
    asked: list[tuple[str, int]] = []
    said = {"answers": ["a", "b", "c"], "verdicts": ["No.", "Yes.", "?"], "captions": ["one", "two"]}

    def ask(prompts: Sequence[Prompt], budget: int) -> Sequence[str]:
        stage = list(said)[len({budget for _, budget in asked})]
        asked.extend((prompt.text, budget) for prompt in prompts)
        return said[stage]

    found = ecso(calibration)(SHOWN, ask, 64)
    assert found[0] == SHOWN[0]
    assert found[1] == Prompt("message 1\nImage description: one")
    assert found[2] == Prompt("message 2\nImage description: two")
    assert [budget for _, budget in asked] == [64] * 3 + [8] * 3 + [128] * 2


def test_ecso_asks_for_no_caption_where_all_is_cleared(calibration: DefenceData) -> None:
    def ask(prompts: Sequence[Prompt], budget: int) -> Sequence[str]:
        return ["no"] * len(prompts)

    assert ecso(calibration)(SHOWN, ask, 64) == SHOWN


@pytest.fixture(scope="module")
def captioned(calibration: DefenceData) -> DefenceData:
    pairs = held_out_pairs(HeldOut(6, 6, 6, arms=("typographic", "blank", "caption")))
    assert (
        pairs.calibration.pairs[0].prompts["text"] == calibration.pairs.calibration.pairs[0].prompts["text"]
    )
    return replace(calibration, pairs=pairs, kept={})


def test_openings_are_the_discounted_distributions_of_the_first_tokens(
    tiny: Model, tiny_pairs: Pairs
) -> None:
    prompts = [pair.prompts["text"] for pair in tiny_pairs.test][:4]
    found = openings(tiny, collate(tiny, prompts, range(4)))
    ends = tiny.hf.generation_config.eos_token_id
    for row, prompt in enumerate(prompts):
        ids = collate(tiny, [prompt], [0]).inputs["input_ids"]
        expected = torch.zeros(found.shape[1], dtype=torch.float64)
        for step in range(STEPS):
            with torch.inference_mode():
                logits = tiny.hf(input_ids=ids).logits[0, -1]
            expected += DECAY**step * logits.double().softmax(-1)
            token = int(logits.argmax())
            if token == ends:
                break
            ids = torch.cat([ids, torch.tensor([[token]])], 1)
        assert torch.allclose(found[row], expected, atol=1e-5)


def test_ras_leads_each_prompt_on_by_its_own_risk(captioned: DefenceData, tiny: Model) -> None:
    site = Site((1,))
    [edit] = ras(captioned, site)(0.5)
    assert isinstance(edit, Towards) and edit.only_last
    prompts = [pair.prompts["typographic"] for pair in captioned.pairs.test][:5]
    batch = collate(tiny, prompts, range(5))
    before, after = run(tiny, batch, [1]).states[:, 0], run(tiny, batch, [1], [edit]).states[:, 0]
    risk = edit.risk(tiny, batch)
    harmful = captioned.text.harmful
    centre = captioned.text.at(1)[harmful].mean(0)
    expected = before + 0.5 * risk.float()[:, None] * (centre - before)
    assert torch.allclose(after, expected, atol=1e-4)
    assert bool(((risk > 0) & (risk < 1)).all()) and len(set(risk.tolist())) > 1
    alone = [float(edit.risk(tiny, collate(tiny, [prompt], [0]))) for prompt in prompts]
    assert risk.tolist() == pytest.approx(alone, abs=1e-4)


def test_ras_is_fitted_once_for_all_sites(captioned: DefenceData) -> None:
    ras(captioned, Site((0,)))
    kept = captioned.kept["ras"]
    [edit] = ras(captioned, Site((1,)))(1.0)
    other: Any = edit
    assert other.risk is kept


def test_safety_layers_lie_between_the_first_and_the_last_that_exceed_the_last_one() -> None:
    assert safety_layers(torch.tensor([0.0, 3.0, 0.5, 2.0, 1.0])) == [1, 2, 3]
    assert safety_layers(torch.tensor([0.0, 0.0, 3.0, 1.0])) == [2, 3]
    assert safety_layers(torch.tensor([0.0, 1.0, 2.0])) == [1, 2]


def test_an_empty_class_says_how_many_were_dropped_and_what_to_do(calibration: DefenceData) -> None:
    harmful = calibration.image.where(label="harmful").pair_ids
    safe = replace(calibration, refused=frozenset(harmful))
    told = f"all {len(harmful)} harmful calibration images in arm typographic are refused and were dropped"
    with pytest.raises(PairError, match=f"{told}.*use adasteer"):
        adasteer_both(safe, Site((1,)))
    with pytest.raises(PairError, match="no first token of a refusal is known for this model"):
        hiddendetect(replace(calibration, refusal_tokens=frozenset(), kept={}), Site((1,)))
