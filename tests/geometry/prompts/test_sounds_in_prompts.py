"""A sound stands where its slot is, whole; what the model cannot hear, or would take for a sound, is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from parity import subject
from tones import tone

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Prompt, Turn
from regap.geometry.data.sounds import Sound
from regap.geometry.forward.batches import batch_rows
from regap.geometry.forward.token_capture import named_tokens
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate, prompt_digest
from regap.geometry.prompts.chat import render, spans
from regap.geometry.prompts.lengths import prompt_lengths

SHORT, LONG = Sound(tone(300, 0.4)), Sound(tone(500, 1.1, 44_100, 2))


@pytest.fixture(scope="module", params=["qwen2_audio", "voxtral", "qwen2_5_omni", "gemma4"])
def model(request: pytest.FixtureRequest) -> Model:
    return subject(request.param, "float32").model


def test_the_sound_stands_between_the_words_around_its_slot(model: Model) -> None:
    batch = collate(model, [Prompt("first <audio> then that", sounds=(SHORT,))], [0])
    place = batch.audio[0].nonzero()[:, 0]
    assert torch.equal(place, torch.arange(int(place[0]), int(place[-1]) + 1))
    before, after = batch.request[0][: place[0]].any(), batch.request[0][place[-1] :].any()
    assert bool(before) and bool(after)


def test_a_longer_sound_has_more_tokens_and_lengths_are_near(model: Model) -> None:
    prompts = [Prompt("<audio>", sounds=(each,)) for each in (SHORT, Sound(tone(300, 1.6)))]
    real = [int(collate(model, [prompt], [0]).real.sum()) for prompt in prompts]
    assert real[1] > real[0] or model.longest_sound == float("inf")  # Voxtral fills up to whole parts
    for told, found in zip(prompt_lengths(model, prompts), real, strict=True):
        assert abs(told - found) <= 3


def test_a_sound_alone_is_a_whole_message(model: Model) -> None:
    prompt = Prompt("<audio>", sounds=(SHORT,))
    assert spans(model, prompt) == []
    batch = collate(model, [prompt], [0])
    assert bool(batch.audio.any()) and not bool(batch.request.any())
    assert not bool((batch.after_instruction & batch.audio).any())
    with pytest.raises(ModelError, match="prompt 0 has no token at position request"):
        batch.at("request")


def test_earlier_turns_are_told_apart_from_the_spoken_one(model: Model) -> None:
    turns = (Turn("user", "hello there"), Turn("assistant", "yes, what is it"))
    batch = collate(model, [Prompt("<audio>now", sounds=(SHORT,), turns=turns)], [0])
    words = model.tokenizer.decode(batch.inputs["input_ids"][0][batch.earlier[0]])
    assert "hello" in words and "now" not in words


def test_what_is_heard_is_in_the_digest() -> None:
    prompts = [Prompt("<audio>", sounds=(each,)) for each in (SHORT, LONG)]
    assert len({prompt_digest("same", prompt) for prompt in prompts}) == 2


def test_a_sound_that_the_model_would_cut_is_refused_before_it_runs(model: Model) -> None:
    if model.longest_sound == float("inf"):
        pytest.skip("it hears sounds of any length")
    long = Sound(tone(300, model.longest_sound + 0.5, 8_000))
    with pytest.raises(PairError, match=rf"hears at most {model.longest_sound:g} seconds; shorten it"):
        render(model, Prompt("<audio>", sounds=(long,), shown="a long story"))


def test_words_that_the_processor_would_take_for_a_sound_are_refused(model: Model) -> None:
    mark = model.processor.audio_token
    with pytest.raises(PairError, match="takes for an image or a sound and not for words"):
        render(model, Prompt(f"say {mark} twice"))
    if mark != "<audio>":
        assert "what is the tag <audio> for" in render(model, Prompt("what is the tag <audio> for"))


def test_a_model_that_hears_nothing_says_so(tiny: Model) -> None:
    with pytest.raises(ModelError, match="takes no sounds; leave out arms of speech"):
        render(tiny, Prompt("<audio>", sounds=(SHORT,)))


def test_words_and_sounds_are_batched_apart(model: Model) -> None:
    prompts = [
        Prompt("hi"),
        Prompt("<audio>", sounds=(SHORT,)),
        Prompt("hello"),
        Prompt("<audio>", sounds=(LONG,)),
    ]
    groups = batch_rows(model, prompts, 8)
    assert sorted(map(sorted, groups)) == [[0, 2], [1, 3]]


def test_other_samples_give_other_states_at_the_same_words(model: Model) -> None:
    prompts = [Prompt("<audio> what is said", sounds=(each,)) for each in (SHORT, Sound(tone(2500, 0.4)))]
    inputs = [collate(model, [prompt], [0]).inputs for prompt in prompts]
    assert torch.equal(inputs[0]["input_ids"], inputs[1]["input_ids"])
    with torch.inference_mode():
        logits = [model.hf(**each).logits[0, -1].numpy() for each in inputs]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_a_prompt_counts_its_slots() -> None:
    with pytest.raises(PairError, match="has 1 x <audio> and 2 sounds"):
        Prompt("<audio>", sounds=(SHORT, LONG))
    both = replace(Prompt("a <audio> b", sounds=(SHORT,)), system="be kind")
    assert both.words == ("a ", " b") and both.slots == ("<audio>",)


def test_a_sound_too_short_to_become_a_token_is_refused(model: Model) -> None:
    with pytest.raises(PairError, match=r"too short to become a token; give one of 0\.05 seconds or more"):
        render(model, Prompt("<audio>hi", sounds=(Sound(tone(300, 0.04)),)))
    batch = collate(model, [Prompt("<audio>hi", sounds=(Sound(tone(300, 0.05)),))], [0])
    assert bool(batch.audio.any())


def test_tokens_of_sounds_have_a_role_of_their_own(model: Model) -> None:
    prompt = Prompt("<audio>hi there", sounds=(SHORT,))
    batch = collate(model, [prompt], [0])
    (tokens,) = named_tokens(model, batch)
    assert sum(token.role == "audio" for token in tokens) == int(batch.audio.sum())
    assert not any(token.role == "system" for token in tokens)
