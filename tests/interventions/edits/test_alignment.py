"""A map moves what its site names to where it says, and nothing else; with the mean alone it is the shift."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from regap.errors import ConfigError, ModelError, PackError
from regap.geometry.alignment import MAPS
from regap.geometry.data.pairs import Pairs
from regap.geometry.drift import modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.models.loading import Model
from regap.geometry.states.token_states import TokenStates
from regap.interventions.edits.alignment import Alignment, alignment
from regap.interventions.edits.shift import shift
from regap.interventions.edits.site import Site
from regap.interventions.edits.stored import load_edit
from regap.interventions.packs.pack import Pack, PackSource, read_pack, readme, write_pack
from regap.interventions.packs.protection import protected

LAYER = 1


@pytest.fixture(scope="module")
def every(tiny: Model, tiny_pairs: Pairs) -> Mapping[str, TokenStates]:
    arms = ["text", "typographic"]
    return capture(tiny, tiny_pairs.calibration, arms, layers=[LAYER], position="all")


@pytest.fixture(scope="module")
def found(every: Mapping[str, TokenStates]) -> Mapping[str, Alignment]:
    return {kind: alignment(every["typographic"], every["text"], LAYER, kind) for kind in MAPS}


def image_tokens(states: TokenStates) -> torch.Tensor:
    return torch.cat(
        [
            each[torch.tensor([one.role == "image" for one in own])]
            for own, each in zip(states.tokens, states.at(LAYER), strict=True)
        ]
    )


def test_the_mean_alone_is_the_shift_by_the_drift_between_the_roles(
    tiny: Model, tiny_pairs: Pairs, found: Mapping[str, Alignment]
) -> None:
    asked = tiny_pairs.calibration
    text = capture(tiny, asked, "text", position="request")["text"]
    image = capture(tiny, asked, "typographic", position="image")["typographic"]
    removed = shift(modality_drift(text, image), [LAYER], 0.5)
    states = {
        name: capture(tiny, tiny_pairs.test, "typographic", edits=edit)["typographic"].residuals
        for name, edit in {"shift": removed, **{kind: each.at(0.5) for kind, each in found.items()}}.items()
    }
    assert torch.allclose(states["mean"], states["shift"], atol=1e-4)
    for kind in ("diagonal", "gaussian"):  # the same check fails where the spread is mapped too
        assert not torch.allclose(states[kind], states["shift"], atol=1e-2)


def test_image_tokens_get_the_mean_and_the_spread_of_the_request_and_no_other_token_moves(
    tiny: Model, tiny_pairs: Pairs, every: Mapping[str, TokenStates], found: Mapping[str, Alignment]
) -> None:
    edit = found["gaussian"]
    moved = capture(tiny, tiny_pairs.calibration, "typographic", edits=edit, layers=[LAYER], position="all")
    before, after = every["typographic"], moved["typographic"]
    for own, old, new in zip(before.tokens, before.at(LAYER), after.at(LAYER), strict=True):
        other = torch.tensor([token.role != "image" for token in own])
        assert torch.equal(old[other], new[other])
    assert torch.allclose(image_tokens(after).double().mean(0), edit.target[0], atol=1e-3)
    expected = edit.target[0] + (image_tokens(before).double() - edit.source[0]) @ edit.matrix[0].T
    assert torch.allclose(image_tokens(after).double(), expected, atol=1e-3)


def test_strength_0_changes_nothing_and_one_half_goes_half_way(
    tiny: Model, tiny_pairs: Pairs, every: Mapping[str, TokenStates], found: Mapping[str, Alignment]
) -> None:
    def at(strength: float) -> torch.Tensor:
        edits = found["gaussian"].at(strength)
        states = capture(
            tiny, tiny_pairs.calibration, "typographic", edits=edits, layers=[LAYER], position="all"
        )
        return image_tokens(states["typographic"])

    assert torch.equal(at(0.0), image_tokens(every["typographic"]))
    assert torch.allclose(at(0.5), (at(0.0) + at(1.0)) / 2, atol=1e-4)


def test_a_map_is_stored_and_packed_whole(
    tiny: Model,
    plain: Any,
    found: Mapping[str, Alignment],
    source: PackSource,
    packs: dict[str, Pack],
    tmp_path: Path,
) -> None:
    edit = found["gaussian"]
    back = load_edit(edit.save(tmp_path / "edit"), tiny)
    assert back.identity == edit.identity and back.model == tiny.fingerprint
    assert all(
        torch.equal(getattr(back, name), getattr(edit, name)) for name in ("source", "target", "matrix")
    )
    pack = Pack.of("tiny", packs["fixed"].card.model, replace(edit, model=""), source)
    again = read_pack(write_pack(pack, tmp_path / "pack"))
    assert again.edit.identity == edit.identity
    assert "1 × of the way to where the map gaussian takes it, at layers 1 " in readme(again)


def test_a_plain_model_under_it_answers_as_the_bridge_does(
    tiny: Model,
    plain: Any,
    pictured: Any,
    found: Mapping[str, Alignment],
    source: PackSource,
    packs: dict[str, Pack],
) -> None:
    from regap.geometry.forward.prefix import run

    edit = replace(found["diagonal"], model="")
    pack = Pack.of("tiny", packs["fixed"].card.model, edit, source)
    expected = run(tiny, pictured, [3], [edit]).logits
    with protected(plain, pack), torch.inference_mode():
        logits = plain(**pictured.inputs).logits[:, -1]
    assert torch.allclose(logits, expected, atol=1e-4)
    with torch.inference_mode():
        assert not torch.allclose(plain(**pictured.inputs).logits[:, -1], expected, atol=1e-2)


def test_what_does_not_fit_is_said(
    tiny: Model,
    tiny_pairs: Pairs,
    every: Mapping[str, TokenStates],
    found: Mapping[str, Alignment],
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigError, match="kind is 'cubic'; choose one of mean, diagonal, gaussian"):
        alignment(every["typographic"], every["text"], LAYER, "cubic")
    edit = found["gaussian"]
    with pytest.raises(ValueError, match="give one row of source, target and matrix for each layer"):
        replace(edit, site=Site((1, 2), "image"))
    with pytest.raises(ValueError, match="strength is nan; give one finite number"):
        edit.at(float("nan"))
    few = tiny_pairs.test.first(1)
    with pytest.raises(ModelError, match="map 'gaussian' was made on another model"):
        capture(tiny, few, "typographic", edits=replace(edit, model="other"))
    narrow = replace(
        edit, source=edit.source[:, :2], target=edit.target[:, :2], matrix=edit.matrix[:, :2, :2]
    )
    with pytest.raises(ModelError, match="map 'gaussian' are 2 wide"):
        capture(tiny, few, "typographic", edits=narrow)
    with pytest.raises(PackError, match="made on another model"):
        load_edit(edit.save(tmp_path), "another")
