"""The commands of the English subject, on a base of two layers that was taught nothing."""

from pathlib import Path

import pytest

from regap.analyses.runs.folder import provenance_of
from regap.analyses.runs.records import Record
from regap.geometry.files import opened_json


def test_a_member_is_put_together_into_a_folder_of_its_own(regap, installed: Path, tmp_path: Path) -> None:
    code, error, shown = regap("organism", "assemble", "--member", "none-0", "--out", tmp_path / "none")
    assert code == 0, error
    assert (tmp_path / "none" / "model.safetensors").is_file()
    assert "--benchmark english --harmless english-everyday --style grid" in " ".join(shown.split())
    code, error, _ = regap("organism", "assemble", "--out", tmp_path / "none")
    assert code == 2 and "exists already" in error
    code, error, _ = regap("organism", "assemble", "--member", "best", "--out", tmp_path / "best")
    assert code == 2 and "choose one of middle-0, none-0" in error and not (tmp_path / "best").exists()


def test_the_card_is_measured_for_the_members_that_are_named(regap, installed: Path, tmp_path: Path) -> None:
    out = tmp_path / "card"
    flags = ("--subject", "english", "--member", "middle-0", "--limit", "4", "--out", out)
    code, error, shown = regap("organism", "card", *flags)
    assert code == 1, error  # it was taught nothing, so it misses its targets
    assert "middle-0" in shown and "none-0" not in shown and "✗" in shown
    table = (out / "english.csv").read_text()
    for measure in ("read_back_error", "contrasts_refused", "agreement_with_text", "over_refusal"):
        assert measure in table
    code, error, _ = regap("organism", "card", "--member", "middle-0")
    assert code == 2 and "belong to --subject english" in error


@pytest.mark.usefixtures("brief")
def test_the_demo_keeps_in_its_settings_what_it_asked(regap, installed: Path, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    code, error, _ = regap("demo", "--subject", "english", "--limit", "6", "--out", out)
    assert code == 0, error
    settings = (out / "config.toml").read_text()
    for told in ('benchmark = "english"', 'harmless = "english-everyday"', 'style = "grid"'):
        assert told in settings
    assert set(Record.load(out, "separability").table.arm) == {"text", "typographic", "blank"}
    assert any("refuses none" in note for note in provenance_of(out)["notes"])
    assert opened_json(out / "summary.json", "summary.json")["model"] == "english"
    # The same weights under another name: the pairs are the same, since a place decides nothing.
    [cached] = installed.glob("middle-0-*")
    code, error, _ = regap("sweep", out, "--model", cached, "--vector", "D", "--layers", "0")
    assert code == 2 and "refuses none of the 12 calibration texts" in error
