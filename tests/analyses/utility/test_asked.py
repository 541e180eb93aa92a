"""A benchmark asked of a finished run: under its own conditions, scored, kept, and never on what it calibrated on."""

import io
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from regap.analyses.runs.config import read_config
from regap.analyses.runs.records import Record
from regap.analyses.runs.run import start_run
from regap.analyses.utility.asked import Asking, first_with_twins, unseen
from regap.commands import command_line
from regap.errors import PairError
from regap.geometry.data.pair_files import write_pairs
from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.organism.prompts import HeldOut, held_out_pairs


def png(shade: int) -> bytes:
    kept = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(kept, "PNG")
    return kept.getvalue()


@pytest.fixture(scope="module")
def mme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mme")
    rows = [
        {"question_id": f"{image}.png", "image": {"bytes": png(image), "path": None}, "category": "count"}
        | {"question": f"Is it {word}? Please answer yes or no.", "answer": word}
        for image in range(4)
        for word in ("Yes", "No")
    ]
    (folder / "data").mkdir()
    pd.DataFrame(rows).to_parquet(folder / "data" / "test-0.parquet")
    return folder


def regap(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[Any, str]:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["regap", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    printed = capsys.readouterr()
    return stopped.value.code or 0, printed.out + " ".join(printed.err.split())


def test_a_benchmark_is_asked_of_a_finished_run_under_its_own_conditions(
    mme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(held_out_pairs(HeldOut(6, 6, 6, arms=("typographic",))), tmp_path / "pairs.parquet")
    config = read_config(pairs=str(tmp_path / "pairs.parquet"), out=str(tmp_path / "run"), max_new_tokens=4)
    run = start_run(config).folder
    asked = ("utility", run, "--benchmark", "mme", "--data", mme, "--partial")
    code, shown = regap(monkeypatch, capsys, *asked)
    assert code == 0 and "accuracy_plus" in shown and "equal within 0.05" in shown, shown
    table = Record.load(run, "utility")
    assert set(table.table["condition"]) == {"baseline", "fixed", "regap"}
    assert set(table.where(measure="accuracy")["n"]) == {8} and set(
        table.where(measure="accuracy_plus")["n"]
    ) == {4}
    assert set(Record.load(run, "utility_changes").table["condition"]) == {"fixed", "regap"}
    before = {path.name for path in (run / "answers").iterdir()}
    again, _ = regap(monkeypatch, capsys, *asked, "--limit", 3, "--method", "mean_shift")
    table = Record.load(run, "utility")
    assert again == 0 and set(table.where(measure="accuracy")["n"]) == {4}
    assert set(table.table["condition"]) == {"baseline", "fixed", "regap", "mean_shift"}
    assert before <= {path.name for path in (run / "answers").iterdir()}
    (run / "provenance.json").unlink()
    code, shown = regap(monkeypatch, capsys, *asked)
    assert code == 2 and "has no provenance.json; name a folder" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("utility", "RUN", "--benchmark", "xstest"), "has no scoring rule; choose one of mme, pope"),
        (
            ("utility", "RUN", "--benchmark", "mme", "--method", "shift"),
            "method is 'shift'; choose from none",
        ),
        (
            ("utility", "RUN", "--benchmark", "mme", "--method", "shiftdc_text"),
            "also runs text for each prompt",
        ),
        (("utility", "RUN", "--benchmark", "mme", "--limit", "0"), "give a number of questions above 0"),
        (("run", "--benchmark", "mme", "--data", "DIR"), "regap utility RUN --benchmark mme"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = regap(monkeypatch, capsys, *arguments)
    assert code == 2 and says in shown


def pairs_in(clusters: str, split: Any = "test") -> Pairs:
    return Pairs(
        tuple(
            Pair(f"mme/{place}", "harmless", "all", "a", split, {"text": Prompt("a")}, "Yes", cluster)
            for place, cluster in enumerate(clusters)
        )
    )


def test_a_limit_takes_whole_groups() -> None:
    assert [pair.cluster for pair in first_with_twins(pairs_in("abab"), 1)] == ["a", "a"]
    assert len(first_with_twins(pairs_in("abab"), None)) == 4


def test_what_the_run_calibrated_on_is_not_asked() -> None:
    known = pairs_in("zyxb", "calibration")
    assert [pair.pair_id for pair in unseen(pairs_in("bbbbac"), known)] == ["mme/4", "mme/5"]
    assert len(unseen(pairs_in("abc"), pairs_in("abc"))) == 3
    with pytest.raises(PairError, match="calibrated on all 3 questions"):
        unseen(pairs_in("abc"), pairs_in("abc", "calibration"))
    assert Asking("mme").limit is None
