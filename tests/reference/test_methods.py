"""ShiftDC, CMRM, AdaSteer, CAST, HiddenDetect and ASTRA as they are written, prompt by prompt, against the edits."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import refusal_direction
from regap.geometry.drift import modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate
from regap.interventions.defences.adasteer import ClippedLine, adasteer, adasteer_both
from regap.interventions.defences.astra import astra
from regap.interventions.defences.calibration import DefenceData
from regap.interventions.defences.cast import SimilarityCondition, cast
from regap.interventions.defences.cmrm import cmrm_sample
from regap.interventions.defences.hiddendetect import Detector, hiddendetect
from regap.interventions.defences.shiftdc import shiftdc_text
from regap.interventions.edits.shift import GatedShift
from regap.interventions.edits.site import Site

READ, SITE, STRENGTH, BUDGET = 1, 2, 1.5, 0.5
TOKENS = frozenset({5, 17, 40})
State = Callable[[int, str, int], np.ndarray]


@pytest.fixture(scope="module")
def calibration(tiny: Model, tiny_pairs: Pairs) -> DefenceData:
    states = {arm: each.calibration for arm, each in capture(tiny, tiny_pairs).items()}
    drifts = {arm: modality_drift(states["text"], states[arm]) for arm in states if arm != "text"}
    refusal = refusal_direction(states["text"])
    refused = frozenset(states["typographic"].pair_ids[::3])
    known = (READ, BUDGET, TOKENS, refused)
    return DefenceData(Runner(tiny), tiny_pairs, "typographic", states, refusal, drifts, *known)


@pytest.fixture(scope="module")
def asked(tiny_pairs: Pairs) -> list[Any]:
    return [pair.prompts for pair in tiny_pairs.test.where(arm="typographic")]


@pytest.fixture(scope="module")
def state(tiny: Model, asked: list[Any]) -> State:
    """The unedited state of one test prompt, run alone: (prompt, arm, layer) -> float64 vector."""

    def alone(place: int, arm: str, layer: int) -> np.ndarray:
        return run(tiny, collate(tiny, [asked[place][arm]], [0]), [layer]).states[0, 0].double().numpy()

    return alone


def edited(calibration: DefenceData, method: Any, asked: list[Any]) -> np.ndarray:
    """States at the site under the edit, all prompts in one batch."""
    batch = collate(calibration.model, [each["typographic"] for each in asked], range(len(asked)))
    edits = method(calibration, Site((SITE,)))(STRENGTH)
    return run(calibration.model, batch, [SITE], edits).states[:, 0].double().numpy()


def means(calibration: DefenceData, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean harmful and mean harmless text state."""
    states, harmful = calibration.text.at(layer).double().numpy(), calibration.text.harmful.numpy()
    return states[harmful].mean(0), states[~harmful].mean(0)


def test_shiftdc(calibration: DefenceData, asked: list[Any], state: State) -> None:
    found, (harmful, harmless) = edited(calibration, shiftdc_text, asked), means(calibration, SITE)
    axis = harmless - harmful  # safe minus unsafe, as ShiftDC has it
    for place in range(len(asked)):
        image, words = (state(place, arm, SITE) for arm in ("typographic", "text"))
        shift = image - words
        expected = image - STRENGTH * axis * (shift @ axis) / (axis @ axis)
        assert np.allclose(found[place], expected, atol=1e-3)
        assert not np.allclose(image, expected, atol=1e-3)


def test_cmrm(calibration: DefenceData, asked: list[Any], state: State) -> None:
    found = edited(calibration, cmrm_sample, asked)
    for place in range(len(asked)):
        image, empty, words = (state(place, arm, SITE) for arm in ("typographic", "blank", "text"))
        assert np.allclose(found[place], image - STRENGTH * (empty - words), atol=1e-3)


