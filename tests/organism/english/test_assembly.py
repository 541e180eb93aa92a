"""A member is put together once from its parts, and a damaged or missing part is said."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from regap.errors import ModelError, StoreError
from regap.geometry.models.loading import load
from regap.organism.english import assembly
from regap.organism.english.assembly import READING, SAFETY, Parts, assemble, english_folder
from regap.organism.english.base import Base
from regap.organism.english.change import Change

MAP = "layers.1.mlp.up_proj.weight"


def test_a_member_is_the_base_with_all_its_changes(parts: Parts, base: Base, tmp_path: Path) -> None:
    assemble(base, parts, "middle-0", tmp_path / "whole")
    plain = base.model().model
    for name in (READING, SAFETY, "middle-0.safetensors"):
        Change.read(parts.folder / name).add_to(plain)
    found = dict(load_file(tmp_path / "whole" / "model.safetensors"))[f"language_model.model.{MAP}"].float()
    torch.testing.assert_close(found, plain.state_dict()[MAP], atol=2e-3, rtol=0)  # 16 bits
    assert (found - base.model().model.state_dict()[MAP]).abs().max() > 0.1


def test_english_is_its_default_member_and_is_written_once(installed: Path) -> None:
    model = load("english")
    assert model.name == "english" and load("english:middle-0").fingerprint == model.fingerprint
    assert load("english:none-0").fingerprint != model.fingerprint
    [middle] = installed.glob("middle-0-*")
    before = (middle / "model.safetensors").stat().st_mtime_ns
    assert english_folder() == middle and (middle / "model.safetensors").stat().st_mtime_ns == before
    assert not list(installed.glob("*.unfinished"))


def test_an_unknown_member_is_refused_with_the_known_ones(installed: Path) -> None:
    with pytest.raises(
        ModelError, match="english:best is not among the members; choose one of middle-0, none-0"
    ):
        load("english:best")


def test_a_damaged_part_leaves_no_folder(
    installed: Path, parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in parts.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / SAFETY).read_bytes())
    content[-5] ^= 1
    (tmp_path / SAFETY).write_bytes(content)
    monkeypatch.setattr(assembly, "shipped_parts", lambda: Parts(tmp_path))
    with pytest.raises(StoreError, match=r"safety\.safetensors"):
        english_folder()
    assert not installed.exists()


def test_a_damaged_copy_in_the_cache_is_refused(installed: Path) -> None:
    with (english_folder() / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(ModelError, match=r"config\.json differs from its digest"):
        load("english")


def test_missing_parts_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "__file__", str(tmp_path / "assembly.py"))
    monkeypatch.setattr(assembly, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="are not here; train them with"):
        assembly.shipped_parts()


def test_another_base_is_used_with_a_note(
    parts: Parts, base: Base, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assemble(base, parts, "none-0", tmp_path / "own")
    assert not caplog.records
    other = shutil.copytree(base.folder, tmp_path / "base")
    model = base.model()
    with torch.no_grad():
        model.model.norm.weight.data += 0.5
    model.save_pretrained(other)
    assemble(Base(other), parts, "none-0", tmp_path / "others")
    assert "has other weights than the English subject was trained on" in caplog.text


def test_a_base_with_more_embeddings_than_tokens_is_refused(parts: Parts, base: Base, tmp_path: Path) -> None:
    other = shutil.copytree(base.folder, tmp_path / "base")
    model = base.model()
    model.resize_token_embeddings(model.config.vocab_size + 8, mean_resizing=False)
    model.save_pretrained(other)
    with pytest.raises(ModelError, match="cut the embeddings to the tokens"):
        assemble(Base(other), parts, "none-0", tmp_path / "out")
    assert not (tmp_path / "out").exists()
