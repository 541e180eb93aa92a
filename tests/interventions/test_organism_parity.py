"""The shipped organism under our hooks is the organism under plain Hugging Face: residuals and tokens."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from regap.geometry.forward.prefix import run
from regap.geometry.models.loading import load
from regap.geometry.prompts.batch import collate
from regap.interventions.generation import generate
from regap.organism.family import DEFAULT, family, organism_folder
from regap.organism.prompts import HeldOut, held_out_pairs


@pytest.fixture(scope="module")
def bundled():
    return load("organism"), AutoModelForImageTextToText.from_pretrained(
        organism_folder(), dtype="float32"
    ).eval()


@pytest.mark.parametrize("arm", ["text", "typographic"])
def test_residuals_and_tokens_equal_plain_hugging_face(bundled, arm):
    model, plain = bundled
    pairs = held_out_pairs(HeldOut(1, 4, 4, arms=("text", "typographic"))).test
    prompts = [pair.prompts[arm] for pair in pairs]
    batch = collate(model, prompts, range(len(prompts)))
    with torch.inference_mode():
        hidden = plain(**batch.inputs, output_hidden_states=True).hidden_states
        tokens = plain.generate(**batch.inputs, max_new_tokens=20, do_sample=False)
    theirs = torch.stack([one[:, -1] for one in hidden[1:-1]], 1)
    ours = run(model, batch, range(model.layers)).states[:, :-1]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    written = [
        text.strip()
        for text in model.tokenizer.batch_decode(
            tokens[:, batch.inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
    ]
    assert [answer.text for answer in generate(model, pairs, arm, max_new_tokens=20)] == written
    assert len(set(written)) > 1  # an empty or constant answer would prove nothing


def test_the_default_member_has_one_name():
    assert organism_folder() == organism_folder(DEFAULT)
    assert {path.name for path in organism_folder().parent.iterdir() if path.is_dir()} == set(family())
