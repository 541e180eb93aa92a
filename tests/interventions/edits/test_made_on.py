"""An edit knows the model that it was made on, and is refused on another unless that is asked for."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import regap as rg
from regap.errors import ModelError, PackError
from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.models.loading import Model, load, with_all_hooks
from regap.interventions.edits.regap import ReGap
from regap.interventions.edits.shift import Shift

Edits = dict[str, Any]


@pytest.fixture(scope="module")
def other(plain: Any, tiny: Model) -> Model:
    """A model as large, with other weights."""
    hf = deepcopy(plain)
    with torch.no_grad():
        hf.model.language_model.layers[0].mlp.up_proj.weight[0, 0] += 1
    return load(hf, processor=deepcopy(tiny.processor))


@pytest.fixture
def made(drift: Drift, regap: ReGap) -> Edits:
    return {"shift": rg.shift(drift, 1), "regap": regap}


WAYS: dict[str, Callable[[Model, Pairs, Any], object]] = {
    "capture": lambda model, pairs, edit: rg.capture(model, pairs, "typographic", edits=edit),
    "generate": lambda model, pairs, edit: rg.generate(model, pairs, "typographic", edit, max_new_tokens=2),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["shift", "regap"])
def test_it_is_refused_on_another_model(
    kind: str, way: str, made: Edits, tiny: Model, other: Model, tiny_pairs: Pairs
) -> None:
    few = tiny_pairs.test.first(1)
    WAYS[way](tiny, few, made[kind])
    with pytest.raises(ModelError, match="was made on another model than"):
        WAYS[way](other, few, made[kind])


def test_it_is_used_on_another_model_when_asked(made: Edits, other: Model, tiny_pairs: Pairs) -> None:
    few = tiny_pairs.test.first(1)
    unknown = replace(made["shift"], model="")
    assert unknown.identity == made["shift"].identity
    rg.generate(other, few, "typographic", unknown, max_new_tokens=2)


def test_hooks_do_not_make_another_model(made: Edits, plain: Any, tiny: Model, tiny_pairs: Pairs) -> None:
    again = load(deepcopy(plain), processor=deepcopy(tiny.processor))
    rg.generate(
        with_all_hooks(again), tiny_pairs.test.first(1), "typographic", made["shift"], max_new_tokens=2
    )


@pytest.mark.parametrize("kind", ["shift", "regap"])
def test_it_is_read_for_its_own_model_alone(
    kind: str, made: Edits, tiny: Model, other: Model, tmp_path: Path
) -> None:
    made[kind].save(tmp_path)
    for its_own in (tiny, tiny.fingerprint, ""):
        found = rg.load_edit(tmp_path, its_own)
        assert found.identity == made[kind].identity and found.made_on == tiny.fingerprint
    for another in (other, other.fingerprint):
        with pytest.raises(PackError, match="another model"):
            rg.load_edit(tmp_path, another)
    assert not isinstance(made[kind], Shift) or rg.load_edit(tmp_path).model == tiny.fingerprint


def test_a_gate_is_set_with_vectors_of_its_own_model(
    tiny_pairs: Pairs, other: Model, refusal: Direction, drift: Drift
) -> None:
    with pytest.raises(ModelError, match="the refusal direction was made on another model"):
        rg.calibrate_regap(other, tiny_pairs, refusal, drift, 1)
    with pytest.raises(ModelError, match="the drift was made on another model"):
        rg.calibrate_regap(other, tiny_pairs, replace(refusal, model=""), drift, 1)
