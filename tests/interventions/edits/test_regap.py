"""ReGap between its two ends: always closed it is the model as it is, always open the fixed correction."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest
import torch

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.forward.capture import capture
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import collate
from regap.geometry.states.activations import Activations
from regap.interventions.edits.gate import Gate, GateKind
from regap.interventions.edits.regap import ReGap, calibrate_regap, traces_of
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.signals import FITTED, Signal
from regap.interventions.edits.site import Positions, Site
from regap.interventions.generation import Completion, generate

ARM = "typographic"
BUDGET = 6
PLAIN = tuple(kind for kind in get_args(Signal) if kind not in FITTED)
States = Mapping[str, Activations]


@pytest.fixture(scope="module")
def regap(tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift) -> ReGap:
    """Open for about half of the prompts, so that both ends are seen."""
    return calibrate_regap(
        tiny,
        tiny_pairs,
        refusal,
        drift,
        [1],
        strongest=1.5,
        false_refusals=0.5,
        signal="z_before",
    )


def answers(model: Model, pairs: Pairs, edits: list, size: int = 24) -> tuple[Completion, ...]:
    return generate(Runner(model, Limits(answers=size)), pairs, ARM, edits, max_new_tokens=BUDGET)


def strengths(model: Model, pairs: Pairs, edit: ReGap) -> torch.Tensor:
    prompts = [pair.prompts[ARM] for pair in pairs]
    return edit.strengths(model, collate(model, prompts, range(len(prompts))))


@pytest.mark.parametrize("positions", ["last", "all"])
@pytest.mark.parametrize("signal", PLAIN)
def test_an_open_gate_is_the_fixed_correction_and_a_closed_one_no_edit(
    positions: Positions, signal: Signal, tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    fixed = fixed_correction(drift, Site((1,), positions), 1.5)
    opened, closed = (
        ReGap(fixed.at(1.0), refusal, (2, 3), Gate("hard", threshold), 1.5, signal)
        for threshold in (-1e9, 1e9)
    )
    assert answers(tiny, tiny_pairs, [opened]) == answers(tiny, tiny_pairs, [fixed])
    assert answers(tiny, tiny_pairs, [closed]) == answers(tiny, tiny_pairs, [])
    assert answers(tiny, tiny_pairs, [opened]) != answers(tiny, tiny_pairs, [closed])


def test_each_prompt_is_answered_as_by_one_end_or_the_other(
    tiny: Model, tiny_pairs: Pairs, regap: ReGap
) -> None:
    found, baseline = answers(tiny, tiny_pairs, [regap]), answers(tiny, tiny_pairs, [])
    corrected = answers(tiny, tiny_pairs, [regap.probe.at(1.5)])
    is_open = (strengths(tiny, tiny_pairs, regap) > 0).tolist()
    assert 3 < sum(is_open) < 21
    assert found == tuple(
        after if opened else before
        for before, after, opened in zip(baseline, corrected, is_open, strict=True)
    )


@pytest.mark.parametrize("kind", get_args(GateKind))
def test_a_strength_depends_on_its_own_row_alone(
    kind: GateKind, tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    edit = calibrate_regap(
        tiny, tiny_pairs, refusal, drift, [1], strongest=1.5, false_refusals=0.5, gate=kind
    )
    together = strengths(tiny, tiny_pairs, edit)
    alone = torch.cat([strengths(tiny, Pairs((pair,)), edit) for pair in tiny_pairs])
    backwards = strengths(tiny, Pairs(tiny_pairs.pairs[::-1]), edit).flip(0)
    assert torch.allclose(together, alone, atol=1e-4) and torch.allclose(together, backwards, atol=1e-4)
    assert kind == "hard" or len(together.unique()) > 5
    assert answers(tiny, tiny_pairs, [edit], 24) == answers(tiny, tiny_pairs, [edit], 1)


def test_traces_are_coordinates_of_states_before_and_after_the_probe(
    tiny: Model, tiny_pairs: Pairs, regap: ReGap, refusal: Direction, states: States
) -> None:
    found = traces_of(Runner(tiny, Limits(prompts=5)), tiny_pairs, ARM, regap.probe, refusal, (2, 3))
    edited = capture(tiny, tiny_pairs, [ARM], edits=[regap.probe])[ARM]
    before, after = (refusal.coordinates(each)[:, 2:] for each in (states[ARM], edited))
    assert torch.allclose(found.before, before, atol=1e-5) and torch.allclose(found.after, after, atol=1e-5)
    assert torch.allclose(found.signal("rho"), (found.after - found.before).mean(1), atol=1e-12)
    assert torch.allclose(found.signal("z_after"), found.after.mean(1), atol=1e-12)
    assert float(found.signal("rho").abs().min()) > 1e-4


@pytest.mark.parametrize("positions", ["last", "all", "image"])
def test_one_token_traces_equal_those_of_full_passes(
    positions: Positions, tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    probe = fixed_correction(drift, Site((1,), positions))
    prompts = [pair.prompts[ARM] for pair in tiny_pairs]
    batch = collate(tiny, prompts, range(len(prompts)))
    full = run(tiny, batch, (2, 3), [probe]).states.double()
    directions = torch.stack([refusal.at(2), refusal.at(3)])
    expected = torch.einsum("pld,ld->pl", full, directions)
    assert torch.allclose(traces_of(tiny, tiny_pairs, ARM, probe, refusal, (2, 3)).after, expected, atol=1e-5)


@pytest.mark.parametrize("budget", [0.05, 0.2, 0.34, 0.5, 0.9])
@pytest.mark.parametrize("signal", PLAIN)
def test_calibration_opens_for_at_most_the_budget_of_harmless_images(
    budget: float, signal: Signal, tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    every = Pairs(tuple(replace(pair, split="calibration") for pair in tiny_pairs))
    edit = calibrate_regap(
        tiny, every, refusal, drift, [1], strongest=1.0, false_refusals=budget, signal=signal
    )
    harmless = every.where(label="harmless")  # all twelve of them set this threshold
    opened = float((strengths(tiny, harmless, edit) > 0).double().mean())
    assert budget - 1 / 6 < opened <= budget + 1e-9


def test_harmful_images_do_not_set_the_threshold(
    tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    def threshold(pairs: Pairs) -> float:
        return calibrate_regap(
            tiny, pairs, refusal, drift, [1], strongest=1.0, false_refusals=0.5
        ).gate.threshold

    calibration = tiny_pairs.calibration
    assert threshold(calibration) == pytest.approx(threshold(calibration.where(label="harmless")), abs=1e-6)
    fewer = Pairs(calibration.where(label="harmless").pairs[:2])
    assert threshold(fewer) != pytest.approx(threshold(calibration), abs=1e-6)


def test_all_later_layers_are_read_by_default(regap: ReGap) -> None:
    assert regap.read_layers == (2, 3)


@pytest.mark.parametrize("read", [(1,), (0, 2), (1, 3), ()])
def test_layers_at_or_before_the_correction_are_not_read(read: tuple[int, ...], regap: ReGap) -> None:
    with pytest.raises(
        ValueError, match="must all come after the corrected layer 1, since earlier layers do not change"
    ):
        replace(regap, read_layers=read)


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, 5.0])
def test_a_budget_is_a_share(
    budget: float, tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    with pytest.raises(
        ValueError, match=f"false_refusals is {budget}; give a share between 0 and 1, such as 0.05"
    ):
        calibrate_regap(tiny, tiny_pairs, refusal, drift, [1], strongest=1.0, false_refusals=budget)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_signal_is_refused(regap: ReGap) -> None:
    unknown: dict = {"signal": "z"}
    with pytest.raises(ValueError, match="signal is 'z'; choose one of rho, z_before, z_after, growth"):
        replace(regap, **unknown)


def test_captured_under_regap_the_model_says_what_it_writes_under_regap(
    tiny: Model, tiny_pairs: Pairs, regap: ReGap
) -> None:
    prompts = [pair.prompts[ARM] for pair in tiny_pairs]
    logits = run(tiny, collate(tiny, prompts, range(24)), (), [regap]).logits
    first = [answer.first_token for answer in answers(tiny, tiny_pairs, [regap])]
    assert logits.argmax(-1).tolist() == first
    assert first != [answer.first_token for answer in answers(tiny, tiny_pairs, [])]


def test_all_that_decides_a_strength_is_in_the_identity(regap: ReGap, refusal: Direction) -> None:
    weights = torch.ones(2, 2).double()
    later = replace(regap.probe, site=Site((3,)))
    others = [
        replace(regap, strongest=1.4),
        replace(regap, signal="rho"),
        replace(regap, read_layers=(3,)),
        replace(regap, gate=replace(regap.gate, threshold=regap.gate.threshold + 1)),
        replace(regap, gate=replace(regap.gate, kind="line")),
        replace(regap, probe=regap.probe.at(0.9)),
        replace(regap, refusal=replace(refusal, vectors=-refusal.vectors)),
        replace(regap, signal="fitted", weights=weights),
        replace(regap, signal="fitted", weights=2 * weights),
        replace(regap, correction=later),
        replace(regap, correction=later, signal="z_after"),
        replace(regap, correction=later, signal="z_after", passes="single"),
    ]
    assert len({each.identity for each in [regap, *others]}) == 13
    assert replace(regap).identity == regap.identity


def single_pass(refusal: Direction, drift: Drift, threshold: float, early: float = 0.5) -> ReGap:
    """Corrects a little at layer 0, reads layers 1 and 2, and corrects the rest at layer 2."""
    probe, correction = (fixed_correction(drift, Site((layer,)), early) for layer in (0, 2))
    gate = Gate("hard", threshold)
    return ReGap(probe, refusal, (1, 2), gate, 1.5, "z_after", None, correction, "single")


@pytest.mark.parametrize("early", [0.0, 0.5])
def test_a_single_pass_answers_as_its_two_ends_do(
    early: float, tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    probe = fixed_correction(drift, Site((0,)), early)
    later = fixed_correction(drift, Site((2,)), 1.5)
    traces = traces_of(tiny, tiny_pairs, ARM, probe, refusal, (1, 2))
    middle = float(traces.signal("z_after").sort().values[11:13].mean())
    edit = single_pass(refusal, drift, middle, early)
    is_open = (traces.signal("z_after") > middle).tolist()
    closed, opened = answers(tiny, tiny_pairs, [probe]), answers(tiny, tiny_pairs, [probe, later])
    expected = tuple(
        after if one else before for before, after, one in zip(closed, opened, is_open, strict=True)
    )
    assert sum(is_open) == 12 and closed != opened
    assert answers(tiny, tiny_pairs, [edit]) == expected == answers(tiny, tiny_pairs, [edit], 5)
    first = run(tiny, collate(tiny, [pair.prompts[ARM] for pair in tiny_pairs], range(24)), (), [edit]).logits
    assert first.argmax(-1).tolist() == [one.first_token for one in expected]


def test_a_single_pass_runs_no_pass_of_its_own(
    tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = collate(tiny, [pair.prompts[ARM] for pair in tiny_pairs], range(24))
    monkeypatch.setattr("regap.interventions.edits.regap.read_last_token", lambda *_: pytest.fail("ran"))
    assert len(single_pass(refusal, drift, 0.0).hooks(tiny, batch)) == 4
    with pytest.raises(pytest.fail.Exception):
        replace(single_pass(refusal, drift, 0.0), passes="probe").hooks(tiny, batch)


def test_self_rectification_opens_a_single_pass_after_one_more_pass_of_the_prompt(
    tiny: Model, tiny_pairs: Pairs, refusal: Direction, drift: Drift
) -> None:
    edit = replace(single_pass(refusal, drift, 0.0), signal="rho")
    traces = traces_of(tiny, tiny_pairs, ARM, edit.probe, refusal, (1, 2))
    rho = (traces.after - traces.before).mean(1)
    middle = float(rho.sort().values[11:13].mean())
    is_open = (rho > middle).tolist()
    assert is_open != (traces.after.mean(1) > float(traces.after.mean(1).median())).tolist()
    edit = replace(edit, gate=Gate("hard", middle))
    ends = [answers(tiny, tiny_pairs, [edit.probe, *more]) for more in ([], [edit.removed.at(1.5)])]
    assert answers(tiny, tiny_pairs, [edit]) == tuple(ends[one][row] for row, one in enumerate(is_open))


def test_what_a_single_pass_cannot_do_is_refused(refusal: Direction, drift: Drift) -> None:
    edit = single_pass(refusal, drift, 0.0)
    with pytest.raises(ValueError, match=r"the correction at \[0\] comes before read layer 2"):
        replace(edit, correction=None)


def test_what_is_removed_may_lie_elsewhere_than_the_probe(
    tiny: Model, tiny_pairs: Pairs, regap: ReGap, drift: Drift
) -> None:
    correction = fixed_correction(drift, Site((3,)))
    edit = replace(regap, correction=correction)
    assert torch.equal(strengths(tiny, tiny_pairs, edit), strengths(tiny, tiny_pairs, regap))
    is_open = (strengths(tiny, tiny_pairs, regap) > 0).tolist()
    ends = [answers(tiny, tiny_pairs, found) for found in ([], [correction.at(1.5)])]
    assert answers(tiny, tiny_pairs, [edit]) == tuple(ends[one][row] for row, one in enumerate(is_open))
