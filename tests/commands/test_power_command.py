"""`regap power` tells what a claim takes, from numbers, pairs or a run, and runs no model."""

from pathlib import Path

import pytest

from regap.analyses.runs.questions import questions_of
from regap.analyses.runs.records import Record


def test_numbers_of_requests_are_enough(regap, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, printed = regap("power", "--test-harmful", 40, "--test-harmless", 40, "--runs", 4, "--worlds")
    assert code == 0 and "40 harmful and 40 harmless test requests, 40 harmful ones at each dose" in printed
    for claim in ("collapse", "drift_predicts", "drift_causes", "self_rectification", "regap"):
        assert claim in printed
    assert "a delay: lost at one layer, back at the last" in printed


def test_pairs_and_a_run_tell_their_numbers(regap, tmp_path: Path) -> None:
    pairs, run = tmp_path / "pairs.parquet", tmp_path / "run"
    sizes = ("--calibration", 10, "--test-harmful", 7, "--test-harmless", 9)
    assert regap("organism", "pairs", *sizes, "--arm", "typographic", "--out", pairs)[0] == 0
    code, _, printed = regap("power", "--pairs", pairs, "--runs", 2)
    assert code == 0 and "7 harmful and 9 harmless test requests, 7 harmful ones" in printed
    assert regap("capture", "--model", "organism", "--pairs", pairs, "--out", run)[0] == 0
    code, _, printed = regap("power", run, "--runs", 2)
    assert code == 0 and "7 harmful and 9 harmless" in printed
    (question,) = questions_of(run)
    table = Record.load(question.folder, "operating_characteristics").table
    assert question.command == "power" and set(table["harmful"]) == {7} and set(table["n"]) == {2}
    for flags, says in (
        (("--limit", 5), "--limit is fixed by the run folder"),
        (("--seed", 3), "--seed is fixed by the run folder"),
        (("--test-harmful", 9, "--test-harmless", 9), "give one of three"),
    ):
        code, told, _ = regap("power", run, *flags)
        assert code == 2 and says in told


@pytest.mark.parametrize("flags", [(), ("--test-harmful", 9)])
def test_without_numbers_the_ways_to_give_them_are_named(regap, flags: tuple[object, ...]) -> None:
    code, told, _ = regap("power", *flags)
    assert code == 2 and "--test-harmless" in told
