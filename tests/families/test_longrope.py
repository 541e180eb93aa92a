"""Answers that cross a switch of rotary frequencies do not depend on the prompts beside them."""

from typing import Any

import pytest
import torch
import transformers
from tiny_words import chat_template, tokenizer

from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.lengths import prompt_lengths
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate

SWITCH = 40
TEXTS = ("hi", "what is written here and why", "tell me how the colours differ")


@pytest.fixture(scope="module")
def phi() -> Model:
    words = tokenizer("chatml")
    words.chat_template = chat_template("chatml", "")
    rope = {
        "rope_type": "longrope",
        "short_factor": [1.0] * 4,
        "long_factor": [8.0, 4.0, 3.0, 2.0],
        "factor": 8.0,
    }
    rope |= {"rope_theta": 10_000.0, "original_max_position_embeddings": SWITCH}
    special: dict[str, Any] = {
        f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("pad", "bos", "eos")
    }
    config = transformers.Phi3Config(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, original_max_position_embeddings=SWITCH,
        rope_parameters=rope, **special,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hf = transformers.Phi3ForCausalLM(config).eval()
        for weight in hf.parameters():
            torch.nn.init.normal_(weight, std=0.3) if weight.dim() > 1 else None
    return load(hf, processor=words)


@pytest.mark.parametrize("position", [None, "last", "all"])
def test_answers_in_one_batch_are_those_one_by_one(position: str | None, phi: Model) -> None:
    prompts = [Prompt(text) for text in TEXTS]
    assert all(length < SWITCH < length + 28 for length in prompt_lengths(phi, prompts))
    pairs = Pairs(
        tuple(
            Pair(prompt.text, "harmful", "any", prompt.text, "test", {"text": prompt}) for prompt in prompts
        )
    )
    vector = torch.linspace(-1, 1, 32, dtype=torch.float64)[None]
    edits = [Shift(Site((1,), position), vector, 1.5, "planted")] if position else []  # type: ignore[arg-type]
    many, alone = (
        generate(Runner(phi, Limits(answers=most)), pairs, "text", edits=edits, max_new_tokens=28)
        for most in (8, 1)
    )
    assert many == alone
