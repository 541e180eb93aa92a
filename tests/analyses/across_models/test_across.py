"""Several runs together: each number is that of the runs' tables, and runs that do not belong together are refused."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from regap.analyses.across_models.across import across_models, claims_beside
from regap.analyses.claims.criteria import criteria, criteria_digest
from regap.analyses.runs.records import Record
from regap.analyses.tables.parquet_files import write_sealed_table
from regap.commands.command_line import application
from regap.errors import ConfigError
from regap.geometry.files import sealed_json, write_whole

GAP = 0.5
ESTIMATE = {"low": float("nan"), "high": float("nan"), "n": 100}


def written(folder: Path, number: int, **changed: Any) -> Path:
    """A finished run whose numbers grow with its number; drift grows, d' falls, attack success grows."""
    provenance = {"pairs_sha256": "p", "fingerprint": f"model {number}", **changed}
    summary = {"image_arm": "typographic", "criteria": criteria_digest()}
    for name, content in (("provenance.json", provenance), ("summary.json", summary)):
        write_whole(folder / name, sealed_json(content, name))
    share = 0.7 + 0.01 * number
    main = {"collapse": share, "drift_predicts": 0.2, "drift_causes": 0.4, "self_rectification": 0.7}
    main["regap"] = -0.01
    told = {"title": "t", "verdict": "holds", "criterion": "c", "version": 1, "evidence": "e"}
    rows = [{"claim": claim, "value": main[claim], **told, **ESTIMATE} for claim in criteria()]
    Record("claims", pd.DataFrame(rows)).save(folder)
    point = {"model": "m", "level": "arm", "name": "typographic", "n": 100}
    for measure, value in (("drift", number), ("d_prime", -number), ("attack_success", number / 10)):
        point |= {measure: float(value), f"{measure}_low": float("nan"), f"{measure}_high": float("nan")}
    Record("prediction", pd.DataFrame([point])).save(folder)
    dose = {
        "model": "m",
        "arm": "a",
        "vector": "D",
        "layer": 1,
        "alpha": 0.0,
        "measure": "refusal",
        **ESTIMATE,
    }
    doses = [
        {**dose, "direction": "induce", "value": 1.0},
        {**dose, "direction": "correct", "value": 1 - GAP},
    ]
    Record("strength", pd.DataFrame(doses)).save(folder)
    shown = {"model": "m", "arm": "typographic", "vector": "none", "layer": -1, "alpha": 0.0, **ESTIMATE}
    tried = [
        {**shown, "condition": name, "measure": "attack_success", "value": value}
        for name, value in (("nothing", 0.5), ("one pass", 0.02 * number), ("gate alone", 0.05))
    ]
    Record("image_tokens", pd.DataFrame(tried)).save(folder)
    asked(folder, ("p0",))
    return folder


def compared(folder: Path, number: int, prompts: tuple[str, ...] = ("p0", "contrast")) -> Path:
    """The folder of a comparison on a model, with one rival and these test prompts."""
    content = {"pairs_sha256": "with contrasts", "fingerprint": f"model {number}"}
    write_whole(folder / "provenance.json", sealed_json(content, "provenance.json"))
    share = {"model": "m", "arm": "typographic", "method": "cast", "measure": "attack_success", "value": 0.1}
    tested = dict.fromkeys(("change", "change_low", "change_high", "p", "p_holm", "detectable"), float("nan"))
    Record("methods", pd.DataFrame([{**share, **ESTIMATE, **tested}])).save(folder)
    asked(folder, prompts)
    return folder


def asked(folder: Path, prompts: tuple[str, ...]) -> None:
    rows = [
        {"pair_id": name, "arm": "typographic", "split": "test", "prompt_sha256": name} for name in prompts
    ]
    write_sealed_table(folder / "prompts.parquet", pa.Table.from_pylist(rows))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    return [written(tmp_path / f"run{number}", number) for number in range(9)]


