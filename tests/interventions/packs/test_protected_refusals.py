"""What a protected model refuses, and which models a pack refuses: one line, and nothing is attached."""

import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from regap.errors import ModelError, PackError
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.models.identity import identity_of
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.packs.pack import Pack, PackSource
from regap.interventions.packs.protection import protected

GREEDY: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt_lookup_num_tokens": 2}, "prompt_lookup_num_tokens cannot be used while the model is protected"),
    ({"guidance_scale": 2.0}, "guidance_scale cannot be used"),
    ({"penalty_alpha": 0.6, "top_k": 4}, "penalty_alpha cannot be used"),
    ({"custom_generate": print}, "custom_generate cannot be used"),
    ({"cache_implementation": "paged"}, "'paged' cannot be used"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_is_not_a_prompt_and_its_answer_is_refused(
    options: dict[str, Any], message: str, model: Any, packs: dict[str, Pack], words: Batch
) -> None:
    with protected(model, packs["fixed"]), pytest.raises(ModelError, match=message):
        model.generate(**words.inputs, **GREEDY, **options)


def test_padding_on_the_right_and_packed_batches_are_refused(
    model: Any, packs: dict[str, Pack], words: Batch
) -> None:
    flipped = {name: value.flip(1) for name, value in words.inputs.items()}
    with protected(model, packs["fixed"]):
        for run in (model, model.generate):
            with pytest.raises(ModelError, match="padded on the right"):
                run(**flipped)
        with pytest.raises(ModelError, match="generate_batch cannot be used"):
            model.generate_batch([[1, 2]])


def other(plain: Any, change: Callable[[Any], None]) -> Any:
    copied = deepcopy(plain)
    change(copied)
    return copied


def smaller(model: Any) -> None:
    model.model.language_model.layers = model.model.language_model.layers[:3]
    model.config.text_config.num_hidden_layers = 3


def fine_tuned(model: Any) -> None:
    with torch.no_grad():
        model.model.language_model.layers[3].mlp.up_proj.weight[0, 0] += 1e-3


OTHERS: list[tuple[str, Callable[[Any], Any]]] = [
    ("its number of blocks is 3, and not 4", smaller),
    ("its number format is bfloat16, and not float32", lambda model: model.to(torch.bfloat16)),
    ("its configuration has digest", lambda model: setattr(model.config.text_config, "rms_norm_eps", 0.1)),
    ("its weights have digest", fine_tuned),
]


@pytest.mark.parametrize(("message", "change"), OTHERS)
def test_another_model_is_refused_before_anything_is_attached(
    message: str, change: Callable[[Any], Any], plain: Any, packs: dict[str, Pack]
) -> None:
    found = other(plain, change)
    before = set(vars(found))
    with pytest.raises(PackError, match=message) as refused, protected(found, packs["fixed"]):
        pass
    assert "\n" not in str(refused.value)
    assert set(vars(found)) == before


def test_a_change_after_a_first_look_is_seen(plain: Any, packs: dict[str, Pack]) -> None:
    found = deepcopy(plain)
    with protected(found, packs["fixed"]):
        pass
    fine_tuned(found)
    with pytest.raises(PackError, match="its weights have digest"), protected(found, packs["fixed"]):
        pass


def test_another_revision_is_refused(
    model: Any, refusal: Direction, shift: Shift, source: PackSource
) -> None:
    made_for = identity_of(model).model_copy(update={"revision": "a" * 40})
    pack = Pack.of("tiny", made_for, shift, source)
    with protected(model, pack):
        pass  # a folder says nothing of a revision: its weights are what counts
    model.config._commit_hash = "b" * 40
    try:
        with pytest.raises(PackError, match=r"its revision is b{40}, and not a{40}"), protected(model, pack):
            pass
    finally:
        del model.config._commit_hash


def test_a_model_under_hooks_is_refused(tiny: Model, packs: dict[str, Pack]) -> None:
    with pytest.raises(ModelError, match="under hooks already"), protected(tiny.hf, packs["fixed"]):
        pass


def test_a_model_is_one_whether_under_hooks_or_not(tiny: Model, plain: Any) -> None:
    assert identity_of(tiny.hf) == identity_of(plain)


def test_positions_that_take_a_processor_are_refused(
    model: Any, drift: Drift, refusal: Direction, source: PackSource
) -> None:
    edit = fixed_correction(drift, Site((1,), "request"), 1.0)
    pack = Pack.of("tiny", identity_of(model), edit, source)
    with (
        pytest.raises(PackError, match="positions 'request', which cannot be found without a processor"),
        protected(model, pack),
    ):
        pass


def test_neither_transformer_lens_nor_the_loader_is_imported() -> None:
    program = "import sys; from regap import protect, protected, unprotect; "
    program += "print('regap.interventions.packs.protection' in sys.modules, *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    seen = done.stdout.split()
    assert seen[0] == "True"
    assert not {
        "transformer_lens",
        "regap.geometry.models.loading",
        "regap.geometry.models.bridge",
        "pandas",
    } & set(seen)
