"""What every test runs under, and the project's files for the tests that read them."""

import os
import sys
from copy import deepcopy
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

# Set before torch and the hub client are first imported, since both read these only then.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Some ways to start Python set the size of its terminal, which the commands' console would keep in every test.
for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)

ROOT = Path(__file__).parent.parent


def pytest_runtest_setup() -> None:
    """Check types in the first calls of every function again."""
    from first_calls import check_again

    check_again()


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file git would keep, relative to the top; links are not followed."""
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()] + [".git"]

    def kept(name: str) -> bool:
        return not any(fnmatch(name, pattern) for pattern in ignored)

    found = []
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = sorted(filter(kept, subfolders))
        found += [Path(folder, name).relative_to(ROOT) for name in sorted(filter(kept, names))]
    return found


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are not checked on the way in, as for users: what a value says of itself is then seen."""
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module")
def brief() -> Any:
    """Runs have two random vectors, not 20, and commands 200 resamples: for tests of files, not of claims."""
    from regap.analyses.claims import drift_causes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drift_causes, "random_count", lambda: 2)
        patch.setenv("REGAP_RESAMPLES", "200")
        yield


# What follows imports regap inside, so that tests that need no model start at once.


@pytest.fixture(scope="session")
def tiny_architecture() -> Any:
    """Four layers that answer in milliseconds."""
    from regap.organism.checkpoint import Architecture

    tower = {"tower_layers": 1, "tower_width": 32, "tower_heads": 2, "tower_inner": 32, "patch_size": 24}
    return Architecture(decoder_layers=4, decoder_width=32, decoder_heads=2, decoder_inner=64, **tower)


@pytest.fixture(scope="session")
def plain(tiny_architecture: Any) -> Any:
    """The model of `tiny` as Hugging Face knows it: never wrapped, and not to be written to."""
    import torch

    from regap.organism.checkpoint import build_model

    model = build_model(tiny_architecture, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter *= 4  # fresh weights are so small that all prompts would look alike
    return model


@pytest.fixture(scope="session")
def tiny(plain: Any, tiny_architecture: Any) -> Any:
    """A random vision-language model under hooks, not to be written to."""
    from regap.geometry.models.loading import load
    from regap.organism.checkpoint import build_processor

    return load(deepcopy(plain), processor=build_processor(tiny_architecture))


@pytest.fixture(scope="session")
def tiny_pairs() -> Any:
    """Held-out pairs of the organism's world in three arms, of unequal lengths."""
    from regap.organism.prompts import HeldOut, held_out_pairs

    return held_out_pairs(
        HeldOut(calibration=6, test_harmful=6, test_harmless=6, arms=("typographic", "blank"))
    )


@pytest.fixture(scope="session")
def make_states() -> Any:
    """Makes Activations of residual streams [prompt, layer, d_model] and labels, all else filled in."""
    import numpy as np
    import torch

    from regap.geometry.states.activations import Activations, StateRow

    def make(
        residuals: Any,
        harmful: Any,
        arm: str = "text",
        split: Any = "test",
        ids: Any = None,
        clusters: Any = None,
    ):
        tensor = torch.tensor(np.ascontiguousarray(residuals), dtype=torch.float32)
        ids = [f"p{place}" for place in range(len(tensor))] if ids is None else ids
        labels: Any = ["harmful" if each else "harmless" for each in harmful]
        rows = [
            StateRow(pair_id, label, "all", split, cluster)
            for pair_id, label, cluster in zip(ids, labels, clusters or ids, strict=True)
        ]
        return Activations(tensor, tuple(rows), arm, tuple(range(tensor.shape[1])), "model")

    return make


@pytest.fixture
def regap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command line in this process; returns exit code, standard error on one line, and standard output."""

    from regap.commands import command_line

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["regap", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            command_line.main()
        printed = capsys.readouterr()
        return stopped.value.code or 0, " ".join(printed.err.split()), printed.out

    return run
