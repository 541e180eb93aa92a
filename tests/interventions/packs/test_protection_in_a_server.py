"""Protection in a server: threads, models that run elsewhere, a record of the gate, and edits without a pack."""

from copy import deepcopy
from threading import Barrier, Thread
from typing import Any

import pytest
import torch

import regap
from regap.errors import ModelError, PackError
from regap.geometry.drift import Drift
from regap.geometry.forward.hooks import Edit
from regap.geometry.models.bridge import bridge
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


def test_every_way_to_edit_takes_its_turn(
    model: Any, packs: dict[str, Pack], edits: dict[str, Edit], words: Batch
) -> None:
    """Edits do not nest, and threads that protect, edit and take off by turns leave the model as it was."""
    bare = model.generate(**words.inputs, **GREEDY)
    on: Any = edits["fixed"]
    ways = [lambda: on.on(model), lambda: protected(model, packs["regap"])]
    for outer in ways:
        for inner in ways:
            with outer(), pytest.raises(ModelError, match="already"), inner():
                pass
            assert KEPT_AS not in vars(model)
    start, told = Barrier(6), list[str]()

    def edit(way: Any) -> None:
        start.wait()
        try:
            with way():
                model.generate(**words.inputs, **GREEDY)
        except ModelError as error:
            told.append(str(error))

    def take_off() -> None:
        start.wait()
        with pytest.raises(ModelError, match="neither protected nor edited"):
            while True:
                unprotect(model)

    threads = [Thread(target=edit, args=(ways[place % 2],)) for place in range(5)]
    threads.append(Thread(target=take_off))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("already" in each or "neither protected nor edited" in each for each in told)
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
    with pytest.raises(ModelError, match="there is no record"):
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


def compiled_forward(model: Any) -> None:
    model.forward = torch.compile(model.forward, backend="eager")


def compiled_decoder(model: Any) -> None:
    compiled_forward(model.model.language_model)


def compiled_itself(model: Any) -> None:
    model.compile(backend="eager")


def compiled_block(model: Any) -> None:
    model.model.language_model.layers[2].compile(backend="eager")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", [compiled_forward, compiled_decoder, compiled_itself, compiled_block])
def test_a_model_that_was_compiled_and_has_run_is_refused(
    compiled: Any, plain: Any, packs: dict[str, Pack], edits: dict[str, Edit], words: Batch
) -> None:
    model = deepcopy(plain)
    compiled(model)
    with torch.no_grad():
        before = [model(**words.inputs).logits for _ in range(2)][-1]
    with pytest.raises(ModelError, match="was compiled, so that an edit"), protected(model, packs["fixed"]):
        pass
    with pytest.raises(ModelError, match="was compiled, so that an edit"), edits["fixed"].on(model):  # type: ignore[attr-defined]
        pass
    with pytest.raises(ModelError, match="was compiled, so that an edit"):
        bridge(model)
    assert KEPT_AS not in vars(model)
    with torch.no_grad():
        assert torch.equal(model(**words.inputs).logits, before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ran_before", [True, False])
def test_a_compiled_wrapper_runs_the_edits_of_the_model_in_it(
    ran_before: bool, plain: Any, packs: dict[str, Pack], words: Batch
) -> None:
    """Whether it was compiled before or after: as long as the model is protected, and no longer."""
    model = deepcopy(plain)
    wrapper = torch.compile(model, backend="eager")
    with torch.no_grad():
        bare = model(**words.inputs).logits
        if ran_before:
            assert torch.equal(wrapper(**words.inputs).logits, bare)
        with protected(model, packs["fixed"]):
            expected = model(**words.inputs).logits
            assert torch.equal(wrapper(**words.inputs).logits, expected)
            compiled_forward(model)
            for _ in range(2):
                assert torch.equal(model(**words.inputs).logits, expected)
        assert torch.equal(wrapper(**words.inputs).logits, bare)
    assert not torch.equal(bare, expected)


@pytest.mark.parametrize("compiled", [compiled_decoder, compiled_block])
def test_a_part_that_is_compiled_under_protection_is_told(
    compiled: Any, plain: Any, packs: dict[str, Pack], words: Batch
) -> None:
    model = deepcopy(plain)
    with protected(model, packs["fixed"]):
        compiled(model)
        with pytest.raises(ModelError, match="was compiled, so that an edit"):
            model.generate(**words.inputs, **GREEDY)


def test_a_forward_that_is_replaced_under_protection_is_told(
    plain: Any, packs: dict[str, Pack], words: Batch
) -> None:
    model = deepcopy(plain)
    with protected(model, packs["fixed"]):
        model.forward = plain.forward
        with pytest.raises(ModelError, match="`forward` was replaced while it is protected"):
            model.generate(**words.inputs, **GREEDY)


class Wrapper(torch.nn.Module):
    """A module around the model, as frameworks for serving write them."""

    def __init__(self, model: Any):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, **inputs: Any) -> Any:
        return self.model(**inputs)


