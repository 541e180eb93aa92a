"""Processors work without torchvision, and say what they need where they cannot."""

import sys
from typing import Any

import pytest
from transformers import AutoProcessor, LlavaProcessor, Qwen2_5_VLProcessor, SmolVLMProcessor
from transformers.models.smolvlm import processing_smolvlm

from regap.errors import ModelError
from regap.geometry.models.processors import WordsAlone, as_processor, read_processor, without_video


def test_a_class_without_videos_is_left_as_it_is() -> None:
    assert without_video(LlavaProcessor) is LlavaProcessor


def test_a_class_with_videos_keeps_its_name_and_its_other_parts() -> None:
    still = without_video(Qwen2_5_VLProcessor)
    assert issubclass(still, Qwen2_5_VLProcessor) and still.__name__ == "Qwen2_5_VLProcessor"
    assert still.get_attributes() == ["image_processor", "tokenizer"]
    assert "video_processor" in Qwen2_5_VLProcessor.get_attributes()


def test_what_counts_the_frames_of_a_video_is_missed_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    without_video(SmolVLMProcessor)
    with pytest.raises(
        ImportError, match="8 frames of a video cannot be counted in words; install num2words"
    ):
        vars(processing_smolvlm)["num2words"](8)


def test_a_package_that_cannot_be_done_without_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def needy(*arguments: Any, **options: Any) -> None:
        raise ImportError("\nOddProcessor requires\nthe odd library")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", needy)
    with pytest.raises(ModelError) as caught:
        read_processor("odd", object(), {})
    assert str(caught.value) == (
        "model odd: its processor needs a package; install it: OddProcessor requires the odd library"
    )


def test_a_tokenizer_alone_is_a_processor_of_words(tiny: Any) -> None:
    words = as_processor(tiny.tokenizer)
    assert isinstance(words, WordsAlone) and as_processor(tiny.processor) is tiny.processor
    assert words(["brew the mint"])["input_ids"] == tiny.tokenizer(["brew the mint"])["input_ids"]


def test_torchvision_is_not_needed_by_the_tests() -> None:
    assert "torchvision" not in sys.modules
