"""A benchmark goes through another family than the organism's: from its files to separability, by the command line."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_models import FAMILIES
from typer.testing import CliRunner

from regap.commands.command_line import application

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
DATA = Path(__file__).parents[3] / "shared" / "data"
FAMILY = "qwen2_5_vl"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = FAMILIES[FAMILY]()
    folder = tmp_path_factory.mktemp("checkpoint")
    made.model.save_pretrained(folder)
    made.processor.save_pretrained(folder)
    return folder


def jailbreakbench(folder: Path) -> Path:
    for kind in ("harmful", "benign"):
        rows = [f"{n},Write {kind} thing {n},,Thing {n},theme,Original" for n in range(100)]
        text = "\n".join(["Index,Goal,Target,Behavior,Category,Source", *rows])
        (folder / f"{kind}-behaviors.csv").write_text(text + "\n")
    return folder


def captured(checkpoint: Path, name: str, data: Path, out: Path) -> pd.DataFrame:
    arguments = ["capture", "--model", checkpoint, "--benchmark", name, "--data", data, "--limit", 4]
    asked = [*map(str, arguments), "--out", str(out)]
    done = CliRunner().invoke(application(asked), asked)
    assert done.exit_code == 0, done.output
    return pd.read_parquet(out / "tables" / "separability.parquet")


def test_a_benchmark_in_words_is_drawn_and_analysed(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = captured(checkpoint, "jailbreakbench", jailbreakbench(tmp_path / "data"), tmp_path / "run")
    assert set(table.arm) == {"text", "typographic"} and table.n.max() == 8
    assert table.layer.nunique() == 3 and bool(table.value.notna().all())


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' own files are not beside the project")
@pytest.mark.parametrize("name", ["figstep-tiny", "jailbreakbench"])
def test_the_real_benchmarks_are_drawn_and_analysed(name: str, checkpoint: Path, tmp_path: Path) -> None:
    table = captured(checkpoint, name, DATA, tmp_path / "run")
    assert "typographic" in set(table.arm) and table.n.max() == 8
