"""Last-token residuals of all layers: ours, bare Hugging Face, TransformerLens' own adapters and nnsight."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import gpu
import peak_memory
import pytest
import rivals
import shapes
import torch

from regap.geometry.forward.image_features import shelf_of
from regap.geometry.forward.pending_states import read
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site


@pytest.fixture(scope="module", params=list(shapes.FULL))
def shape(request) -> shapes.Shape:
    """The full shapes when benchmarks are timed, small ones when they only run once."""
    if request.config.getoption("benchmark_enable"):
        return shapes.FULL[request.param]
    if request.param not in shapes.SMALL:
        pytest.skip("its code is that of the smaller shape")
    return shapes.SMALL[request.param]


@pytest.fixture(scope="module")
def timed(shape) -> shapes.Subject:
    return shapes.subject(shape)


def test_capture_of_all_layers(timed, shape, compared):
    layers = range(shape.layers)
    compared(lambda: read(timed.model, timed.batch, layers), shapes.bare_forward(timed), rounds=31)


def test_capture_of_all_layers_by_other_tools(timed, shape, compared):
    layers = range(shape.layers)
    own = rivals.own_adapter(timed.bare, shape.family)
    frugal = rivals.run_with_cache(own, timed.batch)
    found = read(timed.model, timed.batch, layers)
    assert torch.allclose(frugal(), found, atol=1e-4)
    others = {
        "TransformerLens": frugal,
        "TransformerLens_all": rivals.run_with_cache_of_everything(own, timed.batch),
    }
    if importlib.util.find_spec("nnsight"):  # an extra of its own; the others are compared without it
        others["nnsight"] = rivals.nnsight_trace(timed.bare, timed.batch)
        assert torch.allclose(others["nnsight"](), found, atol=1e-4)
    compared(lambda: read(timed.model, timed.batch, layers), shapes.bare_forward(timed), **others)


def test_capture_of_the_first_half_of_the_layers(timed, shape, compared):
    layers = range(shape.layers // 2)
    compared(lambda: read(timed.model, timed.batch, layers), shapes.bare_forward(timed))


def test_capture_under_five_edits_of_pictures_seen_once(timed, shape, compared):
    """Bare Hugging Face runs its tower five times."""
    vector = torch.full((1, shape.width), 0.01)
    edits = [Shift(Site((0,)), vector, strength, "D") for strength in (1.0, 2.0, 3.0, 4.0, 5.0)]
    named = peak_memory.with_pictures(timed.batch)
    bare = shapes.bare_forward(timed)

    def ours() -> None:
        shelf_of(timed.model).kept.clear()
        for edit in edits:
            read(timed.model, named, range(shape.layers), [edit])

    compared(ours, lambda: [bare() for _ in edits])


def test_the_script_for_a_gpu_measures_a_tiny_model():
    found = gpu.measure(gpu.TINY, "cpu", torch.bfloat16, rounds=2)
    assert 0.05 < found.ours / found.bare < 20 and found.operations > 1e6
    assert found.lines()[0].endswith("prompts/s") and found.lines()[3].startswith("share of the matrix peak")
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", list(shapes.SMALL))
def test_peak_memory(name, request, benchmark):
    """Of a process of its own for each way; when nothing is timed, of one small one."""
    size = "full" if request.config.getoption("benchmark_enable") else "small"
    if size == "small" and name.startswith("qwen"):
        pytest.skip("its code is that of the other shape")
    found = {}

    def measure() -> None:
        for mode in ("bare", "ours") if size == "full" else ("ours",):
            command = [sys.executable, str(Path(peak_memory.__file__)), size, name, mode]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            found[mode] = [int(number) for number in done.stdout.split()[-2:]]

    benchmark.pedantic(measure, rounds=1)
    assert all(peak > rise >= 0 for peak, rise in found.values())
    if size == "full":
        ratio = found["ours"][0] / found["bare"][0]
        benchmark.extra_info["peak_over_bare"] = ratio
        rises = ", ".join(f"{mode} {rise / 2**20:.0f} MB" for mode, (_, rise) in found.items())
        print(f"\n{name}: peak {ratio:.3f} x the bare peak; rise in the pass: {rises}", end="")
        assert ratio <= 1.1
