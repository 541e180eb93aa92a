"""Capture reads the last prompt token of every pair, and what is kept on disk is never wrong, partial or stale."""

import errno
import gc
import os
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from regap.errors import ModelError, PairError, StoreError
from regap.geometry import files
from regap.geometry.data.pairs import Pair, Pairs, Picture, Prompt
from regap.geometry.files import write_whole
from regap.geometry.forward.capture import capture
from regap.geometry.forward.pending_states import start_capture
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.batch import collate
from regap.geometry.states.activations import Activations
from regap.geometry.states.index import model_folder
from regap.geometry.states.store import ShardKey, Store, write_tensors
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.organism.checkpoint import build_processor

SHIFT = Shift(Site((1,)), torch.linspace(-1, 1, 32, dtype=torch.float64)[None], 1.0, "planted")


class Killed(Exception):
    """Stands for a run that is cut off."""


class Counted:
    """Counts the forward passes of the model."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes = 0
        monkeypatch.setattr("regap.geometry.forward.capture.start_capture", self)

    def __call__(self, *arguments: Any) -> Any:
        self.passes += 1
        return start_capture(*arguments)


def same(one: dict[str, Activations], other: dict[str, Activations]) -> bool:
    return all(torch.equal(one[arm].residuals, other[arm].residuals) for arm in one)


def with_picture(pairs: Pairs, data: bytes) -> Pairs:
    first, *rest = pairs.pairs
    prompts = {**first.prompts, "typographic": Prompt(first.prompts["typographic"].text, (Picture(data),))}
    return Pairs((replace(first, prompts=prompts), *rest))


def png(size: tuple[int, int], color: str) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def test_rows_are_the_pairs_in_their_order_whatever_the_batches(tiny: Model, tiny_pairs: Pairs) -> None:
    whole, split = (
        capture(Runner(tiny, Limits(prompts=64)), tiny_pairs),
        capture(Runner(tiny, Limits(prompts=5)), tiny_pairs),
    )
    assert list(whole) == ["text", "typographic", "blank"]
    for arm, states in whole.items():
        assert states.pair_ids == [pair.pair_id for pair in tiny_pairs]
        assert states.harmful.tolist() == [pair.label == "harmful" for pair in tiny_pairs]
        assert torch.allclose(states.residuals, split[arm].residuals, atol=1e-5)
        for place in (0, 13):
            alone = run(tiny, collate(tiny, [tiny_pairs.pairs[place].prompts[arm]], [0]), range(4))
            assert torch.allclose(states.residuals[place], alone.states[0], atol=1e-5)


def test_only_pairs_that_have_the_arm_are_captured(tiny: Model, tiny_pairs: Pairs) -> None:
    first, *rest = tiny_pairs.pairs
    partly = Pairs((replace(first, prompts={"text": first.prompts["text"]}), *rest))
    found = capture(tiny, partly, ["text", "blank"])
    assert (len(found["text"]), len(found["blank"])) == (24, 23)
    with pytest.raises(PairError, match="no pair has arm=caption"):
        capture(tiny, partly, ["text", "caption"])


def test_chosen_layers_are_those_layers(tiny: Model, tiny_pairs: Pairs) -> None:
    every, chosen = (
        capture(tiny, tiny_pairs, ["text"])["text"],
        capture(tiny, tiny_pairs, ["text"], layers=(3, 1))["text"],
    )
    assert (
        chosen.layers == (3, 1)
        and torch.equal(chosen.at(3), every.at(3))
        and torch.equal(chosen.at(1), every.at(1))
    )
    with pytest.raises(ModelError, match="layer 4 is not in model"):
        capture(tiny, tiny_pairs, ["text"], layers=(4,))


def test_states_under_an_edit_are_those_of_an_edited_pass(tiny: Model, tiny_pairs: Pairs) -> None:
    plainly = capture(tiny, tiny_pairs, ["text"])["text"]
    edited = capture(tiny, tiny_pairs, ["text"], edits=[SHIFT])["text"]
    assert edited.edits == (SHIFT.identity,) and plainly.edits == ()
    assert torch.equal(edited.at(0), plainly.at(0))
    assert torch.allclose(edited.at(1), plainly.at(1) - SHIFT.vectors[0].float(), atol=1e-6)
    assert float((edited.at(3) - plainly.at(3)).abs().max()) > 0.01


def test_unusual_pictures_reach_the_model(tiny: Model, tiny_pairs: Pairs) -> None:
    for size in ((1, 1), (1, 40), (300, 7)):
        states = capture(tiny, with_picture(tiny_pairs, png(size, "red")), ["typographic"])["typographic"]
        assert bool(torch.isfinite(states.residuals).all())


def test_a_run_that_is_killed_goes_on_and_ends_in_the_same_bits_and_bytes(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = capture(Runner(tiny, Limits(prompts=5), store=str(tmp_path / "whole")), tiny_pairs)
    counted = Counted(monkeypatch)

    def kill(done: int) -> None:
        if counted.passes == 7:
            raise Killed

    with pytest.raises(Killed):
        capture(Runner(tiny, Limits(prompts=5), store=tmp_path / "cut", track=lambda *_: kill), tiny_pairs)
    assert counted.passes == 7
    again = capture(Runner(tiny, Limits(prompts=5), store=tmp_path / "cut"), tiny_pairs)
    assert counted.passes == 15 and same(
        again, whole
    )  # five batches in each of three arms, none of them twice
    once_more = capture(Runner(tiny, Limits(prompts=5), store=tmp_path / "cut"), tiny_pairs)
    assert same(once_more, whole) and counted.passes == 15
    one, other = ({p.relative_to(top): p.read_bytes() for p in top.rglob("*") if p.is_file()} for top in
                  (tmp_path / "whole", tmp_path / "cut"))  # fmt: skip
    assert one == other and len(one) == 15 + 3  # and an index in each arm


def test_shards_are_safetensors_that_say_what_they_hold(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    states = capture(Runner(tiny, store=tmp_path), tiny_pairs, ["text"], edits=[SHIFT])["text"]
    (path,) = tmp_path.rglob("*.safetensors")
    assert path.suffix == ".safetensors" and path.parent == tmp_path / model_folder(tiny.fingerprint) / "text"
    with safe_open(path, framework="pt") as file:
        header, residuals = file.metadata(), file.get_tensor("residuals")
    assert header["position"] == "last" and header["hook"] == "blocks.{layer}.hook_out"
    assert header["model"] == tiny.fingerprint and SHIFT.identity in header["edits"]
    assert sorted(residuals.flatten().tolist()) == sorted(states.residuals.flatten().tolist())


@pytest.mark.parametrize(
    "damage", ["empty", "truncated", "garbage", "one bit", "other tensors", "other shape"]
)
def test_a_damaged_shard_is_computed_anew(
    damage: str, tiny: Model, tiny_pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = capture(Runner(tiny, store=tmp_path), tiny_pairs, ["text"])
    (path,) = tmp_path.rglob("*.safetensors")
    data = path.read_bytes()
    if damage.startswith("other"):
        name = "residuals" if damage == "other shape" else "something"
        write_tensors(path, {name: torch.zeros(24, 4, 8)}, {})
    else:
        spoilt = {"empty": b"", "truncated": data[:-9], "garbage": b"no tensors at all" * 9}
        path.write_bytes(spoilt.get(damage, data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]))
    counted = Counted(monkeypatch)
    with pytest.warns(UserWarning, match="is damaged; it is computed again"):
        again = capture(Runner(tiny, store=tmp_path), tiny_pairs, ["text"])
    assert same(again, whole)
    assert counted.passes == 1 and path.read_bytes() == data
    capture(Runner(tiny, store=tmp_path), tiny_pairs, ["text"])
    assert counted.passes == 1


@pytest.mark.parametrize(
    "what",
    ["nothing", "weights", "template", "image settings", "prompt", "image", "edit", "strength", "layers"],
)
def test_nothing_is_served_that_was_made_from_something_else(
    what: str, tiny: Model, plain: Any, tiny_pairs: Pairs, tiny_architecture: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def states(model: Model, pairs: Pairs, edit: Shift, layers: tuple[int, ...], store: Path | None) -> Any:
        return capture(Runner(model, store=store), pairs, ["typographic"], edits=[edit], layers=layers)[
            "typographic"
        ].residuals

    states(tiny, tiny_pairs, SHIFT, (0, 1, 2, 3), tmp_path)
    other, processor = deepcopy(plain), build_processor(tiny_architecture)
    pairs, edit, layers = tiny_pairs, SHIFT, (0, 1, 2, 3)
    if what == "weights":
        with torch.no_grad():
            other.model.language_model.layers[1].mlp.down_proj.weight[3, 3] += 1
    elif what == "template":
        processor.chat_template = str(processor.chat_template).replace("' assistant:'", "' assistant: sure'")
    elif what == "image settings":
        processor.image_processor.image_mean = [0.1, 0.2, 0.3]
    elif what == "prompt":
        first, *rest = pairs.pairs
        shown = first.prompts["typographic"]
        prompts = {**first.prompts, "typographic": Prompt(f"sure {shown.text}", shown.pictures)}
        pairs = Pairs((replace(first, prompts=prompts), *rest))
    elif what == "image":
        pairs = with_picture(pairs, png((72, 72), "green"))
    elif what == "edit":
        edit = replace(SHIFT, site=Site((2,)))
    elif what == "strength":
        edit = SHIFT.at(1.0001)
    elif what == "layers":
        layers = (3, 2, 1, 0)
    model = load(other, processor=processor)
    counted = Counted(monkeypatch)
    found = states(model, pairs, edit, layers, tmp_path)
    assert counted.passes == (0 if what == "nothing" else 1)
    assert torch.equal(found, states(model, pairs, edit, layers, None))


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.mkdir"])
def test_a_full_disk_is_an_error_with_a_remedy_and_leaves_nothing_partial(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_whole(tmp_path / "kept", b"before")
    with monkeypatch.context() as patched:
        patched.setattr(failing, full)
        with pytest.raises(
            StoreError, match=r"no space left for kept in .*; free some and run the same command again"
        ):
            write_whole(tmp_path / "kept", b"after")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"before"}
    write_whole(tmp_path / "kept", b"after")
    assert (tmp_path / "kept").read_bytes() == b"after"


def test_a_disk_that_fills_up_keeps_what_was_finished(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = os.fsync

    def full_after_two(descriptor: int) -> None:
        if counted.passes > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(descriptor)

    counted = Counted(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full_after_two)
        with pytest.raises(StoreError, match="finished parts are kept"):
            capture(Runner(tiny, Limits(prompts=5), store=tmp_path), tiny_pairs, ["text"])
    assert [path.suffix for path in (tmp_path / model_folder(tiny.fingerprint) / "text").iterdir()] == [
        ".safetensors"
    ] * 2
    capture(Runner(tiny, Limits(prompts=5), store=tmp_path), tiny_pairs, ["text"])
    assert counted.passes == 3 + 3


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write .*file/shard: .*; choose another output folder"):
        write_whole(tmp_path / "file" / "shard", b"data")


def test_equal_tensors_and_headers_give_equal_bytes(tmp_path: Path) -> None:
    header = {name: name * 2 for name in "hgfedcba"}
    tensors = {name: torch.arange(3.0) for name in "cab"}
    for number in range(8):
        write_tensors(tmp_path / str(number), tensors, header)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0", framework="pt") as file:
        assert file.metadata().items() > header.items() and torch.equal(file.get_tensor("b"), tensors["b"])


def test_a_shard_is_what_was_written_under_its_key(tmp_path: Path) -> None:
    key = ShardKey("model", (), (0, 1), ("a", "b"))
    residuals = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    shelf = Store(tmp_path)
    assert shelf.read(key) is None
    shelf.write(key, residuals, parts=2)
    found = shelf.read(key)
    assert found and torch.equal(found.residuals, residuals) and found.parts == 2
    for other in (
        replace(key, prompts=("b", "a")),
        replace(key, position="image"),
        replace(key, edits=("e",)),
    ):
        assert shelf.read(other) is None
    with pytest.raises(ValueError, match=r"infinities or NaN; load the model with dtype='float32'"):
        shelf.write(key, residuals / 0)


def test_no_more_than_a_batch_of_whole_residual_streams_is_ever_held(tiny: Model, tiny_pairs: Pairs) -> None:
    """Between batches only last tokens are left; a caller that kept one whole residual stream would be seen."""

    def held(done: int = 0) -> None:
        tensors = [each for each in gc.get_objects() if type(each) is torch.Tensor]
        streams = [each for each in tensors if each.ndim == 3 and each.shape[-1] == 32 and each.shape[1] >= 9]
        seen.append(len(streams))

    seen: list[int] = []
    held()  # what is there of other tests
    capture(Runner(tiny, Limits(prompts=6), track=lambda *_: held), tiny_pairs, ["typographic"])
    assert seen == [seen[0]] * 5
    kept = torch.zeros(6, 16, 32)
    held()
    assert seen[-1] == seen[0] + 1 and not kept.any()


def test_states_check_themselves(tiny: Model, tiny_pairs: Pairs) -> None:
    states = capture(tiny, tiny_pairs, ["text"])["text"]
    with pytest.raises(ValueError, match="residuals of 23 prompts x 4 layers do not fit 24 rows x 4 layers"):
        replace(states, source=states.residuals[:23])
    spoilt = states.residuals.clone()
    spoilt[3, 2, 1] = torch.inf
    with pytest.raises(
        ValueError, match=r"arm text: residual streams hold infinities or NaN; .*dtype='float32'"
    ):
        replace(states, source=spoilt)
    with pytest.raises(PairError, match="arm text: no prompts; choose an arm, split and label"):
        replace(states, source=states.residuals[:0], rows=())


def test_progress_tells_of_every_prompt(tiny: Model, tiny_pairs: Pairs) -> None:
    told: list[int] = []
    capture(Runner(tiny, Limits(prompts=7), track=lambda *_: told.append), tiny_pairs, ["text", "blank"])
    assert sum(told) == 48


def test_a_pair_of_the_world_is_what_it_says(tiny_pairs: Pairs) -> None:
    pair: Pair = tiny_pairs.pairs[0]
    assert (
        set(pair.prompts) == {"text", "typographic", "blank"} and len(tiny_pairs.require_both_labels()) == 24
    )
