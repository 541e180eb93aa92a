"""How a model's processor is read: no video is ever shown to a model, so none needs a library to decode it."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.processing_utils import ProcessorMixin

from regap.errors import ModelError


class WordsAlone:
    """A tokenizer in the place of a processor, for a model that sees no images."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's own."""
        return self.tokenizer.chat_template

    def apply_chat_template(self, conversation: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Return the conversation as text; the parts of a message are joined, as such templates expect."""
        joined = [
            {**message, "content": "".join(part["text"] for part in message["content"])}
            for message in conversation
        ]
        return self.tokenizer.apply_chat_template(joined, **options)

    def __call__(self, text: Sequence[str], **options: Any) -> Any:
        """Return what the tokenizer makes of the texts."""
        return self.tokenizer(text, **options)


def read_processor(found: str, config: Any, options: dict[str, Any]) -> Any:
    """Return the processor of a checkpoint; of a model of words alone, its tokenizer as a processor.

    Raises ModelError that names the package, if its class needs one that is not installed.
    """
    try:
        return as_processor(_read(found, config, options))
    except ImportError as error:
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model {found}: its processor needs a package: {said or type(error).__name__}"
        ) from None


def as_processor(given: Any) -> Any:
    """Return a processor as it is, and a tokenizer as a processor."""
    return given if hasattr(given, "tokenizer") else WordsAlone(given)


def without_video(kind: Any) -> Any:
    """Return the processor class without its part for videos, which transformers builds on torchvision.

    Images and words go through the class's own code; a class that has no such part is returned as it is.
    """
    attributes = kind.get_attributes()
    if "video_processor" not in attributes:
        return kind

    class Still(kind):
        apply_chat_template = ProcessorMixin.apply_chat_template  # some ask the missing part for a frame rate

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in attributes if name != "video_processor"]

        @classmethod
        def _get_arguments_from_pretrained(cls, *given: Any, **options: Any) -> list[Any]:
            found = list(super()._get_arguments_from_pretrained(*given, **options))
            found.insert(attributes.index("video_processor"), None)
            return found

    Still.__name__ = Still.__qualname__ = kind.__name__  # a saved processor names the class to read it with
    module = sys.modules[kind.__module__]
    if getattr(module, "num2words", _no_words) is None:
        vars(module)["num2words"] = _no_words  # asked for at once, used to count the frames of a video
    return Still


def pixtral_processor() -> Any:
    """Return the processor class of Pixtral and Mistral 3, on Pillow where torchvision is not installed.

    Its module takes one function from that of the torchvision images; the one of the Pillow images is the same.
    """
    package = "transformers.models.pixtral"
    images = f"{package}.image_processing_pixtral"
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module("transformers").PixtralProcessor
    sys.modules[images] = importlib.import_module(f"{package}.image_processing_pil_pixtral")
    try:
        return importlib.import_module(f"{package}.processing_pixtral").PixtralProcessor
    finally:
        del sys.modules[images]


def _read(found: str, config: Any, options: dict[str, Any]) -> Any:
    """Read the processor as transformers would, or where that asks for a video processor, without one."""
    try:
        return AutoProcessor.from_pretrained(found, config=config, **options)
    except (ImportError, OSError, ValueError):
        tower = getattr(config, "vision_config", None)
        if getattr(tower, "model_type", None) == "pixtral":
            return pixtral_processor().from_pretrained(found, **options)
        kind = PROCESSOR_MAPPING.get(type(config), None)
        if kind is None or without_video(kind) is kind:
            raise
        return without_video(kind).from_pretrained(found, **options)


def _no_words(number: int) -> str:
    raise ImportError(f"{number} frames of a video cannot be put in words; install num2words")
