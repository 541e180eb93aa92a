"""Each formula on states whose answer is known by hand; no model is run."""

import pytest
import torch
from torch import Tensor

from regap.interventions.defences.adasteer import ClippedLine, position
from regap.interventions.defences.astra import Clamped
from regap.interventions.defences.cast import best_condition, similarity
from regap.interventions.defences.cmrm import removed_shift
from regap.interventions.defences.leace import erasure
from regap.interventions.defences.mars import Recentred
from regap.interventions.defences.refusal_direction import Removed
from regap.interventions.defences.shiftdc import removed_projection
from regap.interventions.defences.vlm_guard import guarded, safety_basis
from regap.interventions.edits.displacement import displaced


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_marked_states_move_by_their_own_vector_and_no_other_state_at_all() -> None:
    residual, vectors = normal(2, 3, 4), normal(2, 4, seed=1)
    where = torch.tensor([[False, False, True], [False, True, False]])
    moved = displaced(residual, vectors, where)
    assert torch.equal(moved[~where], residual[~where])
    assert torch.equal(moved[0, 2], residual[0, 2] + vectors[0])
    assert torch.equal(moved[1, 1], residual[1, 1] + vectors[1])
    kept = displaced(residual, vectors, where, "keep")
    assert torch.allclose(kept.norm(dim=-1), residual.norm(dim=-1))
    assert displaced(residual.bfloat16(), vectors, where).dtype == torch.bfloat16


def test_after_ablation_nothing_is_left_along_the_direction_and_all_is_left_across_it() -> None:
    direction = torch.nn.functional.normalize(normal(8), dim=0)
    states = normal(5, 8, seed=1)
    after = states + Removed(direction)(states)
    assert torch.allclose(after @ direction, torch.zeros(5), atol=1e-6)
    across = normal(8, seed=2)
    across -= (across @ direction) * direction
    assert torch.allclose(after @ across, states @ across, atol=1e-5)


def test_shiftdc_takes_back_the_shift_along_the_axis_alone() -> None:
    axes = torch.tensor([[1.0, 0.0, 0.0]])
    image, words = torch.tensor([[[5.0, 7.0, 1.0]]]), torch.tensor([[[2.0, 1.0, 1.0]]])
    assert removed_projection(image, words, axes).tolist() == [[[-3.0, 0.0, 0.0]]]
    assert torch.equal(removed_projection(image, words, -axes), removed_projection(image, words, axes))


def test_cmrm_takes_back_what_the_empty_picture_does() -> None:
    text, shift = normal(2, 1, 4), normal(2, 1, 4, seed=1)
    assert torch.allclose(removed_shift(text + shift, text), -shift)


def test_vlm_guard_adds_the_text_state_within_the_subspace_where_it_lies_on_the_harmful_side() -> None:
    bases = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    text = torch.tensor([[[2.0, 3.0, 9.0]], [[-2.0, 3.0, 9.0]]])
    assert guarded(text, bases).tolist() == [[[2.0, 3.0, 0.0]], [[0.0, 0.0, 0.0]]]


def test_the_safety_basis_finds_a_planted_direction_and_points_to_harmful() -> None:
    planted = torch.nn.functional.normalize(normal(16), dim=0)
    harmless = normal(50, 16, seed=1)
    for sign in (1, -1):
        basis = safety_basis(harmless + 20 * sign * planted, normal(50, 16, seed=2), rank=2)
        assert float(basis[0] @ planted) * sign > 0.99
    noise = safety_basis(normal(50, 16, seed=3), normal(50, 16, seed=4), rank=2)
    assert abs(float(noise[0] @ planted)) < 0.9


# (slope, start, low, high), then position -> coefficient: the rules that ship with AdaSteer's code.
LLAMA, QWEN, GEMMA = (0.02, -60.0, -0.22, -0.08), (0.1, 140.0, -0.2, 0.0), (0.004, 35.0, -0.02, 0.06)
SHIPPED = [
    (LLAMA, {-100.0: -0.22, -66.0: -0.12, -60.0: -0.08, 50.0: -0.08}),
    (QWEN, {100.0: -0.2, 139.0: -0.1, 140.0: 0.0, 200.0: 0.0}),
    (GEMMA, {0.0: -0.02, 35.0: 0.0, 45.0: 0.04, 100.0: 0.06}),
]


