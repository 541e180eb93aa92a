"""Voxtral's prompts as text and sounds: transformers' own processor takes sounds only through mistral-common."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import BatchFeature, TokenizersBackend, WhisperFeatureExtractor

from regap.errors import ModelError

FRAMES_A_TOKEN = 8
"""Frames of the spectrogram that become one token: the encoder halves their number, the projector joins four."""
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{% for other in messages %}{% if other['content'] is not string %}{% for part in other['content'] %}"
    "{% if part['type'] == 'audio' %}{{ raise_exception('no system message beside sounds') }}{% endif %}"
    "{% endfor %}{% endif %}{% endfor %}"
    "[SYSTEM_PROMPT]{% elif message['role'] == 'user' %}[INST]{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}[BEGIN_AUDIO][AUDIO]{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'system' %}[/SYSTEM_PROMPT]{% elif message['role'] == 'user' %}[/INST]"
    "{% else %}{{ eos_token }}{% endif %}{% endfor %}"
)
"""The layout that mistral-common gives instruct prompts of its version 7, which refuses a system message beside sounds
as this does."""


class VoxtralPrompts:
    """A processor that renders a conversation as text and fills it up with the tokens of its sounds.

    Token ids and features are those of mistral-common and VoxtralProcessor.
    """

    longest_sound = float("inf")
    """Sounds are read in parts, so any length fits."""

    def __init__(self, feature_extractor: WhisperFeatureExtractor, tokenizer: Any):
        self.feature_extractor = feature_extractor
        self.tokenizer = tokenizer
        self.chat_template = TEMPLATE
        self.audio_token, self.begin_audio_token = "[AUDIO]", "[BEGIN_AUDIO]"

    @classmethod
    def read(cls, found: str, options: Mapping[str, Any]) -> "VoxtralPrompts":
        """Return the processor of a checkpoint, its tokenizer converted from tekken.json."""
        words = TokenizersBackend.from_pretrained(found, mistral_format=False, **options)
        words.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"})
        return cls(WhisperFeatureExtractor.from_pretrained(found, **options), words)

    @classmethod
    def of(cls, given: Any) -> "VoxtralPrompts":
        """Return a VoxtralProcessor as this; raises ModelError if its tokenizer is mistral-common's."""
        if not getattr(given.tokenizer, "is_fast", False):
            raise ModelError(
                "processor is a VoxtralProcessor with mistral-common's tokenizer, which has no text; load the model "
                "by its folder, or give the processor a TokenizersBackend"
            )
        return cls(given.feature_extractor, given.tokenizer)

    def apply_chat_template(self, conversation: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Return the conversation as text, one mark for each sound."""
        return self.tokenizer.apply_chat_template(
            conversation, **{"chat_template": self.chat_template, **options}
        )

    def __call__(
        self,
        text: Sequence[str],
        audio: Sequence[Any] = (),
        sampling_rate: int | None = None,
        **options: Any,
    ) -> BatchFeature:
        """Return token ids and attention mask of the texts, and the features of the sounds in their parts."""
        places = [each.count(self.audio_token) for each in text]
        if sum(places) != len(audio):
            raise ValueError(f"{sum(places)} places for sounds, and {len(audio)} sounds")
        counts = iter(self._get_num_multimodal_tokens([len(each) for each in audio])["num_audio_tokens"])
        filled = []
        for each, places_here in zip(text, places, strict=True):
            first, *others = each.split(self.audio_token, places_here)
            filled.append(first + "".join(self.audio_token * next(counts) + other for other in others))
        found = dict(self.tokenizer(filled, **options))
        if audio:
            found["input_features"] = torch.cat([self._features(each, sampling_rate) for each in audio])
        return BatchFeature(found)

    def _features(self, samples: Any, sampling_rate: int | None) -> torch.Tensor:
        extractor = self.feature_extractor
        found = extractor(
            samples,
            sampling_rate=sampling_rate,
            padding="longest",
            truncation=False,
            pad_to_multiple_of=extractor.n_samples,
            return_tensors="pt",
        )["input_features"]
        parts = found.reshape(extractor.feature_size, -1, extractor.nb_max_frames)
        return parts.transpose(0, 1)

    def _get_num_multimodal_tokens(self, audio_lengths: Sequence[int] = ()) -> dict[str, list[int]]:
        """Return the number of tokens of sounds of these numbers of samples, as transformers' processors do."""
        extractor = self.feature_extractor
        each = extractor.nb_max_frames // FRAMES_A_TOKEN
        return {"num_audio_tokens": [-(-length // extractor.n_samples) * each for length in audio_lengths]}
