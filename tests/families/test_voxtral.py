"""Voxtral's prompts are mistral-common's, token for token, and its features those of transformers' processor."""

import io
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_listening import SECONDS, tekken_file
from tiny_models import FAMILIES
from tones import tone

from regap.errors import ModelError
from regap.geometry.data.pairs import Prompt, Turn
from regap.geometry.data.sounds import Sound
from regap.geometry.models.loading import Model, load
from regap.geometry.models.voxtral import VoxtralPrompts
from regap.geometry.prompts.chat import render

SAID = {"type": "audio"}


def asked(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "sound and words": [{"role": "user", "content": [SAID, asked("the thing")]}],
    "words around a sound": [{"role": "user", "content": [asked("what"), SAID, asked(" in the end")]}],
    "words alone": [{"role": "user", "content": [asked("the thing")]}],
    "turns": [
        {"role": "user", "content": [asked("Hi")]},
        {"role": "assistant", "content": [asked("yes")]},
        {"role": "user", "content": [SAID, asked("then")]},
    ],
    "system message": [
        {"role": "system", "content": [asked("be kind")]},
        {"role": "user", "content": [asked("the thing")]},
    ],
}
SOUND = Sound(tone(300, 0.7))


@pytest.fixture(scope="module")
def made() -> Any:
    return FAMILIES["voxtral"]()


def ids(processor: VoxtralPrompts, conversation: list[dict[str, Any]]) -> list[int]:
    text = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    sounds = [SOUND.samples(16_000)] * text.count("[AUDIO]")
    options: dict[str, Any] = {"add_special_tokens": False, "return_tensors": "pt"}
    return processor([text], audio=sounds, sampling_rate=16_000, **options)["input_ids"][0].tolist()


def test_the_layout_is_that_of_mistral_common(made: Any) -> None:
    """As mistral-common 1.9 writes it: beginning, [INST], [BEGIN_AUDIO], the sound's tokens, the words, [/INST]."""
    begin, instruct, end, audio, opening = 1, 3, 4, 24, 25
    per_sound = 12 * SECONDS + SECONDS // 2  # 12.5 tokens a second
    words = made.processor.tokenizer("the thing", add_special_tokens=False)["input_ids"]
    expected = [begin, instruct, opening, *[audio] * per_sound, *words, end]
    assert ids(made.processor, CONVERSATIONS["sound and words"]) == expected


@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_tokens_are_those_of_mistral_common(kind: str, made: Any, tmp_path: Path) -> None:
    needed = ("audio", "protocol.instruct.chunk", "protocol.instruct.messages", "protocol.instruct.request")
    audio, chunk, messages, requests = (pytest.importorskip(f"mistral_common.{name}") for name in needed)
    tokenizers = pytest.importorskip("mistral_common.tokens.tokenizers.mistral")
    spoken = chunk.AudioChunk.from_audio(audio.Audio(SOUND.samples(16_000), 16_000, "wav"))
    roles = {
        "user": messages.UserMessage,
        "system": messages.SystemMessage,
        "assistant": messages.AssistantMessage,
    }

    def theirs(message: dict[str, Any]) -> Any:
        parts = [
            spoken if part is SAID else chunk.TextChunk(text=part["text"]) for part in message["content"]
        ]
        only_words = "".join(part["text"] for part in message["content"] if part is not SAID)
        return roles[message["role"]](content=parts if message["role"] == "user" else only_words)

    tekken_file(tmp_path)
    request = requests.ChatCompletionRequest(messages=[theirs(message) for message in CONVERSATIONS[kind]])
    expected = (
        tokenizers.MistralTokenizer.from_file(str(tmp_path / "tekken.json"))
        .encode_chat_completion(request)
        .tokens
    )
    assert ids(made.processor, CONVERSATIONS[kind]) == expected


def test_features_are_those_of_transformers_processor(made: Any) -> None:
    import transformers

    theirs = transformers.VoxtralProcessor(made.processor.feature_extractor, made.processor.tokenizer)
    extractor = made.processor.feature_extractor
    samples = [Sound(tone(300, seconds)).samples(16_000) for seconds in (0.7, SECONDS + 0.5)]
    expected = theirs._retrieve_input_features(
        samples,
        extractor.nb_max_frames,
        sampling_rate=16_000,
        padding=True,
        truncation=False,
        pad_to_multiple_of=extractor.n_samples,
        return_tensors="pt",
    )
    found = made.processor(["[AUDIO]", "[AUDIO]"], audio=samples, sampling_rate=16_000, padding=True)
    assert torch.equal(found["input_features"], expected)
    assert len(expected) == 3  # the second sound is read in two parts


def test_a_system_message_beside_a_sound_is_refused(made: Any) -> None:
    conversation = [*CONVERSATIONS["system message"][:1], *CONVERSATIONS["sound and words"]]
    with pytest.raises(Exception, match="no system message beside sounds"):
        made.processor.apply_chat_template(conversation, tokenize=False)


def test_the_system_message_is_named_and_not_the_turns_before_a_sound(made: Any) -> None:
    model = load(deepcopy(made.model), processor=made.processor)
    turns = (Turn("user", "Hi"), Turn("assistant", "yes"))
    with pytest.raises(ModelError, match=r"no system message beside sounds.*; ask without a system message$"):
        render(model, Prompt("<audio>then", sounds=(SOUND,), system="be kind", turns=turns))


def test_a_checkpoint_folder_is_loaded(made: Any, tmp_path: Path) -> None:
    made.model.save_pretrained(tmp_path)
    made.processor.feature_extractor.save_pretrained(tmp_path)
    tekken_file(tmp_path)
    model = load(str(tmp_path))
    assert isinstance(model, Model) and model.hears and not model.sees_images
    assert ids(model.processor, CONVERSATIONS["turns"]) == ids(made.processor, CONVERSATIONS["turns"])


def test_a_processor_in_memory_needs_a_tokenizer_with_text(made: Any) -> None:
    import transformers

    given = transformers.VoxtralProcessor(made.processor.feature_extractor, made.processor.tokenizer)
    assert isinstance(VoxtralPrompts.of(given), VoxtralPrompts)
    given.tokenizer = object()  # type: ignore[assignment] - as mistral-common's, it has no text
    with pytest.raises(ModelError, match="mistral-common's tokenizer, which has no text"):
        VoxtralPrompts.of(given)


def test_silent_is_not_short(made: Any) -> None:
    """The number of tokens follows the length alone."""
    counted = made.processor._get_num_multimodal_tokens([1, SECONDS * 16_000, SECONDS * 16_000 + 1])
    part = 12 * SECONDS + SECONDS // 2
    assert counted["num_audio_tokens"] == [part, part, 2 * part]
    assert np.isfinite(SOUND.samples(16_000)).all() and io.BytesIO(SOUND.encoded()).read(4) == b"RIFF"