def test_a_wrapper_is_refused_and_runs_the_edits_of_the_model_in_it(
    plain: Any, packs: dict[str, Pack], words: Batch
) -> None:
    wrapper = Wrapper(deepcopy(plain))
    with pytest.raises(ModelError, match="give the model itself"):
        protect(wrapper, packs["fixed"], any_model=True)
    with torch.no_grad(), protected(wrapper.model, packs["fixed"]):
        assert torch.equal(wrapper(**words.inputs).logits, wrapper.model(**words.inputs).logits)


def offloaded(model: Any) -> None:
    from accelerate import cpu_offload

    cpu_offload(model, execution_device=torch.device("cpu"))


class Adapter(torch.nn.Module):
    """What LoRA puts in place of a linear map."""

    def __init__(self, base: torch.nn.Linear):
        super().__init__()
        self.base = base
        self.down = torch.nn.Parameter(torch.full((base.in_features, 2), 0.1))
        self.up = torch.nn.Parameter(torch.zeros(2, base.out_features))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.base(states) + states @ self.down @ self.up


def adapted(model: Any) -> None:
    for block in model.model.language_model.layers:
        block.mlp.up_proj = Adapter(block.mlp.up_proj)


@pytest.mark.parametrize("changed", [offloaded, adapted])
@pytest.mark.parametrize("kind", ["fixed", "regap"])
def test_offloaded_and_adapted_models_are_protected_when_asked(
    kind: str, changed: Any, plain: Any, packs: dict[str, Pack], pictured: Batch
) -> None:
    """Neither changes a number here, so that the answers are those of the model itself."""
    with protected(plain, packs[kind]):
        expected = plain.generate(**pictured.inputs, **GREEDY)
        with pytest.raises(ModelError, match="a copy would call the original"):
            deepcopy(plain)
    model = deepcopy(plain)
    changed(model)
    with pytest.raises(PackError, match="any_model=True"):
        protect(model, packs[kind])
    with protected(model, packs[kind], any_model=True):
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
    again = deepcopy(plain)
    protect(again, packs[kind])
    changed(again)
    with pytest.raises(ModelError, match="changed while it was protected"):
        again.generate(**pictured.inputs, **GREEDY)
    unprotect(again)


def test_weights_that_change_under_protection_are_refused(
    plain: Any, packs: dict[str, Pack], words: Batch
) -> None:
    changed = deepcopy(plain)
    protect(changed, packs["regap"])
    with torch.no_grad():
        changed.model.language_model.layers[3].mlp.up_proj.weight[0, 0] += 1e-3
    with pytest.raises(
        ModelError, match=r"changed while it was protected .*; unprotect\(model\), and do it again"
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
    function = regap.edit(without, layers=[1], positions="last")
    with function.on(model):
        assert torch.equal(model.generate(**pictured.inputs, **GREEDY), expected)
    assert (
        function.only_last and function.identity == regap.edit(without, layers=[1], positions="last").identity
    )
    with pytest.raises(PackError, match="is a function and cannot be saved"):
        function.save("somewhere")


def mean_at_the_last(states: torch.Tensor) -> torch.Tensor:
    states[:, -1] = states.mean(1)
    return states


WRONG = {
    "reads other tokens, which are not in a pass": mean_at_the_last,
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
        edit_of_function(function, layers=[1], positions="last").hooks(tiny, words)


def test_vectors_of_another_width_are_refused_and_never_spread_out(
    tiny: Model, words: Batch, drift: Drift, unchecked: None
) -> None:
    from dataclasses import replace

    right = drift_shift(drift, layers=[1])
    with pytest.raises(ModelError, match=r"are 1 wide, and the residual stream of model .* is 32 wide"):
        replace(right, vectors=torch.ones(1, 1)).hooks(tiny, words)
    with pytest.raises(ValueError, match="give real numbers"):
        replace(right, vectors=torch.ones(1, 32, dtype=torch.long))
