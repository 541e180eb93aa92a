"""Layer x strength x part on one-token passes, side by side, against running every prompt again for each cell."""

import pytest
import shapes
import torch

from regap.geometry.forward.parallel_last_token import run_versions
from regap.geometry.forward.prefix import run
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0)
PARTS = ("D", "D_along", "D_across")
TIMED = 4
"""Cells that are run again in full between the rounds: their time counts for all, as each cell takes the same."""


@pytest.fixture(scope="module")
def shape(request) -> shapes.Shape:
    timed = request.config.getoption("benchmark_enable")
    return shapes.FULL["llava-8x256"] if timed else shapes.SMALL["llava-8x256"]


def test_a_sweep_against_running_each_cell(shape, benchmark, compared):
    subject = shapes.subject(shape)
    model, layers = subject.model, range(shape.layers)
    generator = torch.Generator().manual_seed(2)
    vectors = {part: torch.randn(shape.layers, shape.width, generator=generator) for part in PARTS}
    cells = [
        Shift(Site((layer,)), vectors[part][[layer]], strength, part)
        for layer in layers
        for strength in STRENGTHS
        for part in PARTS
    ]
    directions = torch.nn.functional.normalize(vectors["D"].double(), dim=-1)

    def swept():
        """The prompts are prefilled in it: the batch is one that nothing has been run of."""
        batch = Batch(subject.batch.inputs, subject.batch.rows, subject.batch.image_token)
        hooks = [cell.hooks(model, batch) for cell in cells]
        found = list(run_versions(model, batch, hooks, layers, directions))
        return torch.cat([one.coordinates for one in found]), torch.cat([one.logits for one in found])

    def again(cell):
        seen = run(model, subject.batch, layers, [cell])
        return torch.einsum("pld,ld->pl", seen.states.double(), directions), seen.logits

    coordinates, logits = swept()
    some = range(0, len(cells), len(cells) // TIMED)
    for place in some:
        z, expected = again(cells[place])
        assert torch.allclose(coordinates[place], z, atol=1e-4)
        assert torch.allclose(logits[place], expected, atol=1e-4)
    chosen = [cells[place] for place in some][:TIMED]
    compared(swept, lambda: [again(cell) for cell in chosen])
    if benchmark.stats:
        faster = len(cells) / TIMED / benchmark.extra_info["time_over_bare"]
        benchmark.extra_info["times_faster"] = faster
        print(f"\n{len(cells)} cells: {faster:.1f} times faster than running each", end="")
        assert faster >= 20
