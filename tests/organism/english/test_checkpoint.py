"""Before training the subject is the base in words, and its pictures are as many tokens as its tower says."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regap.organism.english.base import Base
from regap.organism.english.checkpoint import SYSTEM, Eyes, build_model, build_processor
from regap.organism.english.own_words import EMPTY_TURN


def test_in_words_it_gives_the_logits_of_the_base(base: Base, eyes: Eyes) -> None:
    ids = torch.arange(2, 20)[None]
    with torch.inference_mode():
        found = build_model(eyes, base.model(), seed=0)(input_ids=ids).logits
        expected = base.model()(input_ids=ids).logits
    assert found.shape[-1] == expected.shape[-1] + 1  # the image has a token
    torch.testing.assert_close(found[..., :-1], expected)


def test_the_same_seed_gives_the_same_tower(base: Base, eyes: Eyes) -> None:
    one, same, other = (build_model(eyes, base.model(), seed).model.vision_tower for seed in (0, 0, 1))
    name, weight = next((name, weight) for name, weight in one.named_parameters() if weight.ndim > 1)
    assert torch.equal(weight, dict(same.named_parameters())[name])
    assert not torch.equal(weight, dict(other.named_parameters())[name])


def test_a_picture_takes_its_tokens_in_the_chat_of_the_base(base: Base, eyes: Eyes) -> None:
    processor: Any = build_processor(eyes, base.tokenizer())
    content = [{"type": "image"}, {"type": "text", "text": "Read it."}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    assert text == (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<image>Read it.<|im_end|>\n<|im_start|>assistant\n"
    )
    picture = Image.fromarray(np.zeros((128, 128, 3), dtype=np.uint8))
    inputs = processor(text=text, images=[picture], return_tensors="pt")
    image_token = build_model(eyes, base.model(), 0).config.image_token_id
    assert int((inputs["input_ids"] == image_token).sum()) == eyes.image_tokens == 64
    assert inputs["pixel_values"].shape == (1, 3, 128, 128)


def test_the_base_is_asked_for_its_own_words_in_the_chat_of_the_subject(base: Base, eyes: Eyes) -> None:
    processor: Any = build_processor(eyes, base.tokenizer())
    text = processor.apply_chat_template(
        [{"role": "user", "content": "Bake."}], add_generation_prompt=True, tokenize=False
    )
    assert text == f"{EMPTY_TURN}Bake.<|im_end|>\n<|im_start|>assistant\n"


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="heads divide"):
        Eyes(width=100, heads=6)
