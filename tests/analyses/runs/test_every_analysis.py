"""A run finishes what its pairs and its model allow, and says in one line what it left out."""

import json
from pathlib import Path

import pandas as pd
import pytest

from regap.analyses.runs import measured
from regap.geometry.data.pair_files import write_pairs
from regap.organism.prompts import HeldOut, held_out_pairs


def asked(path: Path, *arms: str, calibration: int = 5, test: int = 5) -> Path:
    write_pairs(held_out_pairs(HeldOut(calibration, test, test, arms=arms)), path / "pairs.parquet")
    return path / "pairs.parquet"


def tables(run: Path) -> set[str]:
    return {path.stem for path in (run / "tables").iterdir()}


def test_words_alone_are_run_to_the_end(regap, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, error, shown = regap(
        "run", "--pairs", asked(tmp_path, "text"), "--out", out, "--max-new-tokens", "8"
    )
    assert code == 0, error
    told = " ".join(shown.split())
    assert "the pairs have no image arm: drift, corrections and the claims about them are left out" in told
    assert tables(out) == {"separability", "coordinates", "completions", "verdicts", "outcomes"}
    assert pd.read_parquet(out / "tables" / "coordinates.parquet").drift.isna().all()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["image_arm"] is None and "of harmful requests as text." in summary["headline"]
    assert (out / "figures" / "separability_by_layer.html").is_file() and (out / "report.html").is_file()
    code, error, _ = regap(
        "ablate", out, "--layers", "8", "--component", "mlp", "--component", "direction", "--replace", "zero"
    )
    assert code == 0, error
    code, error, _ = regap("sweep", out)
    assert (code, "the pairs have no image arm, only text" in error) == (2, True), error


def test_a_model_that_refuses_nothing_keeps_its_geometry(
    regap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "opens_with_refusal", lambda _: False)
    out, pairs = tmp_path / "out", asked(tmp_path, "text", "typographic")
    code, error, shown = regap("run", "--pairs", pairs, "--out", out, "--max-new-tokens", "8")
    assert code == 0, error
    told = " ".join(shown.split())
    assert "refuses none of the 10 calibration texts" in told and "are left out" in told
    claims = pd.read_parquet(out / "tables" / "claims.parquet")
    assert list(claims.claim) == ["collapse", "drift_predicts"]
    assert {"separability", "drift", "coordinates", "outcomes", "prediction"} <= tables(out)
    assert not {"strength", "adaptive", "recipes"} & tables(out)
    code, error, shown = regap("ablate", out, "--layers", "8", "--component", "mlp", "--replace", "zero")
    assert code == 0, error
    assert "only changes of z are measured" in " ".join(shown.split())
    [path] = out.glob("asked/ablate-*/tables/ablation.parquet")
    assert set(pd.read_parquet(path).measure) == {"z"}


@pytest.mark.parametrize("test", [3, 4])
def test_few_test_pairs_make_fewer_bins_and_none_of_them_is_empty(
    test: int, regap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "opens_with_refusal", lambda _: False)
    out, pairs = tmp_path / "out", asked(tmp_path, "text", "typographic", test=test)
    code, error, _ = regap("run", "--pairs", pairs, "--out", out, "--max-new-tokens", "2")
    assert code == 0, error
    points = pd.read_parquet(out / "tables" / "prediction.parquet")
    bins = points[points["level"] == "bin"]
    assert len(bins) == 3 and bins["n"].sum() == 2 * test and bins["n"].min() >= 2


@pytest.mark.parametrize(
    ("few", "why"),
    [
        ({"calibration": 4}, "4 harmful calibration requests are too few for 5 folds; add pairs, or raise"),
        ({"test": 2}, "2 harmful test requests with the arm typographic are too few to test a correction"),
    ],
)
def test_too_few_pairs_are_told_before_a_model_is_loaded(
    few: dict[str, int], why: str, regap, tmp_path: Path
) -> None:
    pairs = asked(tmp_path, "text", "typographic", **few)
    out = tmp_path / "out"
    code, error, _ = regap("run", "--pairs", pairs, "--out", out, "--model", "no/such/model")
    assert (code, why in error) == (2, True), error
    assert not out.exists()