def test_adasteer(calibration: DefenceData, asked: list[Any], state: State) -> None:
    [edit] = adasteer(calibration, Site((SITE,)))(STRENGTH)
    assert isinstance(edit, GatedShift) and isinstance(edit.rule, ClippedLine)
    rule = edit.rule
    harmful, harmless = means(calibration, READ)
    axis = harmless - harmful
    unit = axis / np.linalg.norm(axis)

    def position(vector: np.ndarray) -> float:
        return 100 * float((vector - harmful) @ unit) / float(np.linalg.norm(axis))

    seen = [position(each) for each in calibration.image.at(READ).double().numpy()]
    is_harmful = calibration.image.harmful.numpy()
    below = np.array(seen) < rule.start
    assert below[~is_harmful].mean() <= BUDGET
    found, at_site = edited(calibration, adasteer, asked), means(calibration, SITE)
    pushed = []
    for place in range(len(asked)):
        at = position(state(place, "typographic", READ))
        coefficient = min(max(rule.slope * (at - rule.start), -1.0), 0.0)
        expected = state(place, "typographic", SITE) + STRENGTH * coefficient * (at_site[1] - at_site[0])
        assert np.allclose(found[place], expected, atol=1e-3)
        pushed.append(coefficient)
    assert len(set(pushed)) > 1


def test_adasteer_with_both_terms(calibration: DefenceData, asked: list[Any], state: State) -> None:
    first, second = adasteer_both(calibration, Site((SITE,)))(STRENGTH)
    assert isinstance(second, GatedShift) and isinstance(second.rule, ClippedLine)
    is_harmful, answered = calibration.image.harmful.numpy(), calibration.answered.numpy()
    assert 0 < (~answered).sum() < len(answered)

    def answered_means(layer: int) -> tuple[np.ndarray, np.ndarray]:
        images = calibration.image.at(layer).double().numpy()
        return images[is_harmful & answered].mean(0), images[~is_harmful & answered].mean(0)

    harmful, harmless = answered_means(READ)
    axis = harmless - harmful
    at_site, texts = answered_means(SITE), means(calibration, SITE)
    refusal, harm = texts[1] - texts[0], at_site[1] - at_site[0]
    harm = harm - (harm @ refusal) / (refusal @ refusal) * refusal
    assert abs(harm @ refusal) < 1e-8
    found = edited(calibration, adasteer_both, asked)
    alone = edited(calibration, adasteer, asked)
    coefficients = []
    for place in range(len(asked)):
        at = 100 * float((state(place, "typographic", READ) - harmful) @ axis) / float(axis @ axis)
        coefficients.append(min(max(second.rule.slope * (at - second.rule.start), -1.0), 0.0))
        assert np.allclose(found[place], alone[place] + STRENGTH * coefficients[-1] * harm, atol=1e-3)
    assert len(set(coefficients)) > 1
    assert isinstance(first, GatedShift) and first.identity != second.identity


def test_cast(calibration: DefenceData, asked: list[Any], state: State) -> None:
    [edit] = cast(calibration, Site((SITE,)))(STRENGTH)
    assert isinstance(edit, GatedShift) and isinstance(edit.rule, SimilarityCondition)
    rule = edit.rule
    condition = rule.vector.numpy()[:, None]
    projection = condition @ condition.T / (condition.T @ condition).item()

    def similarity(vector: np.ndarray) -> float:
        other = np.tanh(projection @ vector)
        return float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other))

    seen = np.array([similarity(each) for each in calibration.image.at(READ).double().numpy()])
    is_harmful = calibration.image.harmful.numpy()
    reached = f1_score(is_harmful, rule.sign * seen > rule.sign * rule.threshold)
    cuts = [(sign, cut) for sign in (1, -1) for cut in seen]
    tried = [f1_score(is_harmful, sign * seen > sign * cut, zero_division=0.0) for sign, cut in cuts]
    assert reached == pytest.approx(max(tried))
    found, at_site = edited(calibration, cast, asked), means(calibration, SITE)
    for place in range(len(asked)):
        above = rule.sign * (similarity(state(place, "typographic", READ)) - rule.threshold) > 0
        expected = state(place, "typographic", SITE) + STRENGTH * above * (at_site[0] - at_site[1])
        assert np.allclose(found[place], expected, atol=1e-3)


