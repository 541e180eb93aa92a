"""A folder tells of one run: what was asked of other pairs, or under other settings, is not left beside it."""

from pathlib import Path

import pytest

from regap.analyses.runs.config import RunConfig, as_toml, read_config, stored_config
from regap.errors import ConfigError
from regap.analyses.runs.folder import RunFolder, check_pairs, pairs_digest, provenance_of
from regap.geometry.models.loading import Model
from regap.geometry.data.pairs import Pairs

OF_A_RUN = ("tables/sweep.parquet", "figures/sweep.html", "report.html", "summary.json")


def opened(path: Path, model: Model, pairs: Pairs, **settings: object) -> RunFolder:
    return RunFolder.open(RunConfig.model_validate({"out": str(path), **settings}), model, pairs)


def finished(path: Path) -> None:
    for name in OF_A_RUN:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("of the run")


def left(path: Path) -> list[str]:
    return [name for name in OF_A_RUN if (path / name).exists()]


def test_the_same_run_finds_its_tables_again(tiny: Model, tiny_pairs: Pairs, tmp_path: Path) -> None:
    opened(tmp_path, tiny, tiny_pairs)
    finished(tmp_path)
    opened(tmp_path, tiny, tiny_pairs)
    assert left(tmp_path) == list(OF_A_RUN)


def test_other_pairs_or_settings_leave_nothing_of_the_run_before(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    opened(tmp_path, tiny, tiny_pairs)
    for pairs, settings in ((tiny_pairs.first(4), {}), (tiny_pairs.first(4), {"seed": 1})):
        finished(tmp_path)
        (tmp_path / "answers").mkdir(exist_ok=True)
        opened(tmp_path, tiny, pairs, **settings)
        assert left(tmp_path) == [] and (tmp_path / "answers").is_dir()


def test_pairs_that_are_not_those_of_the_run_are_refused(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    opened(tmp_path, tiny, tiny_pairs)
    check_pairs(tmp_path, tiny_pairs)
    assert pairs_digest(tiny_pairs) == provenance_of(tmp_path)["pairs_sha256"]
    with pytest.raises(ConfigError, match="asked other pairs than its settings give now"):
        check_pairs(tmp_path, tiny_pairs.first(4))


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_folder_without_readable_provenance_is_named(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "provenance.json").write_text(content)
    with pytest.raises(ConfigError, match=r"has no provenance\.json that can be read"):
        provenance_of(tmp_path)


def test_no_variable_changes_what_a_run_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(as_toml(RunConfig.model_validate({"limit": 20})))
    monkeypatch.setenv("REGAP_LIMIT", "5")
    assert stored_config(path).limit == 20 and read_config(path).limit == 5
    assert stored_config(path, limit=7, seed=None).limit == 7
