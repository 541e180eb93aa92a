"""A planted drift is found; its parts add up; its strength is 0 for the mean text and 1 for the mean image."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regap.errors import PairError, StoreError
from regap.geometry.directions import Direction, load_direction, refusal_direction
from regap.geometry.drift import Drift, load_drift, modality_drift
from regap.geometry.states.activations import Activations
from regap.geometry.states.store import read_tensors, write_tensors
from regap.interventions.edits.shift import shift

Make = Callable[..., Activations]
WIDTH, PROMPTS = 12, 200
PLANTED = np.random.default_rng(9).normal(size=(2, WIDTH))
HARMFUL = np.arange(PROMPTS) % 4 == 0  # three harmless to one harmful


@pytest.fixture
def text(make_states: Make) -> Activations:
    states = np.random.default_rng(0).normal(size=(PROMPTS, 2, WIDTH))
    states[HARMFUL] += 3
    return make_states(states, HARMFUL)


@pytest.fixture
def image(text: Activations, make_states: Make) -> Activations:
    noise = np.random.default_rng(1).normal(size=(PROMPTS, 2, WIDTH)) / 10
    return make_states(text.residuals.numpy() + PLANTED + noise, HARMFUL, arm="typographic")


@pytest.fixture
def drift(text: Activations, image: Activations) -> Drift:
    return modality_drift(text, image)


@pytest.fixture
def refusal(text: Activations) -> Direction:
    return refusal_direction(text)


def balanced(values: torch.Tensor, harmful: torch.Tensor) -> torch.Tensor:
    return (values[harmful].mean(0) + values[~harmful].mean(0)) / 2


def test_a_planted_drift_is_recovered_in_length_and_direction(drift: Drift) -> None:
    found, planted = drift.vectors, torch.from_numpy(PLANTED)
    assert float(torch.nn.functional.cosine_similarity(found, planted).min()) > 0.99
    assert torch.allclose(found.norm(dim=-1), planted.norm(dim=-1), rtol=0.02)


def test_its_strength_is_0_for_the_mean_text_1_for_the_mean_image_and_linear_between(
    drift: Drift, text: Activations, image: Activations, make_states: Make
) -> None:
    assert torch.allclose(balanced(drift.strength(text), text.harmful), torch.zeros(2).double(), atol=1e-6)
    assert torch.allclose(balanced(drift.strength(image), text.harmful), torch.ones(2).double(), atol=1e-6)
    halfway = make_states((drift.text_mean + drift.vectors / 2)[None].numpy(), [True])
    assert torch.allclose(drift.strength(halfway), torch.full((1, 2), 0.5).double(), atol=1e-6)


def test_the_parts_add_up_and_are_orthogonal(drift: Drift, refusal: Direction) -> None:
    along, across = drift.along(refusal), drift.across(refusal)
    assert (drift.part, along.part, across.part) == ("D", "D_along", "D_across")
    assert torch.allclose(along.vectors + across.vectors, drift.vectors)
    assert torch.allclose((across.vectors * refusal.vectors).sum(-1), torch.zeros(2).double(), atol=1e-12)
    assert torch.allclose((along.vectors * refusal.vectors).sum(-1).abs(), along.vectors.norm(dim=-1))
    assert float(along.vectors.norm(dim=-1).min()) > 0.01  # the split is of something
    assert torch.allclose(along.across(refusal).vectors, torch.zeros(2, WIDTH).double(), atol=1e-12)


def test_harmful_and_harmless_weigh_equally_however_many_there_are(
    text: Activations, make_states: Make
) -> None:
    moved = text.residuals.clone()
    moved[text.harmful] += 4.0
    found = modality_drift(text, make_states(moved, HARMFUL, arm="typographic")).vectors
    assert torch.allclose(found, torch.full_like(found, 2.0), atol=1e-5)  # a plain mean would give 1


def test_only_pairs_that_both_arms_have_count(
    text: Activations, image: Activations, make_states: Make
) -> None:
    kept = list(range(40, 160))
    spoilt = np.concatenate([image.take(kept).residuals, np.full((8, 2, WIDTH), 1e3)])
    ids = image.pair_ids[40:160] + [f"only image {place}" for place in range(8)]
    harmful = [*HARMFUL[40:160], *[True] * 8]
    found = modality_drift(text, make_states(spoilt[::-1], harmful[::-1], arm="typographic", ids=ids[::-1]))
    assert torch.allclose(found.vectors, modality_drift(text.take(kept), image.take(kept)).vectors)


def test_arms_that_share_no_pair_have_no_drift(text: Activations, make_states: Make) -> None:
    other = make_states(text.residuals, HARMFUL, arm="picture", ids=[f"q{place}" for place in range(PROMPTS)])
    with pytest.raises(
        PairError, match=r"arms text and picture share no pair; give both renderings .* one pair_id"
    ):
        modality_drift(text, other)


def test_where_images_are_as_texts_there_is_no_drift(
    text: Activations, make_states: Make, drift: Drift
) -> None:
    noise = np.random.default_rng(1).normal(size=(PROMPTS, 2, WIDTH)) / 10
    still = modality_drift(text, make_states(text.residuals.numpy() + noise, HARMFUL, arm="typographic"))
    assert float(still.vectors.norm(dim=-1).max()) < 0.1 < 1 < float(drift.vectors.norm(dim=-1).min())


def test_layers_must_fit(drift: Drift, text: Activations) -> None:
    one = text.residuals[:, :1]
    with pytest.raises(ValueError, match=r"layers of arm typographic are \[0, 1\], of arm text \[0\]"):
        drift.strength(Activations(one, text.rows, "text", (0,), "model"))
    with pytest.raises(ValueError, match=r"layer 7 has no drift; there are \[0, 1\]"):
        drift.at(7)


def test_states_of_two_models_never_meet(make_states: Any) -> None:
    residuals = np.random.default_rng(0).normal(size=(8, 2, 4))
    labels = [True, False] * 4
    text, image = make_states(residuals, labels), make_states(residuals + 1, labels, "typographic")
    other = replace(image, model="another model")
    refusal, drift = refusal_direction(text), modality_drift(text, image)
    for combine in (
        lambda: modality_drift(text, other),
        lambda: refusal.coordinates(other),
        lambda: drift.strength(other),
        lambda: drift.along(replace(refusal, model="another model")),
    ):
        with pytest.raises(PairError, match=r"model of arm \w+ is .*another model.*read with the same model"):
            combine()
    with pytest.raises(PairError, match="position of arm typographic is last, of arm typographic image"):
        drift.strength(replace(image, position="image"))
    assert len(refusal.coordinates(image)) == len(drift.strength(image)) == 8  # the same model is taken


def test_what_is_saved_is_loaded_bit_for_bit(make_states: Any, tmp_path: Path) -> None:
    residuals = np.random.default_rng(1).normal(size=(8, 2, 4))
    text = make_states(residuals, [True, False] * 4)
    refusal = refusal_direction(text)
    drift = modality_drift(text, make_states(residuals + 1, [True, False] * 4, "typographic")).across(refusal)
    for saved, load in ((refusal, load_direction), (drift, load_drift)):
        loaded = load(saved.save(tmp_path / "vectors.safetensors"))
        for name, value in vars(saved).items():
            found = getattr(loaded, name)
            assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value
    assert loaded.part == "D_across"  # type: ignore[union-attr]


def test_a_saved_vector_that_is_damaged_or_another_is_refused(make_states: Any, tmp_path: Path) -> None:
    refusal = refusal_direction(
        make_states(np.random.default_rng(2).normal(size=(8, 2, 4)), [True, False] * 4)
    )
    path = refusal.save(tmp_path / "refusal.safetensors")
    with pytest.raises(StoreError, match="holds 'direction', not a drift"):
        load_drift(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="is damaged: its digest does not match its content"):
        load_direction(path)
    with pytest.raises(StoreError, match="is missing; make it again"):
        load_direction(tmp_path / "absent")


def test_a_drift_between_roles_is_data_with_both_roles(make_states: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    harmful, numbers = [True, False] * 4, rng.normal(size=(8, 2, 4))
    text = replace(make_states(numbers, harmful), position="request")
    planted = rng.normal(size=(2, 4))
    image = replace(make_states(numbers + planted, harmful, "typographic"), position="image")
    drift = modality_drift(text, image)
    torch.testing.assert_close(drift.vectors, torch.from_numpy(planted), atol=1e-6, rtol=0)
    assert (drift.text_position, drift.position, drift.arm) == ("request", "image", "typographic")
    found = load_drift(drift.save(tmp_path / "drift.safetensors"))
    assert found.vectors.equal(drift.vectors)
    assert (found.text_position, found.position) == ("request", "image") and found.pairs == drift.pairs
    assert shift(drift, [1]).site.positions == "image"
    fewer = modality_drift(text.take([0, 1]), image)
    assert fewer.pairs != drift.pairs
    with pytest.raises(PairError, match="the position of arm typographic is image, of arm text request"):
        drift.strength(text)


def test_a_drift_of_another_version_is_refused_in_one_line(make_states: Any, tmp_path: Path) -> None:
    numbers = np.random.default_rng(5).normal(size=(8, 2, 4))
    drift = modality_drift(
        make_states(numbers, [True, False] * 4), make_states(numbers + 1, [True, False] * 4)
    )
    tensors, header = read_tensors(drift.save(tmp_path / "drift.safetensors"))
    kept = {name: header[name] for name in ("kind", "arm", "model", "position", "part", "pairs", "layers")}
    write_tensors(tmp_path / "older.safetensors", tensors, kept, exact=True)
    with pytest.raises(StoreError, match="does not say its text_position"):
        load_drift(tmp_path / "older.safetensors")


def test_a_drift_of_nothing_is_named(make_states: Any) -> None:
    numbers = np.random.default_rng(5).normal(size=(8, 2, 4))
    text = make_states(numbers, [True, False] * 4)
    drift = modality_drift(text, make_states(numbers, [True, False] * 4, "blank"))
    for strength in (lambda: drift.strength(text), lambda: drift.strength_of(text.residuals[:, 1], 1)):
        with pytest.raises(
            PairError, match="the drift of arm blank is zero after block 0: its prompts and those"
        ):
            strength()
