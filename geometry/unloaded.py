"""A model without its weights: what can be known of it from its configuration and processor alone."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from regap.geometry.adapter import ModelError, bridge
from regap.geometry.models import ORGANISM, Model, organism_folder


def load_without_weights(
    source: str, *, dtype: str = "float32", revision: str | None = None, download: bool = False
) -> Model:
    """Return the model that `load` would return, its parameters without numbers: it counts, and cannot be run.

    Raises ModelError for a source that has no configuration, or that no class of transformers is for.
    """
    found = source
    if source == ORGANISM or source.startswith(f"{ORGANISM}:"):
        found = str(organism_folder(source.partition(":")[2]))
    options: dict[str, Any] = {"revision": revision, "local_files_only": not download}
    try:
        config = AutoConfig.from_pretrained(found, **options)
        processor = AutoProcessor.from_pretrained(found, **options)
        with torch.device("meta"):
            hf = _class_for(config).from_config(config, dtype=number_format(dtype))
    except (OSError, ValueError, ImportError) as error:
        hint = (
            "" if Path(found).is_dir() else "; if it is a hub id that is not cached yet, allow the download"
        )
        raise ModelError(f"model {source}: {str(error).strip().splitlines()[0]}{hint}") from None
    return Model(bridge(hf.eval()), processor, source, "unloaded")


def number_format(dtype: str) -> torch.dtype:
    """Return the torch number format of this name; raises ModelError if it is none that models have."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in known:
        raise ModelError(f"dtype {dtype!r} is not known; choose one of {', '.join(known)}")
    return known[dtype]


def _class_for(config: Any) -> Any:
    mapping = AutoModelForImageTextToText._model_mapping
    return AutoModelForImageTextToText if type(config) in mapping else AutoModelForCausalLM