def test_models_are_put_together_from_their_tables(folders: list[Path], tmp_path: Path) -> None:
    tables = {one.name: one.table for one in across_models(folders, tmp_path / "out")}
    claims = tables["claims_across_models"].set_index("claim")
    assert claims.loc["collapse", "verdict"] == "holds" and claims.loc["collapse", "value"] == pytest.approx(
        0.74
    )
    assert claims.loc["drift_causes", "value"] == pytest.approx(0.4 / GAP)
    assert (
        claims.loc["drift_predicts", "verdict"] == "holds"
        and claims.loc["regap", "verdict"] == "unclear"  # equal numbers have no interval
    )
    drift = tables["drift_across_models"].set_index("y").value
    assert drift["d_prime"] == pytest.approx(-1) and drift["attack_success"] == pytest.approx(1)
    assert set(tables["model_claims"].model) == {f"run{number}" for number in range(9)}
    change = tables["correction_differences"].set_index("correction").loc["gate alone"]
    assert change.value == pytest.approx(0.08 - 0.05) and (change.lower, change.higher) == (3, 6)
    assert Record.load(tmp_path / "out", "claims_across_models").table.equals(tables["claims_across_models"])


def test_runs_that_do_not_belong_together_are_refused(folders: list[Path], tmp_path: Path) -> None:
    again = written(tmp_path / "again", 3)
    with pytest.raises(ConfigError, match=r"run3 and .*again are the same model"):
        across_models([*folders, again], tmp_path / "out")
    other = written(tmp_path / "other", 20, pairs_sha256="q")
    with pytest.raises(ConfigError, match="other has other pairs than"):
        across_models([*folders, other], tmp_path / "out")
    with pytest.raises(ConfigError, match="1 run is named"):
        across_models(folders[:1], tmp_path / "out")
    same = written(tmp_path / "x" / "run1", 21)
    with pytest.raises(ConfigError, match="folders of the same name"):
        across_models([*folders, same], tmp_path / "out")
    with pytest.raises(
        ConfigError, match="against is 'two passes', which 0 of 9 runs have tried; choose among"
    ):
        across_models(folders, tmp_path / "out", "two passes")
    unfinished = written(tmp_path / "unfinished", 22)
    (unfinished / "summary.json").unlink()
    with pytest.raises(ConfigError, match="is not finished"):
        across_models([*folders, unfinished], tmp_path / "out")


def test_rivals_of_a_comparison_stand_beside_the_corrections(folders: list[Path], tmp_path: Path) -> None:
    rivals = [compared(tmp_path / f"rivals{number}", number) for number in (1, 0)]
    tables = {one.name: one.table for one in across_models(folders[:2], tmp_path / "out", compared=rivals)}
    change = tables["correction_differences"].set_index("correction").loc["rival: cast"]
    assert change.value == pytest.approx(0.01 - 0.1) and change.lower == 2
    other = compared(tmp_path / "other", 7)
    with pytest.raises(ConfigError, match="is of another model than all runs"):
        across_models(folders[:2], tmp_path / "out", compared=[other])
    changed = compared(tmp_path / "changed", 1, ("p1", "contrast"))
    with pytest.raises(ConfigError, match=r"has other test prompts than run .*run1"):
        across_models(folders[:2], tmp_path / "out", compared=[changed])


def test_the_command_prints_verdicts_and_corrections(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = CliRunner().invoke(application(["across"]), ["across", *map(str, folders), "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert "9 / 0 / 0" in found.output and "rank correlation -1.00" in found.output
    assert "3 of 9" in found.output and (out / "tables" / "model_claims.parquet").is_file()
    assert json.loads((folders[0] / "summary.json").read_text())["image_arm"] == "typographic"


def test_subjects_with_other_requests_stand_side_by_side_and_are_not_pooled(tmp_path: Path) -> None:
    world = written(tmp_path / "world", 1)
    english = written(tmp_path / "english", 2, pairs_sha256="q")
    out = tmp_path / "out"
    found = CliRunner().invoke(
        application(["beside"]), ["beside", str(world), str(english), "--out", str(out)]
    )
    assert found.exit_code == 0, found.output
    assert "world" in found.output and "english" in found.output and "holds: 0.71" in found.output
    table = Record.load(out, "subject_claims").table
    assert (
        set(table.model) == {"world", "english"}
        and set(table.arm) == {"typographic"}
        and len(table) == 2 * len(criteria())
    )
    assert sorted(path.stem for path in (out / "tables").glob("*.parquet")) == ["subject_claims"]
    content = {"image_arm": "typographic", "criteria": "older"}
    write_whole(english / "summary.json", sealed_json(content, "summary.json"))
    with pytest.raises(ConfigError, match="english has other criteria than"):
        claims_beside([world, english], out)
