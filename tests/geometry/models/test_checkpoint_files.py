"""A checkpoint is read whole or refused: no weight is random, no file hangs, no code is offered."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from regap.analyses.judges.model_judge import model_judge
from regap.errors import ConfigError, ModelError
from regap.geometry.models.checkpoint_files import DIGESTS, digest_of_folder, write_digests
from regap.geometry.models.loading import load, load_without_weights
from regap.organism.checkpoint import load_checkpoint, save_checkpoint

WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"


@pytest.fixture(scope="module")
def folder(plain: Any, tiny_architecture: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save_checkpoint(plain, tiny_architecture, made)
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def refused(folder: Path, reads: Callable[[Path], Any] = load) -> str:
    with pytest.raises((ModelError, ConfigError)) as caught:
        reads(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    return str(caught.value)


def split(folder: Path, place: str) -> None:
    """Move the weights to another place, which an index names."""
    names = list(load_file(folder / WEIGHTS))
    (folder / place).parent.mkdir(exist_ok=True)
    shutil.move(folder / WEIGHTS, folder / place)
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


READERS = {
    "load": load,
    "organism": load_checkpoint,
    "judge": lambda folder: model_judge(f"llama_guard_4={folder}"),
}


@pytest.mark.parametrize("reads", READERS.values(), ids=list(READERS))
@pytest.mark.parametrize("part", ["layers.1.mlp.", "multi_modal_projector.", "lm_head.", "embed_tokens."])
def test_missing_weights_are_named_and_never_random(part: str, reads: Any, copy: Path) -> None:
    lost: list[str] = []

    def lose(weights: dict[str, torch.Tensor]) -> None:
        lost.extend(name for name in weights if part in name)
        for name in lost:
            del weights[name]

    rewrite(copy, lose)
    said = refused(copy, reads)
    assert lost and part in said and "would be random" in said
    assert ("and " in said.partition("its files lack")[2].partition(", which")[0]) == (len(lost) > 3)


@pytest.mark.parametrize("reads", READERS.values(), ids=list(READERS))
def test_weights_of_another_shape_are_refused(reads: Any, copy: Path) -> None:
    rewrite(copy, lambda weights: weights.update({name: torch.zeros(3) for name in list(weights)[:1]}))
    assert "weights of another shape than its configuration says" in refused(copy, reads)


def test_weights_without_a_place_are_a_note(copy: Path) -> None:
    rewrite(copy, lambda weights: weights.update({"model.language_model.layers.9.extra": torch.zeros(3)}))
    with pytest.warns(
        UserWarning, match=r"that the model does not use: model.language_model.layers.9.extra$"
    ):
        load(copy)


def test_a_warning_of_transformers_is_a_note(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig
    from transformers.utils import logging

    reads = AutoConfig.from_pretrained

    def warned(*given: Any, **options: Any) -> Any:
        logging.get_logger("transformers.odd").warning("a pattern\nis wrong")
        return reads(*given, **options)

    monkeypatch.setattr(AutoConfig, "from_pretrained", warned)
    with pytest.warns(UserWarning, match=r"^model .*: transformers says: a pattern is wrong$"):
        load(folder)


DAMAGES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "half": (WEIGHTS, lambda at: at.write_bytes(at.read_bytes()[:9000]), "is damaged or was cut off"),
    "empty": (WEIGHTS, lambda at: at.write_bytes(b""), "is damaged or was cut off"),
    "list": (WEIGHTS, lambda at: at.write_bytes((2).to_bytes(8, "little") + b"[]"), "is damaged or was cut off"),
    "endless header": (WEIGHTS, lambda at: at.write_bytes(b"\xff" * 64), "is damaged or was cut off"),
    "pointer": (WEIGHTS, lambda at: at.write_text(POINTER), "is a pointer of Git LFS.*`git lfs pull`"),
    "words": ("tokenizer.json", lambda at: at.write_text(POINTER), "is a pointer of Git LFS"),
    "pipe": ("merges.txt", lambda at: os.mkfifo(at), "merges.txt is not a regular file"),
    "pipe of weights": (WEIGHTS, lambda at: (at.unlink(), os.mkfifo(at)), "is not a regular file"),
    "device": ("generation_config.json", lambda at: (at.unlink(), at.symlink_to("/dev/zero")), "regular file"),
    "adapter": ("adapter_config.json", lambda at: at.write_text("{}"), "merge the adapter into the model"),
    "number": ("config.json", lambda at: at.write_text('{"model_type": "llava", "text_config": 3}'), "model "),
    "deep": ("config.json", lambda at: at.write_text("[" * 100_000), "recursion"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_file_is_named_with_a_remedy(damage: Any, copy: Path) -> None:
    name, harm, expected = damage
    harm(copy / name)
    with pytest.raises(ModelError, match=expected) as caught:
        load(copy)
    assert "\n" not in str(caught.value) and str(copy) in str(caught.value)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", DIGESTS])
def test_a_file_that_differs_from_its_digest_is_refused(name: str, copy: Path) -> None:
    fingerprint = load(copy).fingerprint
    write_digests(copy)
    assert load(copy).fingerprint == fingerprint  # the digests are no part of the model
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    said = refused(copy)
    assert name in said and "digest" in said and "make it again" in said


def test_digests_in_another_form_are_not_ours_to_check(copy: Path) -> None:
    (copy / DIGESTS).write_text('{"model.safetensors": "md5:0"}')
    load(copy)


def test_a_pipe_in_a_subfolder_is_refused(copy: Path) -> None:
    (copy / "additional_chat_templates").mkdir()
    os.mkfifo(copy / "additional_chat_templates" / "other.jinja")
    assert "additional_chat_templates/other.jinja is not a regular file" in refused(copy)


def test_weights_in_a_subfolder_count_in_the_fingerprint(folder: Path, copy: Path) -> None:
    split(copy, "parts/one.safetensors")
    assert torch.equal(load(copy).hf.lm_head.weight, load(folder).hf.lm_head.weight)
    before = load(copy).fingerprint
    weights = load_file(copy / "parts/one.safetensors")
    weights[next(name for name in weights if name.endswith("lm_head.weight"))] += 1
    save_file(weights, copy / "parts/one.safetensors", metadata={"format": "pt"})
    assert load(copy).fingerprint != before


@pytest.mark.parametrize("place", ["../one.safetensors", "parts/../../one.safetensors"])
def test_weights_outside_the_folder_are_refused(place: str, copy: Path) -> None:
    (copy / "parts").mkdir()
    split(copy, place)
    assert f"names weights outside the folder ({place!r})" in refused(copy)
    assert refused(copy, digest_of_folder)


def test_an_index_that_is_none_is_refused(copy: Path) -> None:
    (copy / f"{WEIGHTS}.index.json").write_text('{"weight_map": [1]}')
    assert "does not say which file holds which weights" in refused(copy)


CODE = {"AutoConfig": "odd.Odd", "AutoModelForImageTextToText": "odd.Odd", "AutoModelForCausalLM": "odd.Odd"}


@pytest.mark.parametrize(
    "reads",
    [load, lambda folder: load_without_weights(str(folder)), READERS["judge"]],
    ids=["load", "plan", "judge"],
)
def test_code_in_a_checkpoint_is_neither_run_nor_offered(
    reads: Any, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, config = tmp_path / "ran", json.loads((copy / "config.json").read_text())
    (copy / "odd.py").write_text(f"open({str(ran)!r}, 'w')\nclass Odd: ...\n")
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "odd", "auto_map": CODE}))

    def asked(*_: Any) -> str:
        raise AssertionError("asked whether code may run")

    monkeypatch.setattr("builtins.input", asked)
    assert "trust_remote_code" in refused(copy, reads)
    assert not ran.exists()
