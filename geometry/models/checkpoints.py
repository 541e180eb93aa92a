"""Read configuration, processor and weights of a checkpoint, from a folder or the hub's cache."""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, BitsAndBytesConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
)
from transformers.utils import CONFIG_NAME, logging
from transformers.utils.hub import cached_file

from regap.errors import ModelError, first_line
from regap.geometry.models.processors import read_processor

Quantize = Literal["8bit", "4bit"]


def read_configuration(found: str, options: dict[str, Any]) -> Any:
    """Return the configuration and the processor of a checkpoint; raises ModelError if either cannot be read."""
    try:
        config = AutoConfig.from_pretrained(found, **options)
        with _quiet():
            return config, read_processor(found, config, options)
    except ModelError:
        raise
    except (OSError, ValueError, ImportError, json.JSONDecodeError) as error:
        hint = (
            "" if Path(found).is_dir() else "; if it is a hub id that is not cached yet, allow the download"
        )
        raise ModelError(f"model {found}: {first_line(error)}{hint}") from None


def read_weights(source: str, found: str, config: Any, options: dict[str, Any]) -> Any:
    """Return the Hugging Face model of a checkpoint; raises ModelError if it cannot be read or does not generate
    text."""
    try:
        with _quiet():
            return model_class(source, config).from_pretrained(found, config=config, **options)
    except ModelError:
        raise
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise ModelError(f"model {source}: {first_line(error)}") from None


def model_class(source: str, config: Any) -> Any:
    """Return the auto class that loads this configuration: for images and text if there is one, else for text."""
    remote = getattr(config, "auto_map", None) or {}
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or "AutoModelForImageTextToText" in remote:
        return AutoModelForImageTextToText
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or "AutoModelForCausalLM" in remote:
        return AutoModelForCausalLM
    raise ModelError(
        f"model {source}: a {config.model_type!r} model does not generate text; "
        "give a vision-language model, or a language model"
    )


def commit_of(found: str, revision: str | None) -> str:
    """Return the commit of a cached hub id, from the name of its folder; a revision may point to a new one later."""
    path = cached_file(found, CONFIG_NAME, revision=revision, local_files_only=True)
    return Path(str(path)).parent.name


def known_device(name: str) -> torch.device:
    """Return the device of this name; raises ModelError, before any weight is read, if it is not available."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):  # torch has a kind of error for each way a device can be missing
        here = "cpu or cuda" if torch.cuda.is_available() else "cpu"
        raise ModelError(f"device {name!r} is not available; write {here}") from None


def known_dtype(dtype: str) -> str:
    """Return the dtype; raises ModelError unless it is "auto" or a floating-point dtype of torch."""
    number = getattr(torch, dtype, None)
    if dtype != "auto" and not (isinstance(number, torch.dtype) and number.is_floating_point):
        raise ModelError(
            f"dtype {dtype!r} is not a floating-point dtype of torch; write float32, bfloat16, float16 or auto"
        )
    return dtype


def quantization(quantize: str, dtype: str) -> BitsAndBytesConfig:
    """Return the settings to load weights in 8 or 4 bits; raises ModelError if bitsandbytes is not installed."""
    if quantize not in ("8bit", "4bit"):
        raise ModelError(f"quantize is {quantize!r}; write 8bit or 4bit, or leave it out")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantize={quantize} needs bitsandbytes, which is not installed; pip install 'regap[quantized]'"
        )
    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    computed = torch.bfloat16 if dtype == "auto" else getattr(torch, dtype)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=computed)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' own progress bars and notices; the command line has its own progress bar."""
    was_on, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if was_on:
            logging.enable_progress_bar()
