"""A shift is h - strength * vector at its site, bit for bit nothing elsewhere; a site says all of where it acts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.drift import Drift
from regap.geometry.forward import hooks
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.site import Norm, Phase, Positions, Site, position_rule, shifted
from regap.interventions.edits.stored import load_edit

RESIDUAL = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
VECTOR = torch.randn(8, generator=torch.Generator().manual_seed(1))
IMAGE = 7
IDS = torch.tensor([[0, 0, 1, 7, 2], [0, 1, 7, 7, 2], [3, 7, 7, 4, 2]])
MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
NO_MODEL = Model(None, None, "none", "")
"""No model: its name is needed only for what takes a pass."""
BATCH = Batch({"input_ids": IDS, "attention_mask": MASK}, (0, 1, 2), IMAGE)


def test_each_row_moves_by_its_own_strength_where_it_is_marked() -> None:
    where = torch.zeros(3, 5, dtype=torch.bool)
    where[0, 4] = where[1, 1] = where[1, 4] = True
    found = shifted(RESIDUAL, VECTOR, torch.tensor([2.0, -1.0, 5.0]), where)
    assert torch.equal(found[~where], RESIDUAL[~where])
    assert torch.allclose(found[0, 4], RESIDUAL[0, 4] - 2 * VECTOR)
    assert torch.allclose(found[1, [1, 4]], RESIDUAL[1, [1, 4]] + VECTOR)


def test_a_strength_of_zero_is_no_edit() -> None:
    everywhere = torch.ones(3, 5, dtype=torch.bool)
    assert torch.equal(shifted(RESIDUAL, VECTOR, torch.zeros(3), everywhere), RESIDUAL)


def test_with_norm_keep_the_state_turns_but_keeps_its_length() -> None:
    everywhere, strengths = torch.ones(3, 5, dtype=torch.bool), torch.full((3,), 0.7)
    plain, kept = (shifted(RESIDUAL, VECTOR, strengths, everywhere, norm) for norm in ("plain", "keep"))
    assert torch.allclose(kept.norm(dim=-1), RESIDUAL.norm(dim=-1), atol=1e-5)
    assert float((plain.norm(dim=-1) - RESIDUAL.norm(dim=-1)).abs().min()) > 1e-3
    assert torch.allclose(
        torch.nn.functional.cosine_similarity(plain, kept, dim=-1), torch.ones(3, 5), atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_number_format_of_the_model_is_kept(dtype: torch.dtype) -> None:
    found = shifted(
        RESIDUAL.to(dtype), VECTOR.double(), torch.ones(3), torch.ones(3, 5, dtype=torch.bool), "keep"
    )
    assert found.dtype == dtype


@pytest.mark.parametrize("phase", ["prefill", "every_step"])
@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ("last", [[0, 0, 0, 0, 1]] * 3),
        ("image", [[0, 0, 0, 1, 0], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]),
        ("all", MASK.tolist()),
    ],
)
def test_a_site_marks_the_prompt_once_and_then_each_step_or_none(
    positions: Positions, phase: Phase, expected: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = position_rule(NO_MODEL, Site((0,), positions, phase), BATCH)
    assert marked(where, RESIDUAL) == expected
    steps = phase == "every_step" and positions != "image"
    for first in (5, 6, 7):
        monkeypatch.setattr(hooks._RUNNING, "first", first)
        assert marked(where, RESIDUAL[:, :1]) == [[steps]] * 3


@pytest.mark.parametrize("phase", ["prefill", "every_step"])
@pytest.mark.parametrize("positions", ["last", "image", "all"])
def test_a_prompt_in_parts_is_marked_as_in_one(
    positions: Positions, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = position_rule(NO_MODEL, Site((0,), positions, phase), BATCH)
    whole = torch.tensor(marked(where, RESIDUAL))
    for first, last in ((0, 2), (2, 4), (4, 5), (0, 5), (3, 5)):
        monkeypatch.setattr(hooks._RUNNING, "first", first)
        assert marked(where, RESIDUAL[:, first:last]) == whole[:, first:last].tolist()
    monkeypatch.setattr(hooks._RUNNING, "first", 0)
    longer = torch.cat(
        [RESIDUAL, RESIDUAL[:, :2]], 1
    )  # without a cache the prompt comes again, and two tokens more
    grows = phase == "every_step" and positions != "image"
    assert marked(where, longer) == [[*row, grows, grows] for row in whole.tolist()]


def marked(where: Any, residual: Tensor) -> list[list[int]]:
    found = where(residual)
    return [[0] * residual.shape[1]] * 3 if found is None else found.int().tolist()


@pytest.mark.parametrize("phase", ["prefill", "every_step"])
@pytest.mark.parametrize(
    ("positions", "columns"), [("image[0]", (3, 2, 1)), ("image[-1]", (3, 3, 2)), ("all[-1]", (4, 4, 4))]
)
def test_one_token_of_a_role_is_marked_in_the_prompt_alone(
    positions: Positions, columns: tuple[int, ...], phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = position_rule(NO_MODEL, Site((0,), positions, phase), BATCH)
    expected = [[int(column == own) for column in range(5)] for own in columns]
    assert marked(where, RESIDUAL) == expected
    for first, last in ((0, 2), (2, 4), (3, 5)):
        monkeypatch.setattr(hooks._RUNNING, "first", first)
        assert marked(where, RESIDUAL[:, first:last]) == [row[first:last] for row in expected]
    monkeypatch.setattr(hooks._RUNNING, "first", 5)
    assert where(RESIDUAL[:, :1]) is None


def test_a_prompt_with_too_few_tokens_is_named_before_a_pass() -> None:
    with pytest.raises(ModelError, match=r"prompt 0 has no token image\[1\]: it has 1 token of role image"):
        position_rule(NO_MODEL, Site((0,), "image[1]"), BATCH)


def test_a_site_is_stored_under_the_name_it_had() -> None:
    """Digests of stored edits and of their states depend on this."""
    edit = Shift(Site((0, 2), "image"), torch.arange(8).reshape(2, 4).float(), 1.5, "planted")
    assert edit.identity == "2655f55369bfc5784bc5477b54379792"
    assert [str(Site((1,), each)) for each in ("image[0]", "image:norm")] == [
        "layers 1 / image[0] / prefill / norm plain",
        "layers 1 / image:norm / prefill / norm plain",
    ]


@pytest.mark.parametrize("positions", ["image[-1]", "image:blank", "user"])
def test_an_edit_at_a_position_is_saved_and_loaded(positions: Positions, tmp_path: Path) -> None:
    edit = Shift(Site((0,), positions), torch.ones(1, 4), 1.5, "planted")
    found = load_edit(edit.save(tmp_path / "edit"))
    assert found.site == edit.site and found.identity == edit.identity


def test_a_one_token_prompt_is_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    where = position_rule(NO_MODEL, Site((0,)), BATCH)
    assert marked(where, RESIDUAL[:, -1:]) == [[1]] * 3
    monkeypatch.setattr(hooks._RUNNING, "first", 5)
    assert where(RESIDUAL[:, -1:]) is None


def test_the_correction_removes_the_drift_of_each_of_its_layers(drift: Drift, states, make_states) -> None:
    edit = fixed_correction(drift, Site((2, 0)), 0.5)
    assert torch.equal(edit.vectors, torch.stack([drift.at(2), drift.at(0)])) and edit.name == "D"
    where = torch.ones(1, 1, dtype=torch.bool)
    mean_image = (drift.text_mean + drift.vectors)[None]
    moved = torch.stack(
        [shifted(mean_image[:, [i]], drift.at(i), torch.ones(1), where)[:, 0] for i in range(4)], 1
    )
    assert torch.allclose(moved[0], drift.text_mean)  # the mean image state becomes the mean text state


def test_a_site_is_printed_in_full() -> None:
    assert str(Site((3, 4), "image", "prefill", "keep")) == "layers 3,4 / image / prefill / norm keep"
    assert [Site((0,), positions).only_last for positions in ("last", "image", "all")] == [True, False, False]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("field", "value"),
    [("positions", "first"), ("phase", "decode"), ("norm", "unit"), ("layers", ()), ("layers", (1, 1))],
)
def test_a_site_that_is_none_is_refused(field: str, value: object) -> None:
    told = {
        "layers": "must be at least one layer, each named once",
        "positions": "position 'first' is not known; choose one of last",
    }
    expected = told.get(field, f"{field} is '{value}'; choose one")
    with pytest.raises(ValueError, match=expected):
        replace(Site((0,)), **{field: value})


def test_a_shift_checks_its_vectors() -> None:
    with pytest.raises(
        ValueError, match=r"1 vectors do not fit site layers 0,1 / last .*; give one for each layer"
    ):
        Shift(Site((0, 1)), torch.zeros(1, 4), 1.0, "D")
    with pytest.raises(
        ValueError, match="vectors 'D' hold infinities or NaN; compute them from float32 states"
    ):
        Shift(Site((0,)), torch.full((1, 4), torch.nan), 1.0, "D")


def test_what_a_shift_does_is_its_identity() -> None:
    shift = Shift(Site((0,)), VECTOR[None], 1.0, "D")
    norm: Norm = "keep"
    others = [
        shift.at(2.0),
        replace(shift, vectors=VECTOR[None] + 1e-7),
        replace(shift, site=Site((1,))),
        replace(shift, site=Site((0,), norm=norm)),
        replace(shift, site=Site((0,), "all")),
        replace(shift, site=Site((0,), phase="every_step")),
    ]
    assert len({each.identity for each in [shift, *others]}) == 7
    assert replace(shift, vectors=VECTOR[None].clone()).identity == shift.identity
