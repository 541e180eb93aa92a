"""Protection in a server: threads, models that run elsewhere, a record of the gate, and edits without a pack."""

from threading import Barrier, Thread
from typing import Any

import pytest
import torch

import regap
from regap.errors import ModelError, PackError
from regap.geometry.drift import Drift
from regap.geometry.forward.hooks import Edit
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.function import edit as edit_of_function
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import shift as drift_shift
from regap.interventions.packs.pack import Pack
from regap.interventions.packs.protection import protect, protected, protection_record, unprotect
from regap.interventions.plain_models.attached import KEPT_AS

GREEDY: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}


def test_two_threads_never_leave_wrappers_behind(model: Any, packs: dict[str, Pack], words: Batch) -> None:
    """One wins, the others are refused, whatever the order, and the model is as it was."""
    bare = model.generate(**words.inputs, **GREEDY)
    count, told = 6, list[str]()
    start = Barrier(count)

    def protect_for_a_while() -> None:
        start.wait()
        try:
            with protected(model, packs["fixed"]):
                told.append("protected")
        except ModelError as error:
            told.append(str(error))

    for _ in range(3):
        threads = [Thread(target=protect_for_a_while) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not {"forward", "generate", KEPT_AS} & set(vars(model))
    assert "protected" in told and len(told) == 3 * count
    assert all(each == "protected" or "already" in each for each in told)
    assert torch.equal(model.generate(**words.inputs, **GREEDY), bare)


def test_the_gate_s_record_is_that_of_the_prompts(
    model: Any, packs: dict[str, Pack], pictured: Batch, strengths: dict[str, list[float]]
) -> None:
    for kind in ("regap", "single", "fixed"):
        with protected(model, packs[kind]):
            assert protection_record(model) == ()
            model.generate(**pictured.inputs, **GREEDY)
            found = protection_record(model)
        assert [one.strength for one in found] == pytest.approx(strengths[kind], abs=1e-4)
        assert [one.fired for one in found] == [strength > 0 for strength in strengths[kind]]
        assert all((one.signal is None) == (kind == "fixed") for one in found)
    with pytest.raises(ModelError, match="nothing is recorded"):
        protection_record(model)


def test_a_model_whose_blocks_are_not_run_is_refused(
    plain: Any, packs: dict[str, Pack], words: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was compiled: what it once computed comes back, whatever hooks its blocks have."""
    with torch.no_grad():
        kept = plain(**words.inputs)
    monkeypatch.setattr(plain, "forward", lambda **inputs: kept)  # noqa: ARG005
    with pytest.raises(ModelError, match="does not reach the logits"), protected(plain, packs["fixed"]):
        pass
    assert KEPT_AS not in vars(plain)


def test_a_compiled_model_is_protected_or_refused(
    plain: Any, packs: dict[str, Pack], words: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with protected(plain, packs["fixed"]):
        expected = plain.generate(**words.inputs, **GREEDY)
    monkeypatch.setattr(plain, "forward", torch.compile(plain.forward, backend="eager"))
    with torch.no_grad():
        for _ in range(2):
            plain(**words.inputs)
    try:
        with protected(plain, packs["fixed"]):
            assert torch.equal(plain.generate(**words.inputs, **GREEDY), expected)
    except ModelError as refused:
        assert "does not reach the logits" in str(refused)


def test_weights_that_change_under_protection_are_refused(
    plain: Any, packs: dict[str, Pack], words: Batch
) -> None:
    from copy import deepcopy

    changed = deepcopy(plain)
    protect(changed, packs["regap"])
    with torch.no_grad():
        changed.model.language_model.layers[3].mlp.up_proj.weight[0, 0] += 1e-3
    with pytest.raises(
        ModelError, match=r"were changed while it is protected .*; unprotect\(model\), and do it again"
    ):
        changed.generate(**words.inputs, **GREEDY)
    unprotect(changed)
    with pytest.raises(PackError, match="its weights have digest"):
        protect(changed, packs["regap"])
    with protected(changed, packs["regap"], any_model=True):
        changed.generate(**words.inputs, **GREEDY)
    other = changed.to(torch.bfloat16)
    with protected(other, packs["fixed"], any_model=True):
        other.generate(**words.inputs, **GREEDY)


def test_any_edit_can_be_on_a_plain_model(
    model: Any, packs: dict[str, Pack], edits: dict[str, Edit], pictured: Batch
) -> None:
    for kind, one in edits.items():
        assert isinstance(one, ReGap) or kind == "fixed"
        with protected(model, packs[kind]):
            expected = model.generate(**pictured.inputs, **GREEDY)
        with one.on(model):  # type: ignore[attr-defined]
            assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
            with pytest.raises(ModelError, match="the model is edited already"):
                protect(model, packs[kind])


def test_a_function_does_what_the_shift_does(model: Any, drift: Drift, tiny: Model, pictured: Batch) -> None:
    vector = 3.0 * drift.at(1)

    def without(states: torch.Tensor) -> torch.Tensor:
        moved = states.clone()
        moved[:, -1] -= vector.to(states)
        return moved

    with drift_shift(drift, layers=[1], strength=3.0).on(model):
        expected = model.generate(**pictured.inputs, **GREEDY)
    function = regap.edit(without, layers=[1])
    with function.on(model):
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
    assert function.only_last and function.identity == regap.edit(without, layers=[1]).identity
    with pytest.raises(PackError, match="is a function and cannot be saved"):
        function.save("somewhere")


WRONG = {
    "changes other tokens; change": lambda states: states + 1,
    "returns .* torch.float64 for states": lambda states: states.double(),
    r"returns \[2, 3, 1\]": lambda states: states[..., :1],
    "returns NoneType": lambda states: None,  # noqa: ARG005
}


@pytest.mark.parametrize(("message", "function"), WRONG.items())
def test_a_function_that_does_not_fit_is_refused_before_it_is_used(
    message: str, function: Any, tiny: Model, words: Batch, unchecked: None
) -> None:
    with pytest.raises(ModelError, match=message):
        edit_of_function(function, layers=[1]).hooks(tiny, words)


def test_vectors_of_another_width_are_refused_and_never_spread_out(
    tiny: Model, words: Batch, drift: Drift, unchecked: None
) -> None:
    from dataclasses import replace

    right = drift_shift(drift, layers=[1])
    with pytest.raises(ModelError, match=r"are 1 wide, and the residual stream of model .* is 32 wide"):
        replace(right, vectors=torch.ones(1, 1)).hooks(tiny, words)
    with pytest.raises(ValueError, match="give real numbers"):
        replace(right, vectors=torch.ones(1, 32, dtype=torch.long))
