"""A model without its weights: what can be known of it from its configuration and processor alone."""

import torch

from regap.errors import ModelError
from regap.geometry.models.bridge import bridge
from regap.geometry.models.checkpoints import model_class, read_configuration
from regap.geometry.models.loading import Model, locate


def load_without_weights(
    source: str, *, dtype: str = "float32", revision: str | None = None, download: bool = False
) -> Model:
    """Return the model that `load` would return, its parameters without numbers: it counts, and cannot be run.

    Raises ModelError for a source that has no configuration, or that no class of transformers is for.
    """
    found = locate(source)
    config, processor = read_configuration(found, {"revision": revision, "local_files_only": not download})
    number = number_format(dtype)
    with torch.device("meta"):
        hf = model_class(source, config).from_config(config, dtype=number)
    return Model(bridge(hf.eval()), processor, source, "unloaded")


def number_format(dtype: str) -> torch.dtype:
    """Return the torch number format of this name; raises ModelError if it is none that models have."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in known:
        raise ModelError(f"dtype {dtype!r} is not known; choose one of {', '.join(known)}")
    return known[dtype]
