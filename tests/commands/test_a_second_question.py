"""Whatever is asked of a finished run, nothing that it holds already is changed or lost."""

from hashlib import sha256
from pathlib import Path

import pytest

from regap.analyses.runs.questions import edit_name, edits_of, questions_of
from regap.analyses.runs.records import Record
from regap.geometry.data.pair_files import write_pairs
from regap.interventions.packs.pack import read_pack
from regap.organism.prompts import HeldOut, held_out_pairs

TWICE = {
    "judge": (["--judge", "refusal_phrases"], ["--judge", "advbench_phrases"]),
    "sweep": (["--vector", "D", "--layers", "5"], ["--vector", "random", "--layers", "5"]),
    "image-tokens": (["--layers", "2", "--random", "1", "--variants"], ["--layers", "1", "--random", "1"]),
    "transfer": (
        ["--benchmark", "english-twins", "--limit", "4", "--edit", "fixed"],
        ["--benchmark", "english-twins", "--limit", "4", "--edit", "regap"],
    ),
    "calibrate": (["--signal", "z_before"], ["--signal", "z_after"]),
}


@pytest.fixture(scope="module")
def finished(brief: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from regap.analyses.runs.config import RunConfig
    from regap.analyses.runs.every_analysis import run

    path = tmp_path_factory.mktemp("finished")
    write_pairs(held_out_pairs(HeldOut(5, 5, 5, arms=("typographic",))), path / "pairs.parquet")
    settings = {"pairs": str(path / "pairs.parquet"), "out": str(path / "run"), "max_new_tokens": 4}
    run(RunConfig.model_validate(settings))
    return path / "run"


def answers_of(run: Path) -> dict[str, str]:
    """Every table, and what was asked for it, with its digest."""
    found = [
        *run.glob("tables/*"),
        *run.glob("asked/*/tables/*"),
        *run.glob("edits/*/*"),
        run / "summary.json",
    ]
    return {str(path.relative_to(run)): sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.mark.parametrize("command", TWICE)
def test_a_second_question_keeps_the_answer_of_the_first(regap, command: str, finished: Path) -> None:
    after = answers_of(finished)
    for place, flags in enumerate(TWICE[command], 1):
        before = after
        code, error, _ = regap(command, finished, *flags)
        assert code == 0, error
        after = answers_of(finished)
        assert before.items() <= after.items() and len(after) > len(before)
        assert len([one for one in questions_of(finished) if one.command == command]) == place
    code, error, _ = regap(command, finished, *TWICE[command][0])
    assert code == 0 and answers_of(finished) == after, error
    assert questions_of(finished)[0].command == command
    assert len(Record.load(finished, "claims").table) == 5  # whatever else was asked


def test_corrections_at_image_tokens_are_packed_with_what_was_measured_under_them(
    regap, finished: Path, tmp_path: Path
) -> None:
    budgets = ("--contrast", "world", "--within", "0.3,0.2")
    code, error, shown = regap("image-tokens", finished, "--layers", "2", "--random", "1", *budgets)
    assert code == 0 and "regap pack" in shown, error
    assert set(edits_of(finished)) > {"fixed", "regap", "last-token", "one-pass", "one-pass-gate-on-rho"}
    table = Record.load(questions_of(finished)[0].folder, "image_tokens").table
    for condition, allowed in (("one pass", 0.05), ("one pass, within budgets", 0.3)):
        out, name = tmp_path / edit_name(condition), edit_name(condition)
        code, error, _ = regap("pack", finished, "--out", out, "--method", name, "--even-if-worse")
        assert code == 0, error
        card = read_pack(out).card
        assert card.source.false_refusals == allowed
        rows = table[(table.condition == condition) & table.measure.isin(["refusal", "utility"])]
        told = {(one.arm, one.measure): one.value for one in card.outcomes if one.condition == "corrected"}
        assert set(rows.arm) == {"text", "typographic"}
        assert all(told[row.arm, row.measure] == row.value for row in rows.itertuples())


def test_what_cannot_be_transferred_is_said_before_the_model_is_run(regap, finished: Path) -> None:
    code, error, _ = regap("transfer", finished, "--benchmark", "english-twins", "--edit", "ragap")
    assert code == 2 and "edit is 'ragap'; the run's corrections are fixed, regap" in error
    code, error, _ = regap("transfer", finished, "--benchmark", "mme")
    assert code == 2 and "has no harmful pairs" in error


def test_transfer_tells_the_cosines_and_the_answers_of_the_other_requests(regap, finished: Path) -> None:
    flags = ("--benchmark", "english-twins", "--limit", "4", "--edit", "fixed")
    before = Record.load(finished, "outcomes").table
    assert regap("transfer", finished, *flags)[0] == 0
    folder = next(one.folder for one in questions_of(finished) if one.command == "transfer")
    found = Record.load(folder, "transfer").table
    cosines = found[found.measure == "cosine"]
    assert set(cosines.arm) == {"text", "typographic"} and cosines.value.abs().max() <= 1
    assert set(found[found.measure == "d_prime"].direction) == {"run", "own"}
    shares = Record.load(folder, "transfer_outcomes").table
    assert set(shares[shares.arm == "typographic"].condition) == {"baseline", "fixed"}
    assert set(shares.benchmark) == {"english-twins"}
    assert Record.load(finished, "outcomes").table.equals(
        before
    )  # the run's own shares stay what others read
