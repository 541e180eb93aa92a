"""Read configuration, processor and weights of a checkpoint, from a folder or the hub's cache."""

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging import WARNING, Handler, LogRecord
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    BitsAndBytesConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
)
from transformers.utils import CONFIG_NAME, logging
from transformers.utils.hub import cached_file

from regap.errors import ModelError, first_line
from regap.geometry.models.processors import read_processor

Quantize = Literal["8bit", "4bit"]
NO_CODE = {"trust_remote_code": False}
"""Without it, transformers asks on the terminal whether code from a checkpoint may run."""


def read_configuration(found: str, options: dict[str, Any]) -> Any:
    """Return the configuration and the processor of a checkpoint; raises ModelError if either cannot be read."""
    options = {**NO_CODE, **options}
    try:
        with _quiet() as said:
            config = AutoConfig.from_pretrained(found, **options)
            processor = read_processor(found, config, options)
    except ModelError:
        raise
    except Exception as error:  # damaged files and unusable settings raise many kinds of errors
        hint = (
            ""
            if Path(found).is_dir()
            else "; if it is a hub id that is not cached yet, allow the download (download=True, --download)"
        )
        raise ModelError(f"model {found}: {_said(error)}{hint}") from None
    for note in dict.fromkeys(said):
        warnings.warn(f"model {found}: {note}", stacklevel=3)
    # Models that also talk keep the part that reads and writes text in a configuration of its own.
    return getattr(config, "thinker_config", None) or config, processor


def read_weights(source: str, found: str, config: Any, options: dict[str, Any]) -> Any:
    """Return the Hugging Face model of a checkpoint; raises ModelError if it cannot be read or does not generate
    text."""
    return read_whole(model_class(source, config), source, found, config=config, **options)


def read_whole(kind: Any, source: str, found: str, **options: Any) -> Any:
    """Return the model that a class of transformers reads, with every one of its weights from the checkpoint.

    Weights that the model has no place for, and warnings of transformers, become warnings. Raises ModelError if the
    model cannot be read, or if weights are missing or have another shape: transformers makes random ones in their
    place.
    """
    checked = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with _quiet() as said:
            model, loaded = kind.from_pretrained(found, **{**NO_CODE, **options, **checked})
    except ModelError:
        raise
    except Exception as error:  # damaged files and unusable settings raise many kinds of errors
        raise ModelError(f"model {source}: {_said(error)}") from None
    absent = sorted(loaded["missing_keys"])
    if absent:
        raise ModelError(
            f"model {source}: its files lack {_some(absent)}, which would be random; "
            "copy or download the whole checkpoint, or give the class of model that it was saved from"
        )
    other = sorted(
        f"{name} ({list(theirs)}, not {list(ours)})" for name, theirs, ours in loaded["mismatched_keys"]
    )
    if other:
        raise ModelError(
            f"model {source}: its files hold weights of another shape than its configuration says, and these would "
            f"be random: {_some(other)}; use the configuration that belongs to the weights"
        )
    unused = sorted(loaded["unexpected_keys"])
    if unused:
        said.append(f"its files hold weights that the model does not use: {_some(unused)}")
    for note in dict.fromkeys(said):
        warnings.warn(f"model {source}: {note}", stacklevel=3)
    return model


def _said(error: Exception) -> str:
    """Return what was wrong, with the remedy where it is known."""
    if "trust_remote_code" in str(error):
        return (
            "it needs Python code from the checkpoint, which runs only with load(..., trust_remote_code=True); no "
            "command runs it"
        )
    if "torchvision" in str(error).lower():
        return "its processor needs torchvision; install the version that belongs to the installed torch"
    damaged = "; a weight file is damaged, download it again" if isinstance(error, SafetensorError) else ""
    return first_line(error) + damaged


def _some(names: Sequence[str], shown: int = 3) -> str:
    """Return the first few of these names, and how many there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def model_class(source: str, config: Any) -> Any:
    """Return the auto class that loads this configuration: for images, else for sounds, else for text alone."""
    remote = getattr(config, "auto_map", None) or {}
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING or "AutoModelForImageTextToText" in remote:
        return AutoModelForImageTextToText
    if type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING:
        return AutoModelForMultimodalLM
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
def _quiet() -> Iterator[list[str]]:
    """Hide transformers' own progress bars and notices, and yield the list that its warnings are added to.

    The command line has its own progress bar. The report about weights is left out: `read_whole` reads what it says.
    """
    was_on, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    said: list[str] = []
    listener = _Listener(said)
    logging.disable_progress_bar()
    logging.disable_default_handler()
    logging.add_handler(listener)
    logging.set_verbosity_warning()
    try:
        yield said
    finally:
        logging.set_verbosity(level)
        logging.remove_handler(listener)
        logging.enable_default_handler()
        if was_on:
            logging.enable_progress_bar()


class _Listener(Handler):
    """Keeps warnings of transformers, each as one line."""

    def __init__(self, said: list[str]):
        super().__init__(WARNING)
        self.said = said

    def emit(self, record: LogRecord) -> None:
        told = " ".join(record.getMessage().split())
        if "LOAD REPORT" not in told:
            self.said.append(f"transformers says: {told[:300]}")
