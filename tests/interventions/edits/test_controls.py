"""Controls are as long as the drift, and do not point where it does."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift, random_orthogonal, shuffled_pairs, towards_refusal
from regap.geometry.states.activations import Activations

WIDTH, PROMPTS = 24, 101
HARMFUL = np.arange(PROMPTS) % 3 == 0
Make = Callable[..., Activations]
Trio = tuple[Activations, Activations, Drift]


@pytest.fixture
def planted(make_states: Make) -> Trio:
    """A drift that all pairs share, several times as long as what they differ by."""
    generator = np.random.default_rng(0)
    text = generator.normal(size=(PROMPTS, 2, WIDTH))
    text[HARMFUL] += 2
    image = text + 3 * generator.normal(size=(2, WIDTH)) + generator.normal(size=text.shape)
    states = make_states(text, HARMFUL), make_states(image, HARMFUL, arm="typographic")
    return *states, modality_drift(*states)


@pytest.fixture
def refusal(planted: Trio) -> Direction:
    return refusal_direction(planted[0])


def cosines(one: Drift, other: Drift) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(one.vectors, other.vectors)


def test_all_controls_are_as_long_as_the_drift_at_each_layer(planted: Trio, refusal: Direction) -> None:
    text, image, drift = planted
    controls = [
        random_orthogonal(drift, refusal),
        shuffled_pairs(drift, text, image),
        towards_refusal(drift, refusal),
    ]
    assert [each.part for each in controls] == ["random", "shuffled", "refusal"]
    for each in controls:
        assert torch.allclose(each.vectors.norm(dim=-1), drift.vectors.norm(dim=-1))


def test_random_controls_are_orthogonal_to_the_refusal_direction(planted: Trio, refusal: Direction) -> None:
    drift = planted[2]
    found = random_orthogonal(drift, refusal).vectors
    assert torch.allclose((found * refusal.vectors).sum(-1), torch.zeros(2).double(), atol=1e-10)
    assert float((drift.vectors * refusal.vectors).sum(-1).abs().min()) > 0.1
    across = torch.nn.functional.cosine_similarity(found[0], found[1], dim=0)
    assert abs(float(across)) < 0.9  # each layer has its own


@pytest.mark.parametrize("seed", range(8))
def test_a_shuffled_control_does_not_bring_the_drift_back(seed: int, planted: Trio) -> None:
    text, image, drift = planted
    assert float(cosines(shuffled_pairs(drift, text, image, seed), drift).abs().max()) < 0.6
    swapped = torch.randint(0, 2, (PROMPTS, 1, 1), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    tossed = ((image.residuals - text.residuals) * swapped).double().mean(0)
    unbalanced = torch.nn.functional.cosine_similarity(tossed, drift.vectors).abs()
    unequal = abs(float(swapped.mean())) > 0.1
    assert not unequal or float(unbalanced.max()) > 0.6  # coins that fall unequally do bring it back


def test_where_images_mean_nothing_shuffling_changes_nothing(make_states: Make) -> None:
    """The drift of a null modality is one more draw of its shuffled control: neither is longer than the other."""
    generator = np.random.default_rng(1)
    text = generator.normal(size=(200, 1, WIDTH))
    harmful = np.arange(200) % 2 == 0
    ratios = []
    for _ in range(40):
        image = make_states(text + generator.normal(size=text.shape), harmful, arm="blank")
        states = make_states(text, harmful)
        difference = (image.residuals - states.residuals).double()
        sign = torch.from_numpy(generator.permuted(np.repeat([1.0, -1.0], 100)))[:, None, None]
        ratios.append(
            float(modality_drift(states, image).vectors.norm() / (difference * sign).mean(0).norm())
        )
    assert 0.85 < np.median(ratios) < 1.15


def test_towards_refusal_pushes_every_state_to_refusal_when_removed(
    planted: Trio, refusal: Direction
) -> None:
    vectors = towards_refusal(planted[2], refusal).vectors
    assert torch.allclose((-vectors * refusal.vectors).sum(-1), planted[2].vectors.norm(dim=-1))


def test_the_same_seed_gives_the_same_vectors_and_moves_no_global_generator(
    planted: Trio, refusal: Direction
) -> None:
    text, image, drift = planted
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for make in (
        lambda seed: random_orthogonal(drift, refusal, seed),
        lambda seed: shuffled_pairs(drift, text, image, seed),
    ):
        assert torch.equal(make(4).vectors, make(4).vectors)
        assert not torch.equal(make(4).vectors, make(5).vectors)
    assert torch.equal(torch.get_rng_state(), before)


def test_too_few_pairs_cannot_be_shuffled(planted: Trio) -> None:
    text, image, drift = planted
    with pytest.raises(ValueError, match="2 shared pairs are too few to swap half of them; give two pairs"):
        shuffled_pairs(drift, text.take([0, 1]), image.take([0, 1]))
