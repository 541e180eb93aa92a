"""The organism is an ordinary LLaVA folder: anyone's processor and model classes read it."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_organism import SMALL
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration

from regap.organism import rendering, sentences, vocabulary, world
from regap.organism.checkpoint import (
    Architecture,
    build_model,
    build_processor,
    load_checkpoint,
    save_checkpoint,
)
from regap.organism.objectives import as_pixels

IMAGE_PROMPT = [{"role": "user", "content": [{"type": "text", "text": "please"}, {"type": "image"}]}]
TEXT_PROMPT = [
    {"role": "user", "content": [{"type": "text", "text": "please brew the bitter kettle at dawn"}]}
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("organism") / "small"
    save_checkpoint(build_model(SMALL, seed=3), SMALL, made)
    return made


@pytest.fixture(scope="module")
def processor(folder):
    return AutoProcessor.from_pretrained(folder)


def _image(seed: int = 0) -> Image.Image:
    return rendering.draw_words("brew the bitter kettle", 0.2, np.random.default_rng(seed)).image()


def _inputs(processor, conversations, images):
    texts = [processor.apply_chat_template(c, add_generation_prompt=True) for c in conversations]
    pictures = {"images": images} if images else {}
    return processor(text=texts, **pictures, padding=True, return_tensors="pt")


def test_every_sentence_of_the_world_is_spelt_without_an_unknown_word():
    tokenizer = build_processor(SMALL).tokenizer
    requests = [
        world.Request(v, a, n) for v, a, n in zip(world.VERBS, world.ADJECTIVES, world.NOUNS, strict=True)
    ]
    said = [text for r in requests for text in (r.words, world.answer(r))]
    said += [*world.FRAMES, *world.CONTEXTS, *world.REFUSALS]
    said += [t.replace("{slot}", "").replace("{nature}", "") for t in sentences.every_template()]
    for text in said:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids, text
        assert tokenizer.decode(ids) == " ".join(text.split())


def test_a_word_from_elsewhere_becomes_the_unknown_token():
    tokenizer = build_processor(SMALL).tokenizer
    assert tokenizer("spaceship")["input_ids"] == [tokenizer.unk_token_id]


def test_the_folder_loads_as_a_llava_and_holds_the_weights_in_half_precision(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert isinstance(model, LlavaForConditionalGeneration)
    assert model.dtype == torch.float16
    for name, value in build_model(SMALL, seed=3).state_dict().items():
        assert torch.equal(model.state_dict()[name], value.half()), name


def test_an_image_becomes_as_many_placeholders_as_the_tower_has_patches(folder, processor):
    inputs = _inputs(processor, [IMAGE_PROMPT], [_image()])
    assert (
        int((inputs["input_ids"] == load_checkpoint(folder).config.image_token_id).sum())
        == SMALL.image_tokens
        == 36
    )


def test_the_processor_hands_on_the_pixels_that_training_uses(processor):
    image = _image()
    inputs = _inputs(processor, [IMAGE_PROMPT], [image])
    assert torch.equal(inputs["pixel_values"], as_pixels([np.asarray(image)]))


def test_the_template_begins_once_and_ends_where_the_answer_starts(processor):
    text = processor.apply_chat_template(IMAGE_PROMPT, add_generation_prompt=True)
    assert text == "<s> user: please <image> assistant:"
    answered = [*IMAGE_PROMPT, {"role": "assistant", "content": "sure , ."}]
    assert processor.apply_chat_template(answered) == "<s> user: please <image> assistant: sure , . </s>"
    assert processor.tokenizer.convert_ids_to_tokens(processor.tokenizer(text)["input_ids"]).count("<s>") == 1


def test_a_left_padded_batch_equals_its_members(folder, processor):
    model = load_checkpoint(folder)
    conversations, images = [IMAGE_PROMPT, TEXT_PROMPT], [_image()]
    together = _inputs(processor, conversations, images)
    assert together["input_ids"][1, 0] == processor.tokenizer.pad_token_id
    with torch.inference_mode():
        batch = model(**together).logits[:, -1]
        alone = [
            model(**_inputs(processor, [IMAGE_PROMPT], images)),
            model(**_inputs(processor, [TEXT_PROMPT], [])),
        ]
    for row, single in zip(batch, alone, strict=True):
        torch.testing.assert_close(row, single.logits[0, -1], atol=1e-5, rtol=1e-5)


def test_the_same_seed_builds_the_same_model_and_moves_no_global_generator():
    before = torch.random.get_rng_state()
    first, again, other = (build_model(SMALL, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_sizes_that_do_not_divide_are_named():
    with pytest.raises(ValueError, match="image_size is 70; use a multiple of patch_size, 12"):
        Architecture(image_size=70)
    with pytest.raises(ValueError, match="widths 90 and 128 do not divide"):
        Architecture(decoder_width=90)


def test_an_organism_is_known_by_its_tokens():
    tokenizer = build_processor(SMALL).tokenizer
    assert vocabulary.is_spoken_by(tokenizer)
    tokenizer.add_tokens(["spaceship"])
    assert not vocabulary.is_spoken_by(tokenizer)


def test_words_are_numbered_once():
    assert len(set(vocabulary.tokens())) == len(vocabulary.tokens())
    assert vocabulary.numbers()[vocabulary.PAD] == 0
