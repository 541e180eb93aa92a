"""A flipped bit in any stored file of a run is found: refused by name, or computed again."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from regap.analyses.ablation.ablate import ablate_run
from regap.analyses.ablation.cells import AblationRequest
from regap.analyses.judges.judge_panel import panel, save_panel
from regap.analyses.judges.registry import judges_named
from regap.analyses.judges.stored_answers import stored_answers
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.every_analysis import run as run_analyses
from regap.analyses.runs.folder import provenance_of, settings_of_run
from regap.analyses.runs.questions import questions_of
from regap.analyses.runs.records import Record, Summary
from regap.analyses.runs.run import open_run
from regap.errors import ConfigError, PackError, StoreError
from regap.geometry.data.pair_files import write_pairs
from regap.geometry.files import is_whole
from regap.geometry.states.index import read_activations
from regap.geometry.states.store import read_tensors
from regap.interventions.edits.stored import load_edit
from regap.organism.prompts import HeldOut, held_out_pairs

DRAWN = (".html", ".js", ".lock")
"""What is drawn from tables and never read again, and the lock."""


@pytest.fixture(scope="module")
def run(brief: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flipped")
    write_pairs(held_out_pairs(HeldOut(6, 6, 6, arms=("text", "typographic"))), folder / "pairs.parquet")
    out = folder / "run"
    for asked in (analysed, judged, ablated):
        asked(out)
    return out


def stored(run: Path) -> list[Path]:
    files = [path for path in run.rglob("*") if path.is_file() and path.suffix not in DRAWN]
    return [path for path in files if path.name not in DRAWN]


def flipped(path: Path, bit: int) -> bytes:
    content = path.read_bytes()
    place = bit // 8
    return content[:place] + bytes([content[place] ^ (1 << bit % 8)]) + content[place + 1 :]


def test_every_stored_file_carries_its_digest(run: Path) -> None:
    chance = random.Random(0)
    kinds = set()
    for path in stored(run):
        if path.name == "edit.safetensors":
            continue  # its digest is in edit.json too, which names it
        content = path.read_bytes()
        of = next((of for of in (path.stem, path.name, path.parent.name, "") if is_whole(content, of)), None)
        assert of is not None, path.relative_to(run)
        for _ in range(20):
            assert not is_whole(flipped(path, chance.randrange(8 * len(content))), of), path
        kinds.add(path.parent.name if len(path.stem) == 32 else path.name)
    assert {"answers", "verdicts", "ablations", "text", "index.json", "asked.json", "config.toml"} <= kinds


READERS: dict[str, Callable[[Path], object]] = {
    "provenance.json": provenance_of,
    "config.toml": settings_of_run,
    "summary.json": Summary.load,
    "directions.safetensors": lambda run: read_tensors(run / "directions.safetensors"),
    "tables/outcomes.parquet": lambda run: Record.load(run, "outcomes"),
    "edits/regap/edit.json": lambda run: load_edit(run / "edits" / "regap"),
    "edits/fixed/edit.safetensors": lambda run: load_edit(run / "edits" / "fixed"),
    "asked/*/asked.json": questions_of,
    "activations/*/text/index.json": lambda run: read_activations(
        next(run.glob("activations/*/text/index.json")).parent
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_damaged_is_refused_by_name(name: str, run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    READERS[name](copy)
    path, chance = next(copy.glob(name)), random.Random(0)
    whole = path.read_bytes()
    for _ in range(12):
        path.write_bytes(whole)
        path.write_bytes(flipped(path, chance.randrange(8 * len(whole))))
        with pytest.raises((ConfigError, StoreError, PackError), match=path.name) as told:
            READERS[name](copy)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("kinds", [("answers", "activations"), ("verdicts",), ("ablations",)])
def test_what_is_damaged_is_computed_again(kinds: tuple[str, ...], run: Path, tmp_path: Path) -> None:
    copy, chance = Path(shutil.copytree(run, tmp_path / "copy")), random.Random(0)
    damaged = [
        path for kind in kinds for path in (copy / kind).rglob("*") if path.is_file() and len(path.stem) == 32
    ]
    for path in damaged:
        path.write_bytes(flipped(path, chance.randrange(8 * path.stat().st_size)))
    again = {"verdicts": judged, "ablations": ablated}.get(kinds[0], analysed)
    with pytest.warns(UserWarning, match="is damaged; it is computed again") as told:
        again(copy)
    said = {str(note.message) for note in told}
    for path in damaged:
        assert f"{path} is damaged; it is computed again" in said
        assert path.read_bytes() == (run / path.relative_to(copy)).read_bytes(), path


def analysed(out: Path) -> None:
    pairs = str(
        settings_of_run(out).pairs if (out / "config.toml").is_file() else out.parent / "pairs.parquet"
    )
    run_analyses(RunConfig.model_validate({"pairs": pairs, "out": str(out), "max_new_tokens": 4}))


def judged(out: Path) -> None:
    save_panel(panel(stored_answers(out), judges_named(["refusal_phrases"]), out), out)


def ablated(out: Path) -> None:
    ablate_run(open_run(out), AblationRequest(components=("mlp",), layers=(6,)))
