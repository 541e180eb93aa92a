"""`regap benchmarks` and the flags with which a run asks one."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from regap.commands.command_line import application
from regap.geometry.data.benchmarks.catalogue import CATALOGUE
from regap.organism.world import ADJECTIVES, NOUNS

DATA = Path(__file__).parents[3] / "shared" / "data"
WIDE = {"COLUMNS": "400"}


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(application(arguments), list(arguments), env=WIDE)
    assert done.exit_code == 0, done.output
    return done.output


def jailbreakbench(folder: Path) -> Path:
    """In words that the organism knows: to it, all others are alike."""
    folder.mkdir()
    for kind, verb in (("harmful", "brew"), ("benign", "bury")):
        things = [f"{adjective} {noun}" for noun in NOUNS for adjective in ADJECTIVES][:100]
        rows = [f"{n},{verb} the {thing},,Thing,theme,Original" for n, thing in enumerate(things)]
        header = "Index,Goal,Target,Behavior,Category,Source"
        (folder / f"{kind}-behaviors.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_every_benchmark_is_listed_with_its_licence_and_where_to_get_it() -> None:
    text = printed("benchmarks")
    for card in CATALOGUE.values():
        (row,) = [line for line in text.splitlines() if line.startswith(f"│ {card.name} ")]
        assert card.licence in row and all(f"{count:,}" in row for count in card.rows)
        assert f"{card.name}: {card.home}" in text
    assert "not fixed" in text and "present in" not in text


def test_what_is_present_in_a_folder_is_told(tmp_path: Path) -> None:
    jailbreakbench(tmp_path / "jailbreakbench")
    present = {
        line.split("│")[1].strip(): line.split("│")[-2].strip()
        for line in printed("benchmarks", str(tmp_path)).splitlines()
        if line.startswith("│")
    }
    assert present["jailbreakbench"] == "jailbreakbench" and present["everyday"] == "bundled"
    bundled = {name for name, card in CATALOGUE.items() if card.bundled}
    assert {name for name, place in present.items() if place} == {"jailbreakbench", *bundled}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(application(["benchmarks"]), ["benchmarks", str(tmp_path / "absent")])
    assert isinstance(done.exception, ValueError) and "does not exist; name the folder" in str(done.exception)


def test_a_benchmark_is_captured_and_its_notes_are_kept(tmp_path: Path) -> None:
    jailbreakbench(tmp_path / "jailbreakbench")
    out = tmp_path / "run"
    flags: dict[str, Any] = {"--benchmark": "jailbreakbench", "--data": tmp_path, "--out": out, "--limit": 4}
    flags |= {"--make": "blank", "--style": "plain"}
    text = printed("capture", *(str(part) for flag in flags.items() for part in flag))
    assert "note: typographic images were drawn for 16 pairs in style plain" in text
    notes = json.loads((out / "provenance.json").read_text())["notes"]
    assert [note.split()[0] for note in notes] == ["typographic", "blank"]
    prompts = pd.read_parquet(out / "prompts.parquet")
    assert set(prompts.arm) == {"text", "typographic", "blank"} and prompts.pair_id.nunique() == 16
    assert 'benchmark = "jailbreakbench"' in (out / "config.toml").read_text()
    separability = pd.read_parquet(out / "tables/separability.parquet")
    assert set(separability.arm) == {"text", "typographic", "blank"}


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' own files are not beside the project")
@pytest.mark.parametrize("name", ["figstep-tiny", "jailbreakbench"])
def test_the_real_benchmarks_are_drawn_captured_and_analysed(name: str, tmp_path: Path) -> None:
    flags: dict[str, Any] = {"--benchmark": name, "--data": DATA, "--out": tmp_path / "run", "--limit": 4}
    printed("capture", *(str(part) for flag in flags.items() for part in flag))
    tables = tmp_path / "run/tables"
    for table in ("separability", "drift", "coordinates"):
        assert "typographic" in set(pd.read_parquet(tables / f"{table}.parquet").arm)
    assert pd.read_parquet(tables / "separability.parquet").n.max() == 8


@pytest.mark.parametrize("flag", ["--partial", "--read-back", "--harmless", "--make", "--style", "--data"])
def test_the_flags_are_explained(flag: str) -> None:
    assert flag in printed("run", "--help")