def test_hiddendetect(calibration: DefenceData, asked: list[Any], state: State) -> None:
    """The trapezoid of cosines between logits, made here from the weights, and the one-hot sum of refusal tokens."""
    [edit] = hiddendetect(calibration, Site((SITE,)))(STRENGTH)
    assert isinstance(edit, GatedShift) and isinstance(edit.rule, Detector)
    text = calibration.model.hf.config.text_config
    weights = {name: each.detach().double().numpy() for name, each in calibration.model.hf.named_parameters()}
    [norm] = [each for name, each in weights.items() if "language_model.norm" in name]
    [head] = [each for name, each in weights.items() if "lm_head" in name]
    wanted = np.array([1.0 if token in TOKENS else 0.0 for token in range(len(head))])

    def evidence(vector: np.ndarray) -> float:
        logits = head @ (norm * vector / np.sqrt((vector**2).mean() + text.rms_norm_eps))
        return float(logits @ wanted / np.linalg.norm(logits) / np.linalg.norm(wanted))

    gaps = []
    for layer in calibration.text.layers:
        seen = np.array([evidence(each) for each in calibration.text.at(layer).double().numpy()])
        is_harmful = calibration.text.harmful.numpy()
        gaps.append(seen[is_harmful].mean() - seen[~is_harmful].mean())
    above = [layer for layer, gap in enumerate(gaps) if gap > gaps[-1]]
    first, last = (above[0], max(above[-1], above[0] + 1)) if above else (len(gaps) - 2, len(gaps) - 1)
    assert edit.rule.layers == edit.read_layers == tuple(range(first, last + 1))

    def score(vectors: list[np.ndarray]) -> float:
        values = [evidence(each) for each in vectors]
        return sum((left + right) / 2 for left, right in pairwise(values))

    images = calibration.image.where(label="harmless")
    by_layer = [images.at(layer).double().numpy() for layer in edit.read_layers]
    harmless = [score([each[row] for each in by_layer]) for row in range(len(images))]
    assert np.mean([each > edit.rule.threshold for each in harmless]) <= BUDGET
    found, at_site = edited(calibration, hiddendetect, asked), means(calibration, SITE)
    opened = []
    for place in range(len(asked)):
        alone = [state(place, "typographic", layer) for layer in edit.read_layers]
        opened.append(score(alone) > edit.rule.threshold)
        expected = state(place, "typographic", SITE) + STRENGTH * opened[-1] * (at_site[0] - at_site[1])
        assert np.allclose(found[place], expected, atol=1e-3)
    assert any(opened)


def test_astra(calibration: DefenceData, asked: list[Any], state: State) -> None:
    found = edited(calibration, astra, asked)
    drift = calibration.drifts["typographic"]
    vector, reference = drift.at(SITE).numpy(), drift.text_mean[SITE].numpy()
    images = calibration.image.at(SITE).double().numpy()
    unit = np.linalg.norm(vector) / np.linalg.norm(images, axis=-1).mean()
    for place in range(len(asked)):
        alone = state(place, "typographic", SITE)
        offset = alone - reference
        along = offset @ vector / np.linalg.norm(offset) / np.linalg.norm(vector)
        moved = STRENGTH * unit * min(max(along, 0.0), 1.0) * np.linalg.norm(alone)
        assert np.allclose(found[place], alone - moved * vector / np.linalg.norm(vector), atol=1e-3)


def test_one_prompt_alone_is_no_other(asked: list[Any], state: State) -> None:
    """The oracle itself can fail: states of unlike prompts differ by far more than its tolerance."""
    assert not np.allclose(state(0, "typographic", SITE), state(1, "typographic", SITE), atol=1e-2)
