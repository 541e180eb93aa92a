"""Read a model's processor, without its video part, which would need further packages."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

from transformers import AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.processing_utils import ProcessorMixin

from regap.errors import ModelError
from regap.geometry.models.voxtral import VoxtralPrompts

_LOCKS: "WeakKeyDictionary[Any, Any]" = WeakKeyDictionary()


def lock_of(tokenizer: Any) -> Any:
    """Return the lock to hold while this tokenizer runs, always the same one.

    A fast tokenizer keeps padding and truncation as its state, and a background thread pads batches with it.
    """
    return _LOCKS.setdefault(tokenizer, RLock())


class WordsAlone:
    """A tokenizer used as a processor, for a model that takes no images."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    @property
    def chat_template(self) -> str | None:
        """The tokenizer's chat template."""
        return self.tokenizer.chat_template

    def apply_chat_template(self, conversation: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Return the conversation as text; the parts of a message are joined, as text templates expect."""
        joined = [
            {**message, "content": "".join(part["text"] for part in message["content"])}
            for message in conversation
        ]
        return self.tokenizer.apply_chat_template(joined, **options)

    def __call__(self, text: Sequence[str], **options: Any) -> Any:
        """Return the tokenizer's output for the texts."""
        return self.tokenizer(text, **options)


def read_processor(found: str, config: Any, options: dict[str, Any]) -> Any:
    """Return the processor of a checkpoint; for a language model, its tokenizer as a processor.

    Raises ModelError, with the name of the package, if a required package is not installed.
    """
    try:
        return as_processor(_read(found, config, options))
    except ImportError as error:
        if "torchvision" in str(error).lower():
            raise  # said by the caller
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"model {found}: its processor needs a package; install it: {said or type(error).__name__}"
        ) from None


def as_processor(given: Any) -> Any:
    """Return a processor unchanged, a tokenizer as a processor, and Voxtral's as one that takes text and sounds."""
    if type(given).__name__ == "VoxtralProcessor":
        return VoxtralPrompts.of(given)
    return given if hasattr(given, "tokenizer") else WordsAlone(given)


def without_video(kind: Any) -> Any:
    """Return the processor class without its video processor, which needs torchvision.

    Images and text are processed by the class's own code; a class without a video processor is returned unchanged.
    """
    attributes = kind.get_attributes()
    if "video_processor" not in attributes:
        return kind

    class Fewer(ProcessorMixin):
        def __init__(self, *given: Any, **named: Any):
            named |= dict(zip(attributes, given, strict=False))
            named.pop("video_processor", None)
            super().__init__(**named)

    class Still(kind, Fewer):
        apply_chat_template = (
            ProcessorMixin.apply_chat_template
        )  # some classes read the frame rate from the missing part

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in attributes if name != "video_processor"]

        @classmethod
        def _get_arguments_from_pretrained(cls, *given: Any, **options: Any) -> list[Any]:
            found = list(super()._get_arguments_from_pretrained(*given, **options))
            found.insert(attributes.index("video_processor"), None)
            return found

    Still.__name__ = Still.__qualname__ = kind.__name__  # a saved processor stores the name of its class
    module = sys.modules[kind.__module__]
    if getattr(module, "num2words", _no_words) is None:
        vars(module)["num2words"] = _no_words  # required when the processor is made, used only for videos
    return Still


def pixtral_processor() -> Any:
    """Return the processor class of Pixtral and Mistral 3, using Pillow if torchvision is not installed.

    Its module imports one function from the torchvision version; the Pillow version has the same function.
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
    """Read the processor as transformers does; if that needs a video processor, read it without."""
    if getattr(config, "model_type", None) == "voxtral":
        return VoxtralPrompts.read(found, options)
    try:
        return AutoProcessor.from_pretrained(found, config=config, **options)
    except (ImportError, OSError, ValueError):
        tower = getattr(config, "vision_config", None)
        if getattr(tower, "model_type", None) == "pixtral":
            return pixtral_processor().from_pretrained(found, **options)
        kind = _class_of(found, config, options)
        if kind is None or without_video(kind) is kind:
            raise
        try:
            return without_video(kind).from_pretrained(found, **options)
        except AttributeError:  # some classes use their video part for images too
            pass
        raise


def _class_of(found: str, config: Any, options: dict[str, Any]) -> Any:
    """Return the class of processor of a configuration, or else the one that is named beside it; None if unknown."""
    known = PROCESSOR_MAPPING.get(type(config), None)
    if known is not None:
        return known
    where = {name: value for name, value in options.items() if name in ("revision", "local_files_only")}
    named, _ = ProcessorMixin.get_processor_dict(found, **where)
    return getattr(importlib.import_module("transformers"), str(named.get("processor_class")), None)


def _no_words(number: int) -> str:
    raise ImportError(f"{number} frames of a video cannot be counted in words; install num2words")
