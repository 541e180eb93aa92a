"""States on disk are the states in memory, at the price of one shard of memory."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from regap.errors import PairError, StoreError
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import logistic_probe, refusal_direction
from regap.geometry.drift import modality_drift
from regap.geometry.files import sealed_json, write_whole
from regap.geometry.forward.capture import capture
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.separability import separability
from regap.geometry.states.activations import Activations, label_means
from regap.geometry.states.index import model_folder, read_activations
from regap.geometry.states.shards import ROWS, Shards, parts_of
from regap.geometry.states.store import write_tensors


@pytest.fixture
def both(tiny: Model, tiny_pairs: Pairs, tmp_path: Path) -> tuple[Any, Any]:
    """The same states twice: in memory, and on disk in five shards an arm."""
    in_memory = capture(Runner(tiny, Limits(prompts=5)), tiny_pairs)
    on_disk = capture(Runner(tiny, Limits(prompts=5, bytes_in_memory=0), store=tmp_path), tiny_pairs)
    assert all(isinstance(states.source, Shards) for states in on_disk.values())
    return in_memory, on_disk


def test_every_number_is_the_same_out_of_core(both: tuple[Any, Any]) -> None:
    found = []
    for states in both:
        refusal = refusal_direction(states["text"].calibration)
        drift = modality_drift(states["text"].calibration, states["blank"].calibration)
        table = separability(states, refusal, resamples=200)
        found.append((refusal, drift, table, drift.strength(states["blank"])))
    (refusal, drift, table, strength), (refusal_2, drift_2, table_2, strength_2) = found
    assert torch.allclose(refusal.vectors, refusal_2.vectors, atol=1e-12)
    assert torch.allclose(refusal.thresholds, refusal_2.thresholds, atol=1e-12)
    assert torch.allclose(drift.vectors, drift_2.vectors, atol=1e-12)
    assert torch.allclose(strength, strength_2, atol=1e-10)
    pd.testing.assert_frame_equal(table, table_2, rtol=1e-9)
    assert table.value.nunique() > 20


def test_states_on_disk_answer_as_those_in_memory(both: tuple[Any, Any]) -> None:
    for states, lazily in zip(both[0].values(), both[1].values(), strict=True):
        assert len(lazily) == len(states) and lazily.rows == states.rows
        assert torch.equal(lazily.residuals, states.residuals) and torch.equal(lazily.at(2), states.at(2))
        few, few_2 = states.take([7, 3, 3, 20]), lazily.take([7, 3, 3, 20])
        assert torch.equal(few.residuals, few_2.residuals)
        harmful = lazily.where(label="harmful")
        assert isinstance(harmful.source, Shards)
        assert torch.equal(harmful.residuals, states.where(label="harmful").residuals)
    one, other = (refusal_direction(states["text"], logistic_probe) for states in both)
    assert torch.allclose(one.vectors, other.vectors)


def test_parts_hold_every_prompt_once_and_never_all(both: tuple[Any, Any]) -> None:
    parts = list(both[1]["text"].parts())
    assert [len(part.rows) for part in parts] == [5, 5, 5, 5, 4]
    assert sorted(np.concatenate([part.rows for part in parts])) == list(range(24))
    residuals = torch.randn(2 * ROWS + 5, 1, 2)
    assert [len(part.rows) for part in parts_of(residuals)] == [ROWS, ROWS, 5]
    assert torch.equal(torch.cat([part.residuals for part in parts_of(residuals)]), residuals)


def test_means_of_labels_are_the_means(make_states: Any) -> None:
    residuals = np.random.default_rng(0).normal(size=(9001, 2, 3))
    harmful = np.arange(9001) % 3 == 0
    means = label_means(make_states(residuals, harmful))
    assert np.allclose(means["harmful"], residuals[harmful].mean(0), atol=1e-6)
    assert np.allclose(means["harmless"], residuals[~harmful].mean(0), atol=1e-6)
    assert list(label_means(make_states(residuals, harmful).where(label="harmless"))) == ["harmless"]


def test_a_folder_is_read_without_the_model(both: tuple[Any, Any], tmp_path: Path) -> None:
    for arm, states in both[0].items():
        found = read_activations(tmp_path / model_folder(states.model) / arm)
        assert torch.equal(found.residuals, states.residuals)
        assert replace(found, source=states.source).__dict__ == states.__dict__


@pytest.mark.parametrize(
    "damage",
    ["no index", "no json", "no rows", "a path", "a long name", "two rows", "width", "layer", "place"],
)
def test_a_damaged_index_is_an_error_with_a_remedy(
    damage: str, both: tuple[Any, Any], tmp_path: Path
) -> None:
    path = tmp_path / model_folder(both[0]["text"].model) / "text" / "index.json"
    about = json.loads(path.read_text())
    if damage == "no rows":
        del about["prompts"]
    elif damage == "a path":
        about["shards"][0] = "../../" + about["shards"][0]
    elif damage == "a long name":
        about["shards"][0] = "a" * 300 + ".safetensors"
    elif damage == "two rows":
        about["places"][3] = about["places"][4]
    elif damage == "width":
        about["width"] = 1e9
    elif damage == "layer":
        about["layers"][0] = 10**12
    elif damage == "place":
        about["places"][0] = [0, 10**30]
    write_whole(path, sealed_json({name: about[name] for name in about if name != "digest"}))
    if damage == "no json":
        path.write_text("{")
    elif damage == "no index":
        path.unlink()
    told = r"has no index.json; name the folder|is damaged(:| ).*capture again"
    with pytest.raises((PairError, StoreError), match=told):
        read_activations(path.parent)


@pytest.mark.parametrize("row", [-1, 10**6])
def test_a_row_that_a_shard_does_not_have_is_named(row: int, both: tuple[Any, Any]) -> None:
    shards = both[1]["text"].source
    places = shards.places.copy()
    places[0, 1] = row
    with pytest.raises(StoreError, match=f"prompts, and its index names row {row}; capture again"):
        replace(shards, places=places).load()


def test_a_shard_that_is_gone_or_changed_is_named(both: tuple[Any, Any], tmp_path: Path) -> None:
    states: Activations = both[1]["text"]
    assert isinstance(states.source, Shards)
    path = states.source.paths[2]
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(StoreError, match=r"is damaged: its digest .*; capture again into the same folder"):
        _ = states.residuals
    path.write_bytes(data[:-4] + b"\x00\x00\x80\x7f")
    with pytest.raises(StoreError, match="its digest does not match its content"):
        list(states.parts())
    infinite = torch.full((5, 4, 32), torch.inf)
    write_tensors(path, {"residuals": infinite}, {}, of=path.stem)
    with pytest.raises(ValueError, match="infinities or NaN"):
        list(states.parts())
    path.unlink()
    with pytest.raises(StoreError, match="is missing; capture again"):
        refusal_direction(states)


SCRIPT = """
import resource, sys
from pathlib import Path
from regap.geometry.states.activations import Activations
from regap.geometry.directions import refusal_direction
from regap.geometry.separability import separability
sys.path.insert(0, sys.argv[1])
from store_at_scale import Size, write_store

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
folder = Path(sys.argv[2])
small = write_store(folder / "small", Size(128, 8, 1024))
refusal = refusal_direction(small.states)
separability([small.states], refusal, resamples=100)
before = peak()
large = write_store(folder / "large", Size(6400, 8, 1024))
written = peak()
refusal = refusal_direction(large.states)
table = separability([large.states], refusal, resamples=100)
print(before, written, peak(), large.bytes, table[table.measure == "auroc"].value.min())
"""


def test_memory_does_not_grow_with_the_prompts(tmp_path: Path, root: Path) -> None:
    """Fifty times the prompts, 210 MB of states: written and analysed with an eighth of that."""
    arguments = [sys.executable, "-c", SCRIPT, str(root / "tests" / "benchmarks"), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, written, analysed, size, auroc = map(float, done.stdout.split())
    assert size >= 6400 * 8 * 1024 * 4
    assert written - before < size / 8 and analysed - before < size / 8
    assert auroc > 0.8  # the planted direction


def test_a_shard_whose_numbers_changed_is_never_read(both: tuple[Any, Any]) -> None:
    states = both[1]["text"]
    path = states.source.paths[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # the last bit of the mantissa or its like: still a finite number
    path.write_bytes(bytes(data))
    for read in (lambda: states.at(0), lambda: states.residuals):
        with pytest.raises(StoreError, match="is damaged: its digest does not match its content"):
            read()
