"""A folder tells of one run: what was asked of other pairs, or under other settings, is not left beside it."""

from pathlib import Path
from typing import Any

import pytest

from regap.analyses.runs.config import EXECUTION, RunConfig, as_toml, read_config, stored_config
from regap.analyses.runs.every_analysis import run
from regap.analyses.runs.folder import (
    begin_folder,
    check_pairs,
    pairs_digest,
    provenance_of,
    settings_of_run,
)
from regap.errors import ConfigError
from regap.geometry.data.pair_files import write_pairs
from regap.geometry.data.pairs import Pairs
from regap.geometry.models.loading import Model

OF_A_RUN = ("tables/sweep.parquet", "figures/sweep.html", "report.html", "summary.json")


def opened(path: Path, model: Model, pairs: Pairs, *, force: bool = False, **settings: object) -> None:
    config = RunConfig.model_validate({"out": str(path), **settings})
    begin_folder(path, config, model, pairs, force=force)


def finished(path: Path) -> None:
    for name in OF_A_RUN:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("of the run")


def left(path: Path) -> list[str]:
    return [name for name in OF_A_RUN if (path / name).exists()]


def test_the_same_question_executed_otherwise_keeps_everything(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    opened(tmp_path, tiny, tiny_pairs)
    finished(tmp_path)
    opened(tmp_path, tiny, tiny_pairs)
    opened(tmp_path, tiny, tiny_pairs, batch_size=3, batch_tokens=99, download=True)
    assert left(tmp_path) == list(OF_A_RUN)


def test_another_question_is_refused_and_force_moves_the_old_one_aside(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    opened(tmp_path, tiny, tiny_pairs)
    finished(tmp_path)
    (tmp_path / "answers").mkdir()
    other: list[tuple[Pairs, dict[str, Any], str]] = [
        (tiny_pairs, {"seed": 1}, "a run with seed 0 instead of 1; name another folder, or add --force"),
        (tiny_pairs.first(4), {}, "a run with other pairs; name another folder, or add --force"),
    ]
    for pairs, settings, told in other:
        with pytest.raises(ConfigError, match=told):
            opened(tmp_path, tiny, pairs, **settings)
        assert left(tmp_path) == list(OF_A_RUN)
    opened(tmp_path, tiny, tiny_pairs, force=True, seed=1)
    assert left(tmp_path) == [] and left(tmp_path / "before-1") == list(OF_A_RUN)
    assert (tmp_path / "before-1" / "config.toml").is_file() and (tmp_path / "answers").is_dir()
    opened(tmp_path, tiny, tiny_pairs, force=True, seed=2)
    assert (tmp_path / "before-2" / "provenance.json").is_file()
    assert left(tmp_path / "before-1") == list(OF_A_RUN)


@pytest.mark.parametrize("name", sorted(EXECUTION))
def test_every_setting_of_execution_keeps_everything(
    name: str, tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    other = {"download": True, "device": "cuda", "device_map": "auto"}
    opened(tmp_path, tiny, tiny_pairs)
    finished(tmp_path)
    opened(tmp_path, tiny, tiny_pairs, **{name: other.get(name, 77)})
    assert left(tmp_path) == list(OF_A_RUN)


def test_a_run_that_is_stopped_keeps_the_one_before(
    tmp_path: Path, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever it is stopped: while the model is loaded, or once its own folder is begun."""
    write_pairs(tiny_pairs, tmp_path / "pairs.parquet")
    out, pairs = tmp_path / "out", str(tmp_path / "pairs.parquet")

    def again(seed: int) -> None:
        run(RunConfig.model_validate({"out": str(out), "pairs": pairs, "seed": seed}), force=True)

    def stopped(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("regap.analyses.runs.run.measure_model", stopped)
    with pytest.raises(KeyboardInterrupt):
        again(0)
    finished(out)
    with monkeypatch.context() as loading, pytest.raises(KeyboardInterrupt):
        loading.setattr("regap.analyses.runs.run.load", stopped)
        again(1)
    assert left(out) == list(OF_A_RUN)
    with pytest.raises(KeyboardInterrupt):
        again(1)
    assert left(out / "before-1") == list(OF_A_RUN) and provenance_of(out / "before-1")


def test_a_path_inside_the_folder_moves_with_it(tiny: Model, tiny_pairs: Pairs, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    write_pairs(tiny_pairs, old / "pairs.parquet")
    config = RunConfig.model_validate({"out": str(old), "pairs": str(old / "pairs.parquet")})
    begin_folder(old, config, tiny, tiny_pairs)
    old.rename(new)
    assert settings_of_run(new).pairs == str(new / "pairs.parquet")
    assert settings_of_run(new, pairs="elsewhere.csv").pairs == "elsewhere.csv"


def test_pairs_that_are_not_those_of_the_run_are_refused(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    opened(tmp_path, tiny, tiny_pairs)
    check_pairs(tmp_path, tiny_pairs)
    assert pairs_digest(tiny_pairs) == provenance_of(tmp_path)["pairs_sha256"]
    with pytest.raises(ConfigError, match="was made from other pairs than its settings give now"):
        check_pairs(tmp_path, tiny_pairs.first(4))


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_without_readable_provenance_is_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(ConfigError, match=r"provenance\.json is (missing|damaged)"):
        provenance_of(tmp_path)


def test_no_variable_changes_what_a_run_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(as_toml(RunConfig.model_validate({"limit": 20})))
    monkeypatch.setenv("REGAP_LIMIT", "5")
    assert stored_config(path).limit == 20 and read_config(path).limit == 5
    assert stored_config(path, limit=7, seed=None).limit == 7