@pytest.mark.parametrize(("line", "expected"), SHIPPED)
def test_the_clipped_line_gives_the_coefficients_of_the_published_rules(
    line: tuple[float, float, float, float], expected: dict[float, float]
) -> None:
    harmful, harmless = torch.zeros(3).double(), torch.tensor([0.0, 4.0, 0.0]).double()
    states = torch.tensor([[[9.0, 4 * p / 100, -7.0]] for p in expected]).double()
    found = ClippedLine(harmful, harmless, *line)(states)
    assert torch.allclose(found, torch.tensor(list(expected.values())).double(), atol=1e-6)


def test_the_position_is_zero_and_a_hundred_at_the_anchors() -> None:
    anchors = normal(2, 6).double()
    assert torch.allclose(
        position(anchors, anchors[0], anchors[1]), torch.tensor([0.0, 100.0]).double(), atol=1e-9
    )


def test_cast_compares_a_state_with_its_squashed_projection() -> None:
    vector = torch.tensor([3.0, 0.0])
    states = torch.tensor([[5.0, 0.0], [3.0, 4.0], [0.0, 1.0], [-3.0, 4.0]])
    assert torch.allclose(similarity(states, vector), torch.tensor([1.0, 0.6, 0.0, 0.6]))


def test_the_condition_with_the_best_f1_separates_what_can_be_separated() -> None:
    scores, harmful = torch.tensor([0.1, 0.2, 0.7, 0.9]), torch.tensor([False, False, True, True])
    above = best_condition(torch.ones(2), scores, harmful)
    assert above.sign == 1 and 0.2 < above.threshold < 0.7
    below = best_condition(torch.ones(2), scores, ~harmful)
    assert below.sign == -1 and 0.2 < below.threshold < 0.7
    # 1 of 2 harmful ones above all harmless ones, or both with one harmless one: F1 2/3 against 4/5.
    mixed = best_condition(
        torch.ones(2), torch.tensor([0.1, 0.5, 0.6, 0.9]), torch.tensor([False, True, False, True])
    )
    assert 0.1 < mixed.threshold < 0.5


def test_astra_moves_a_state_by_no_more_than_it_lies_along_the_direction() -> None:
    clamped = Clamped(torch.tensor([2.0, 0.0]), torch.zeros(2), unit=0.5)
    states = torch.tensor([[4.0, 0.0], [3.0, 4.0], [-3.0, 4.0]])
    expected = torch.tensor([[-2.0, 0.0], [-0.5 * 0.6 * 5, 0.0], [0.0, 0.0]])
    assert torch.allclose(clamped(states), expected)


def test_mars_leads_on_only_what_lies_on_the_harmful_side_once_re_centred() -> None:
    move = Recentred(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 5.0]), threshold=1.0, harmful=3.0)
    # z = h_0 + 2 after re-centring: 1, 2, 3, 9
    states = torch.tensor([[-1.0, 8.0], [0.0, 8.0], [1.0, 8.0], [7.0, 8.0]])
    assert move(states)[:, 0].tolist() == [0.0, 1.0, 2.0, 2.0]
    assert not move(states)[:, 1].any()


def test_after_leace_no_linear_function_tells_the_classes_apart() -> None:
    text, image = normal(60, 5) @ normal(5, 5, seed=1), normal(60, 5, seed=2) + 3 * normal(5, seed=3)
    found = erasure(text, image)
    before = float((image.mean(0) - text.mean(0)).norm())
    text, image = text + found(text), image + found(image)
    assert float((image.mean(0) - text.mean(0)).norm()) < 1e-4 < before
    once = text + found(text)  # it is a projection: a second time changes nothing
    assert torch.allclose(once, text, atol=1e-4)


def test_there_must_be_something_to_erase() -> None:
    same = normal(10, 3)
    with pytest.raises(ValueError, match="the same mean, so there is no modality to erase"):
        erasure(same, same)
