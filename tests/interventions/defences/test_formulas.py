"""Each formula on states whose answer is known by hand; no model is run."""

import pytest
import torch
from torch import Tensor

from regap.interventions.defences.activation_revision import best_heads, gap_of, probed
from regap.interventions.defences.adasteer import ClippedLine, position
from regap.interventions.defences.astra import Clamped
from regap.interventions.defences.cast import best_condition, similarity
from regap.interventions.defences.cmrm import removed_shift
from regap.interventions.defences.dtr import KEPT_NEAR, STEPS, first_gradient, learned_scales
from regap.interventions.defences.leace import erasure
from regap.interventions.defences.mars import Recentred
from regap.interventions.defences.refusal_direction import Removed
from regap.interventions.defences.safeptr import farthest
from regap.interventions.defences.shiftdc import removed_projection
from regap.interventions.defences.vlm_guard import guarded, safety_basis
from regap.interventions.edits.displacement import displaced
from regap.interventions.edits.token_scale import scaled


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


REFUSAL = torch.tensor([1.0, 0.0])
WRITES = torch.tensor([[[-2.0, 0.0], [1.0, 0.0], [-1.0, 0.5], [-3.0, 0.0]]])
"""What each of four tokens writes into the last one, with weight 1: all but the second lead away from refusal."""
IMAGE = torch.tensor([[True, True, True, False]])


def weighted(scale: Tensor) -> Tensor:
    return torch.einsum("pt,ptd->pd", scale, WRITES)


def test_dtr_lowers_the_tokens_that_lead_away_from_refusal_and_no_others() -> None:
    assert first_gradient(weighted, REFUSAL, IMAGE).tolist() == [[2.0, -1.0, 1.0, 0.0]]
    scale = learned_scales(weighted, REFUSAL, IMAGE, rate=0.1)
    assert scale[0, 1] == 1.0 and scale[0, 3] == 1.0  # it helps already; it is no image token
    assert scale[0, 0] < scale[0, 2] < 1.0
    assert bool((learned_scales(weighted, -REFUSAL, IMAGE, rate=0.1)[0, [0, 2]] == 1).all())


def test_dtr_takes_its_steps_by_hand() -> None:
    one = torch.tensor([[True, False, False, False]])
    scale, rate = 1.0, 0.05
    for step in range(STEPS):
        # The loss is 2 a, and the distance to the start 2 (1 - a), which holds the scale back.
        scale = min(max(scale - rate * (2.0 - (KEPT_NEAR * 2.0 if step else 0.0)), 0.0), 1.0)
    assert float(learned_scales(weighted, REFUSAL, one, rate)[0, 0]) == pytest.approx(scale, abs=1e-6)
    assert learned_scales(weighted, REFUSAL, one, 10.0)[0, 0] == 0.0


def test_what_a_token_writes_is_scaled_for_all_its_heads() -> None:
    written, scale = normal(2, 3, 4), normal(2, 3, seed=1)
    assert torch.allclose(scaled(written, scale), written * scale[..., None])
    assert torch.equal(scaled(written.unflatten(2, (2, 2)), scale).flatten(2), scaled(written, scale))


def test_the_tokens_least_like_the_reference_are_pruned_in_each_prompt() -> None:
    reference = torch.tensor([1.0, 0.0])
    states = torch.tensor([[1.0, 0.1], [5.0, 9.0], [-1.0, 0.0], [2.0, 2.1]])[None].repeat(2, 1, 1)
    where = torch.tensor([[True, True, True, True], [True, True, False, True]])
    assert farthest(states, reference, where, 0.5).tolist() == [
        [False, True, True, False],
        [False, True, False, True],  # one and a half of three are two
    ]
    assert not farthest(states, reference, where, 0.0).any()
    assert torch.equal(farthest(states, reference, where, 1.0), where)


def test_the_head_that_tells_harm_is_found_and_none_in_noise() -> None:
    harmful = torch.arange(40) % 3 == 0
    heads = normal(40, 3, 4).double()
    heads[harmful, 1] += 4 * torch.tensor([1.0, 0.0, 0.0, 0.0]).double()
    scores = probed(heads, harmful)
    assert scores[1, 0] > 0.9 and scores[1, 1] > 2
    assert bool((scores[[0, 2], 0] < 0.8).all())
    assert float(gap_of(heads, harmful)[1, 0]) > 3
    chosen = best_heads([probed(normal(40, 3, 4, seed=7).double(), harmful), scores], share=1 / 6)
    assert [each.tolist() for each in chosen] == [[False] * 3, [False, True, False]]
    assert sum(int(each.sum()) for each in best_heads([scores, scores], share=0.01)) == 1
