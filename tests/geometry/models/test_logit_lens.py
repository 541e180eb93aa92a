"""States after the last block read as the model's own logits; earlier ones do not."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from regap.errors import ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.prefix import run
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate


def test_the_last_block_gives_the_models_own_logits(tiny: Model, tiny_pairs: Pairs) -> None:
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs.test][:4]
    seen = run(tiny, collate(tiny, prompts, range(4)), [0, tiny.layers - 1])
    assert torch.allclose(tiny.logit_lens(seen.states[:, 1]), seen.logits, atol=1e-5)
    assert not torch.allclose(tiny.logit_lens(seen.states[:, 0]), seen.logits, atol=1e-2)


def test_a_model_without_a_head_is_refused(unchecked: None) -> None:
    headless: Any = SimpleNamespace(name="bare", hf=SimpleNamespace(get_output_embeddings=lambda: None))
    with pytest.raises(ModelError, match="model bare has no output embedding"):
        Model.logit_lens(headless, torch.zeros(1, 4))
