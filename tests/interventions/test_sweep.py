"""A sweep gives for each cell what running that cell alone gives."""

from collections.abc import Sequence

import pytest
import torch

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate
from regap.interventions.edits.gate import Gate
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.sweep import sweep


@pytest.mark.parametrize("arm", ["text", "typographic"])
def test_a_sweep_equals_running_each_cell(
    arm: str, tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    cells: list[Sequence[Edit]] = [[]]
    cells += [
        [fixed_correction(drift, Site((layer,)), strength)]
        for layer in (0, 2, 3)
        for strength in (-1.0, 0.5, 2.0)
    ]
    cells += [
        [fixed_correction(drift, Site((0, 1), "all"))],
        [fixed_correction(drift, Site((1,), norm="keep"))],
    ]
    early = fixed_correction(drift, Site((0,), "all"), 0.5)
    cells += [[early], *([early, fixed_correction(drift, Site((2,)), late)] for late in (-1.0, 1.0))]
    cells += [[ReGap(fixed_correction(drift, Site((1,))), refusal, (2, 3), Gate("sigmoid", 0.0), 2.0)], []]
    told: list[int] = []
    runner = Runner(tiny, Limits(prompts=7))
    found = sweep(runner.telling(told.append), tiny_pairs, arm, cells, refusal, (1, 3))
    assert sum(told) == 24
    prompts = [pair.prompts[arm] for pair in tiny_pairs]
    directions = torch.stack([refusal.at(1), refusal.at(3)])
    for cell, coordinates, first in zip(cells, found.coordinates, found.first_tokens, strict=True):
        seen = run(tiny, collate(tiny, prompts, range(24)), (1, 3), cell)
        expected = torch.einsum("pld,ld->pl", seen.states.double(), directions)
        assert torch.allclose(coordinates, expected, atol=1e-5)
        assert torch.equal(first, seen.logits.argmax(-1))
    assert torch.allclose(
        found.coordinates[0], found.coordinates[-1], atol=1e-6
    )  # cells do not see one another
    again = sweep(runner, tiny_pairs, arm, cells, refusal, (1, 3))
    assert torch.equal(again.coordinates, found.coordinates)  # and leave nothing behind
    assert float((found.coordinates[1:-1, :, 1] - found.coordinates[0, :, 1]).abs().amax(1).min()) > 1e-3
    assert len({tuple(first.tolist()) for first in found.first_tokens}) > 3
