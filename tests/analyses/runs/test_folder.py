"""A run folder belongs to one model, says what it was made from, and is equal for equal inputs."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors import safe_open
from tones import tone

from regap.analyses.runs import folder as run_folder
from regap.analyses.runs.config import RunConfig, read_config
from regap.analyses.runs.folder import THUMBNAIL, begin_folder, check_out, write_directions, write_summary
from regap.analyses.runs.records import Summary
from regap.errors import ConfigError, ModelError, PairError
from regap.geometry.data.pairs import Pairs, Picture
from regap.geometry.data.sounds import Sound
from regap.geometry.directions import refusal_direction
from regap.geometry.drift import modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.models.loading import Model, load
from regap.organism.checkpoint import build_processor


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return read_config(out=str(tmp_path / "run"), seed=3)


@pytest.fixture
def folder(config: RunConfig, tiny: Model, tiny_pairs: Pairs) -> Path:
    return begun(config, tiny, tiny_pairs)


def begun(config: RunConfig, model: Model, pairs: Pairs) -> Path:
    begin_folder(Path(config.out), config, model, pairs)
    return Path(config.out)


def test_it_says_what_it_was_made_from(folder: Path, config: RunConfig, tiny: Model) -> None:
    assert read_config(folder / "config.toml") == config
    known = json.loads((folder / "provenance.json").read_text())
    assert known["fingerprint"] == tiny.fingerprint and known["seed"] == 3 and known["pairs"] == 24
    assert (
        known["versions"]["torch"] == torch.__version__
        and known["versions"]["transformers"] != "not installed"
    )
    assert known["template"] == {"date": "2024-07-26"}


def test_it_lists_every_prompt_and_shows_small_pictures_of_the_test_split(
    folder: Path, tiny_pairs: Pairs
) -> None:
    table = pd.read_parquet(folder / "prompts.parquet").set_index(["pair_id", "arm"])
    assert len(table) == 3 * 24 and table.prompt_sha256.is_unique
    for pair in tiny_pairs:
        for arm, prompt in pair.prompts.items():
            row = table.loc[(pair.pair_id, arm)]
            assert (row.label, row.split, row.request) == (pair.label, pair.split, pair.request)
            if prompt.picture:
                assert row.image_sha256 == prompt.picture.sha256
            assert pd.notna(row.image_sha256) == (prompt.picture is not None)
            assert pd.notna(row.image_png) == (prompt.picture is not None and pair.split == "test")
    shown = [Picture(data).open() for data in table.image_png.dropna()]
    assert max(max(each.size) for each in shown) <= THUMBNAIL


def test_a_prompt_that_cannot_be_asked_is_named_by_pair_and_arm(
    config: RunConfig, tiny: Model, tiny_pairs: Pairs
) -> None:
    first, *others = tiny_pairs
    arm = "typographic" if "typographic" in first.prompts else next(iter(first.prompts))
    spoken = replace(first.prompts["text"], text="<audio>", sounds=(Sound(tone(300, 0.2)),))
    bad = Pairs((replace(first, prompts={**first.prompts, "speech": spoken}), *others))
    with pytest.raises(ModelError, match=f"pair '{first.pair_id}', arm speech: .* takes no sounds"):
        begin_folder(Path(config.out), config, tiny, bad)
    marked = replace(first.prompts[arm], system=f"{tiny.processor.image_token} is a word")
    worse = Pairs((replace(first, prompts={**first.prompts, arm: marked}), *others))
    with pytest.raises(PairError, match=f"pair '{first.pair_id}', arm {arm}: .* takes for an image"):
        begin_folder(Path(config.out), config, tiny, worse)
    assert not Path(config.out).exists()  # so the same command, with the pairs mended, is no other run


def test_the_same_inputs_give_the_same_bytes(
    folder: Path, config: RunConfig, tiny: Model, tiny_pairs: Pairs
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    begun(config, tiny, tiny_pairs)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_prompts_lie_in_small_groups(
    config: RunConfig, tiny: Model, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pd.read_parquet(begun(config, tiny, tiny_pairs) / "prompts.parquet")
    monkeypatch.setattr(run_folder, "PROMPTS_A_GROUP", 10)
    path = begun(config, tiny, tiny_pairs) / "prompts.parquet"
    metadata = parquet.read_metadata(path)
    assert [metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)] == [10] * 7 + [2]
    pd.testing.assert_frame_equal(pd.read_parquet(path), whole)


def test_directions_are_written_with_what_they_mean(folder: Path, tiny: Model, tiny_pairs: Pairs) -> None:
    states = capture(tiny, tiny_pairs, ["text", "blank"])
    refusal, drift = refusal_direction(states["text"]), modality_drift(states["text"], states["blank"])
    write_directions(folder, refusal, {"blank": drift}, tiny)
    with safe_open(folder / "directions.safetensors", framework="pt") as file:
        header, names = file.metadata(), set(file.keys())
        assert torch.equal(file.get_tensor("refusal"), refusal.vectors.float())
        assert torch.equal(file.get_tensor("drift.blank"), drift.vectors.float())
    assert names == {"refusal", "thresholds", "drift.blank", "text_mean.blank"}
    assert header["model"] == tiny.fingerprint and "harmful" in header["sign"]


def test_a_number_that_is_not_finite_is_null_in_json(folder: Path) -> None:
    write_summary(folder, {"a": float("nan"), "b": [1.0, float("inf")], "c": {"d": 0.5}})
    assert Summary.load(folder).content == {
        "a": None,
        "b": [1.0, None],
        "c": {"d": 0.5},
    }


def test_another_model_is_refused(
    folder: Path, config: RunConfig, plain: Any, tiny_architecture: Any, tiny_pairs: Pairs
) -> None:
    other = deepcopy(plain)
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 1
    model = load(other, processor=build_processor(tiny_architecture))
    with pytest.raises(ConfigError, match=r"holds a run with another model \(.*\); name another folder"):
        begun(config, model, tiny_pairs)


def test_files_that_are_no_run_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ConfigError, match="holds files that are not a run; name an empty or a new folder"):
        check_out(tmp_path)
    with pytest.raises(ConfigError, match=r"thesis\.tex, which is a file; name a folder"):
        check_out(tmp_path / "thesis.tex")
    check_out(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_out(tmp_path / "empty")
    (tmp_path / "stopped" / "answers").mkdir(parents=True)  # captions are written before the settings
    check_out(tmp_path / "stopped")


def test_damaged_provenance_is_written_anew(
    folder: Path, config: RunConfig, tiny: Model, tiny_pairs: Pairs
) -> None:
    path = folder / "provenance.json"
    before = path.read_bytes()
    for damage in (b"{", b"\xff", b"[]"):
        path.write_bytes(damage)
        with pytest.warns(UserWarning, match="is damaged; it is computed again"):
            begun(config, tiny, tiny_pairs)
        assert path.read_bytes() == before
