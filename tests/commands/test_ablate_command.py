"""`regap ablate` and `regap sweep` on the organism: a run folder is taken up, controls hold, nothing is run twice."""

from pathlib import Path

import pytest

from regap.analyses.ablation import readings as ablation_readings
from regap.analyses.runs.questions import questions_of
from regap.analyses.runs.records import Record, table_path
from regap.geometry.data.pair_files import write_pairs
from regap.organism.prompts import HeldOut, held_out_pairs


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    write_pairs(held_out_pairs(HeldOut(5, 5, 5, arms=("text", "typographic"))), path)
    return path


def test_a_run_is_taken_up_ablated_and_reported(
    regap, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert regap("capture", "--pairs", pairs_file, "--out", out)[0] == 0
    settings = (out / "config.toml").read_bytes()
    asked = ("ablate", out, "--layers", "1,8", "--component", "attention", "--component", "direction")
    asked += ("--replace", "zero", "--replace", "patch-text")
    code, error, shown = regap(*asked)
    assert code == 0, error
    assert "largest changes of the log-odds of a refusal" in shown and "random, equal norm" in shown
    assert (out / "config.toml").read_bytes() == settings
    assert (out / "figures" / "ablation.html").is_file()
    assert "Ablation by layer and component" in (out / "report.html").read_text()
    table = Record.load(out, "ablation").table
    assert set(table.component) == {"attention", "refusal", "drift"} and set(table.arm) == {
        "text",
        "typographic",
    }
    assert table[table.control == "self"].value.abs().max() == 0.0
    assert (table[table.measure == "z"].read_layer >= table[table.measure == "z"].layer).all()
    # The organism moves words read in images to the last token by attention, at block 8: the rest is the control.
    odds = table.query("arm == 'typographic' and replacement == 'patch-text' and measure == 'log_odds'")
    harmful = odds[(odds.label == "harmful") & (odds.component == "attention")].set_index(
        ["control", "layer"]
    )
    assert harmful.loc[("none", 8)].low > 1
    assert abs(harmful.loc[("none", 1)].value) < 0.5 and abs(harmful.loc[("random", 8)].value) < 0.5

    kept = table_path(out, "ablation")
    first = kept.read_bytes()
    monkeypatch.setattr(ablation_readings._Task, "read", lambda *_: pytest.fail("run twice"))
    assert regap(*asked)[0] == 0
    assert table_path(out, "ablation") == kept and kept.read_bytes() == first


def test_answers_and_other_positions_have_their_own_rows(regap, pairs_file: Path, tmp_path: Path) -> None:
    asked = ("--layers", "8-9", "--together", "--replace", "mean", "--component", "head", "--heads", "0")
    asked += (
        "--positions",
        "image",
        "--positions",
        "last",
        "--no-controls",
        "--answers",
        "--max-new-tokens",
        8,
    )
    code, error, _ = regap("ablate", "--pairs", pairs_file, "--out", tmp_path / "out", *asked)
    assert code == 0, error
    table = Record.load(tmp_path / "out", "ablation").table
    assert set(table.measure) == {
        *("z", "log_odds", "first_token"),
        *("attack_success", "refusal", "over_refusal", "utility"),
    }
    assert set(table.layers) == {"8-9"} and set(table["head"]) == {0} and set(table.control) == {"none"}
    assert set(table[table.positions == "image"].arm) == {"typographic"}
    assert not (tmp_path / "out" / "report.html").exists()


def test_image_tokens_are_patched_from_the_request_in_words_and_back(
    regap, pairs_file: Path, tmp_path: Path
) -> None:
    asked = ("--layers", "2,11", "--component", "state", "--positions", "image", "--positions", "request")
    patches = ("--replace", "patch-text", "--replace", "patch-image", "--max-new-tokens", 8)
    code, error, shown = regap("ablate", "--pairs", pairs_file, "--out", tmp_path / "out", *asked, *patches)
    assert code == 0, error
    assert "refusals, points" in shown
    table = Record.load(tmp_path / "out", "ablation").table
    found = table.drop_duplicates(["arm", "positions", "replacement"])
    assert set(zip(found.arm, found.positions, found.replacement, strict=True)) == {
        ("typographic", "image", "patch-text"),
        ("text", "request from image", "patch-image"),
        ("typographic", "request", "patch-text"),
        ("text", "request", "patch-image"),
    }
    assert table[table.control == "self"].value.abs().max() == 0.0
    odds = table.query("positions == 'image' and measure == 'log_odds' and control == 'none'").set_index(
        ["label", "layer"]
    )
    # Early, refusals come back; after the last block no other token is read.
    assert odds.loc[("harmful", 2)].value > 1 and abs(odds.loc[("harmful", 11)].value) < 1e-4


def test_what_heads_read_is_a_table_beside_what_they_do_without(
    regap, pairs_file: Path, tmp_path: Path
) -> None:
    asked = (
        "--layers",
        "8",
        "--component",
        "head",
        "--heads",
        "0-1",
        "--replace",
        "unread",
        "--max-new-tokens",
        8,
    )
    code, error, shown = regap("ablate", "--pairs", pairs_file, "--out", tmp_path / "out", *asked)
    assert code == 0, error
    assert "heads that attend most from the last token" in shown
    mass = Record.load(tmp_path / "out", "attention").table
    assert len(mass) == 2 * 2 * 12 * (4 + 1) and set(mass.reads) == {"image", "request"}
    assert mass.value.between(0, 1 + 1e-6).all()
    table = Record.load(tmp_path / "out", "ablation").table
    odds = table.query("arm == 'text' and label == 'harmful' and measure == 'log_odds'").set_index(
        ["control", "head"]
    )
    # Head 0 of block 8 carries harm from the words.
    assert odds.loc[("none", 0)].value < -0.2 and odds.loc[("none", 0)].value < odds.loc[("random", 0)].value


def test_a_sweep_has_every_layer_strength_and_part(regap, pairs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("--layers", "0,10", "--vector", "D", "--vector", "random")
    code, error, _ = regap("sweep", "--pairs", pairs_file, "--out", out, *asked)
    assert code == 0, error
    table = Record.load(out, "sweep").table
    cells = table.set_index(["vector", "layer", "alpha", "label", "measure"]).value
    assert len(table) == 2 * 2 * 6 * 2 * 2
    undone = cells.xs(0.0, level="alpha").unstack(["vector", "layer"])
    assert (undone.max(axis=1) - undone.min(axis=1)).abs().max() < 1e-4  # no dose of anything is no dose
    assert cells["D", 10, 1.0, "harmful", "first_token"] > cells["random", 10, 1.0, "harmful", "first_token"]
    assert (out / "figures" / "sweep.html").is_file()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("ablate", "--layers", "40"), "layer 40 is not in model organism; its blocks are 0 to 11"),
        (
            ("ablate", "--component", "head", "--heads", "0-99"),
            "is not in model organism; the heads of a block",
        ),
        (("ablate", "--component", "neuron"), "component is 'neuron'; choose from"),
        (("ablate", "--replace", "noise"), "replace is 'noise'; choose from"),
        (("ablate", "--replace", "unread"), "add --component head and no other"),
        (("image-tokens", "--layers", "12"), "layer 12 is not in model organism"),
        (("sweep", "--layers", "12"), "layer 12 is not in model organism"),
        (("sweep", "--vector", "d"), "vector is 'd'; choose from D, D_along"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_no_folder(
    regap, pairs_file: Path, tmp_path: Path, flags: tuple[str, ...], says: str
) -> None:
    code, error, _ = regap(*flags, "--pairs", pairs_file, "--out", tmp_path / "out")
    assert (code, says in error) == (2, True), error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_and_flags_it_has_settled_are_refused(regap, tmp_path: Path) -> None:
    code, error, _ = regap("ablate", tmp_path)
    assert (code, "has no config.toml and no provenance.json; name a folder" in error) == (2, True)
    code, error, _ = regap("ablate", tmp_path, "--seed", 3)
    assert (code, "--seed is fixed by the run folder" in error) == (2, True)


def test_a_second_ablation_is_kept_beside_the_first(regap, pairs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert regap("capture", "--pairs", pairs_file, "--out", out)[0] == 0
    asked = ("ablate", out, "--component", "mlp", "--replace", "zero", "--no-controls", "--layers")
    assert regap(*asked, "1")[0] == 0
    first = table_path(out, "ablation")
    before = first.read_bytes()
    assert regap(*asked, "8")[0] == 0
    assert first.read_bytes() == before
    newest, older = questions_of(out)
    assert (newest.settings["layers"], older.settings["layers"]) == ([8], [1])
    assert set(Record.load(out, "ablation").table.layers) == {"8"}
