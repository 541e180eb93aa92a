"""DTR, SafePTR and activation revision prompt by prompt, on the plain model with PyTorch's own hooks and no padding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.directions import refusal_direction
from regap.geometry.drift import modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate
from regap.interventions.defences.activation_revision import SHARE, activation_revision
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.dtr import KEPT_NEAR, STEPS, Reweighted, dtr
from regap.interventions.defences.safeptr import safeptr
from regap.interventions.edits.head_shift import HeadShift
from regap.interventions.edits.site import Site

READ, LAYERS, HEADS = 2, 4, 2


@pytest.fixture(scope="module")
def calibration(tiny: Model, tiny_pairs: Pairs) -> DefenceData:
    states = {arm: each.calibration for arm, each in capture(tiny, tiny_pairs).items()}
    drifts = {arm: modality_drift(states["text"], states[arm]) for arm in states if arm != "text"}
    refusal = refusal_direction(states["text"])
    return DefenceData(Runner(tiny), tiny_pairs, "typographic", states, refusal, drifts, READ, 0.5)


@pytest.fixture(scope="module")
def precise(plain: Any) -> Any:
    """The same weights in float64, so that differences of nearby runs are derivatives."""
    return deepcopy(plain).double()


@pytest.fixture(scope="module")
def asked(tiny_pairs: Pairs) -> list[Prompt]:
    return [pair.prompts["typographic"] for pair in tiny_pairs.test.where(arm="typographic")][:2]


def alone(tiny: Model, prompt: Prompt, kind: torch.dtype) -> dict[str, Tensor]:
    given = collate(tiny, [prompt], [0]).inputs
    return {name: each.to(kind) if each.is_floating_point() else each for name, each in given.items()}


def blocks_of(model: Any) -> Any:
    return model.model.language_model.layers


@contextmanager
def changed(outputs: dict[Any, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """The outputs of these modules go through these functions."""

    def hook(function: Callable[[Tensor], Tensor]) -> Any:
        def call(module: Any, inputs: Any, output: Any) -> Any:
            return (function(output[0]), *output[1:]) if isinstance(output, tuple) else function(output)

        return call

    handles = [module.register_forward_hook(hook(function)) for module, function in outputs.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def states(model: Any, inputs: dict[str, Tensor], layer: int) -> Tensor:
    """States of all tokens after a block."""
    kept: list[Tensor] = []

    def keep(output: Tensor) -> Tensor:
        kept.append(output)
        return output

    with torch.no_grad(), changed({blocks_of(model)[layer]: keep}):
        model(**inputs, use_cache=False)
    return kept[0][0]


def weighted(model: Any, inputs: dict[str, Tensor], scale: np.ndarray, layer: int) -> np.ndarray:
    """The last token's state if keys and values of every token are multiplied by its scale."""
    factor = torch.from_numpy(scale)[:, None]
    attention = [block.self_attn for block in blocks_of(model)]
    parts = [part for each in attention for part in (each.k_proj, each.v_proj)]
    with changed({part: lambda written: written * factor.to(written) for part in parts}):
        return states(model, inputs, layer)[-1].double().numpy()


def slope(value: Callable[[np.ndarray], float], at: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Central differences at the marked places; the model's norms round to float32, so the step is no smaller."""
    found, step = np.zeros_like(at), 1e-2
    for place in np.flatnonzero(marked):
        nudge = np.zeros_like(at)
        nudge[place] = step
        found[place] = (value(at + nudge) - value(at - nudge)) / (2 * step)
    return found


def test_dtr(calibration: DefenceData, tiny: Model, precise: Any, asked: list[Prompt]) -> None:
    [edit] = dtr(calibration, Site(tuple(range(LAYERS)), "image"))(1.0)
    assert isinstance(edit, Reweighted)
    refusal = calibration.refusal.at(READ).double().numpy()

    def marked(inputs: dict[str, Tensor]) -> np.ndarray:
        return (inputs["input_ids"][0] == tiny.image_token).numpy()

    largest = []
    for pair in calibration.pairs.calibration.where(label="harmful", arm="typographic"):
        inputs = alone(tiny, pair.prompts["typographic"], torch.float64)
        ones, at = np.ones(inputs["input_ids"].shape[1]), marked(inputs)
        found = slope(lambda a, i=inputs: float(-weighted(precise, i, a, READ) @ refusal), ones, at)
        largest.append(np.abs(found).max())
    assert edit.rule.rate == pytest.approx(1 / (STEPS * np.mean(largest)), rel=1e-3)

    # Towards the other side, since fewer images do not move this model towards refusal.
    other = replace(edit, rule=replace(edit.rule, refusal=-edit.rule.refusal), strength=0.8)
    batch = collate(tiny, asked, range(len(asked)))
    seen = run(tiny, batch, [LAYERS - 1], [other]).states[:, 0].double().numpy()
    moved = []
    for place, prompt in enumerate(asked):
        inputs = alone(tiny, prompt, torch.float64)
        scale, at = np.ones(inputs["input_ids"].shape[1]), marked(inputs)
        start = weighted(precise, inputs, scale, READ)

        def loss(a: np.ndarray, i: dict[str, Tensor] = inputs, s: np.ndarray = start) -> float:
            state = weighted(precise, i, a, READ)
            return float(state @ refusal + KEPT_NEAR * np.linalg.norm(state - s))

        for step in range(STEPS):
            # At the start the distance has a corner, which both sides of a difference climb alike.
            scale = np.clip(scale - edit.rule.rate * slope(loss, scale, at), 0, 1)
            assert step or (scale[at] < 1).any()
        final = np.clip(1 - 0.8 * (1 - scale), 0, 1)
        assert np.allclose(seen[place], weighted(precise, inputs, final, LAYERS - 1), atol=2e-3)
        unedited = weighted(precise, inputs, np.ones_like(scale), LAYERS - 1)
        moved.append(not np.allclose(seen[place], unedited, atol=2e-2))
    assert all(moved)


def test_safeptr(calibration: DefenceData, tiny: Model, plain: Any, asked: list[Prompt]) -> None:
    first, last, share = 1, 2, 0.4
    edits = safeptr(calibration, Site((first, last), "image"))(share)
    batch = collate(tiny, asked, range(len(asked)))
    seen = run(tiny, batch, [last, LAYERS - 1], edits).states.double().numpy()
    texts = capture(tiny, calibration.pairs.calibration, "text", position="request")["text"]
    reference = texts.at(first - 1).double().mean(0).numpy()
    for place, prompt in enumerate(asked):
        inputs = alone(tiny, prompt, torch.float32)
        entering, standard = states(plain, inputs, first - 1), states(plain, inputs, last)
        image = np.flatnonzero((inputs["input_ids"][0] == tiny.image_token).numpy())
        far = {}
        for token in image:
            state = entering[token].double().numpy()
            far[token] = 1 - state @ reference / np.linalg.norm(state) / np.linalg.norm(reference)
        pruned = sorted(image, key=lambda token: -far[token])[: int(share * len(image) + 0.5)]
        assert 0 < len(pruned) < len(image)

        def silent(written: Tensor, gone: Any = pruned) -> Tensor:
            written = written.clone()
            written[:, gone] = 0
            return written

        def restored(residual: Tensor, gone: Any = pruned, own: Tensor = standard) -> Tensor:
            residual = residual.clone()
            residual[0, gone] = own[gone]
            return residual

        blocks = blocks_of(plain)
        outputs = {blocks[layer].self_attn.v_proj: silent for layer in (first, last)}
        with changed({**outputs, blocks[last]: restored}):
            expected = [states(plain, inputs, layer)[-1] for layer in (last, LAYERS - 1)]
        for found, wanted in zip(seen[place], expected, strict=True):
            assert np.allclose(found, wanted.double().numpy(), atol=1e-3)
        assert not np.allclose(seen[place][0], standard[-1].double().numpy(), atol=1e-2)


def test_activation_revision(calibration: DefenceData, tiny: Model, plain: Any, asked: list[Prompt]) -> None:
    strength, width = 2.0, plain.config.text_config.hidden_size // HEADS
    [edit] = activation_revision(calibration, Site(tuple(range(LAYERS)), "last", "every_step"))(strength)
    assert isinstance(edit, HeadShift) and edit.only_last
    texts = calibration.pairs.calibration.where(arm="text")
    written = np.array([heads(plain, alone(tiny, pair.prompts["text"], torch.float32)) for pair in texts])
    harmful = np.array([pair.label == "harmful" for pair in texts])
    scores = {}
    for layer in range(LAYERS):
        for head in range(HEADS):
            scores[layer, head] = accuracy(written[:, layer, head * width : (head + 1) * width], harmful)
    best = sorted(scores, key=lambda place: -scores[place])
    count = int(SHARE * len(best))
    moved = {
        (layer, head)
        for layer, vector in enumerate(edit.vectors)
        for head in range(HEADS)
        if bool(vector[head * width : (head + 1) * width].any())
    }
    assert len(moved) == count
    assert min(scores[place] for place in moved) >= scores[best[count - 1]]

    batch = collate(tiny, asked, range(len(asked)))
    seen = run(tiny, batch, [LAYERS - 1], [edit]).states[:, 0].double().numpy()
    gaps = written[harmful].mean(0) - written[~harmful].mean(0)
    for place, prompt in enumerate(asked):
        handles = []
        for layer, head in moved:
            own = slice(head * width, (head + 1) * width)

            def push(module: Any, args: Any, own: slice = own, layer: int = layer) -> Any:
                new = args[0].clone()
                new[:, -1, own] += strength * torch.from_numpy(gaps[layer, own]).to(new)
                return (new,)

            handles.append(blocks_of(plain)[layer].self_attn.o_proj.register_forward_pre_hook(push))
        expected = states(plain, alone(tiny, prompt, torch.float32), LAYERS - 1)[-1]
        for handle in handles:
            handle.remove()
        assert np.allclose(seen[place], expected.double().numpy(), atol=2e-3)


def heads(model: Any, inputs: dict[str, Tensor]) -> np.ndarray:
    """What attention hands to its output projection at the last token, by layer."""
    kept: list[np.ndarray] = []
    handles = [
        block.self_attn.o_proj.register_forward_pre_hook(
            lambda _, args: kept.append(args[0][0, -1].detach().double().numpy())
        )
        for block in blocks_of(model)
    ]
    with torch.no_grad():
        model(**inputs, use_cache=False)
    for handle in handles:
        handle.remove()
    return np.array(kept)


def accuracy(written: np.ndarray, harmful: np.ndarray) -> float:
    """Share of prompts on the right side of the midpoint of the other half's means."""
    turn = {True: 0, False: 0}
    half = []
    for label in harmful.tolist():
        half.append(turn[label] % 2)
        turn[label] += 1
    right = 0
    for place, label in enumerate(harmful.tolist()):
        others = [i for i in range(len(half)) if half[i] != half[place]]
        means = {
            kind: np.mean([written[i] for i in others if harmful[i] == kind], 0) for kind in (True, False)
        }
        along = means[True] - means[False]
        right += ((written[place] - (means[True] + means[False]) / 2) @ along > 0) == label
    return right / len(half)
