"""Every family under our hooks is Hugging Face's own model: states, logits, edits, batches, answers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from parity import HEARD, PROMPTS, Subject, difference, raw_hook, record
from tiny_parts import LAYERS, WIDTH
from torch import Tensor

from regap.errors import ModelError
from regap.geometry.data.pairs import Pair, Pairs
from regap.geometry.forward.batches import batch_rows
from regap.geometry.forward.capture import capture
from regap.geometry.forward.prefix import LastToken, prefill, run, run_last_token
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.prompts.positions import Positions
from regap.interventions.decoding import Decoding
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import _begun, _continue, _from_start

# PaliGemma's processor hands a tensor to numpy in an old way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

EVERY = tuple(range(LAYERS))
VECTOR = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
EXACT = 1e-6
"""Same code, same numbers: both formats."""
RUN_WHOLE = ("paligemma", "mllama", "qwen3_5", "falcon_h1", "mamba2")
"""Families whose prompts are run whole every time: what a pass leaves behind cannot be taken back."""
ROUNDED = {"float32": 1e-4, "bfloat16": 0.1}
"""Same mathematics, other shapes."""


def shift(layer: int, positions: Positions, strength: float = 1.5) -> Shift:
    return Shift(Site((layer,), positions), VECTOR[None], strength, "planted")


def changed(batch: Batch, positions: Positions, strength: float = 1.5) -> Callable[[Tensor], Tensor]:
    """The same edit in PyTorch's own words; generated tokens, one at a time, are let be."""
    first = [True]

    def change(residual: Tensor) -> Tensor:
        if not first[0]:
            return residual
        first[0] = False
        moved = residual.clone()
        where = batch.real.clone()
        if positions == "last":
            where[:, :-1] = False
        moved[where] -= strength * VECTOR.to(residual)
        return moved

    return change


@torch.inference_mode()
def bare(of: Subject, batch: Batch, **options: Any) -> Any:
    return of.bare(**batch.inputs, use_cache=False, **options)


def skipped(of: Subject, kind: str) -> set[int]:
    """Blocks that see the image beside the stream: words alone pass them by."""
    crossing = getattr(of.bare.config.get_text_config(), "cross_attention_layers", None) or []
    return set(crossing) if kind == "words" else set()


def test_states_and_logits_are_hugging_faces(of: Subject) -> None:
    for kind in of.kinds:
        batch = of.batch(kind)
        seen = run(of.model, batch, EVERY)
        expected = bare(of, batch, output_hidden_states=True)
        states = list(expected.hidden_states)
        if of.family == "mamba2":  # its list begins after the first block
            states.insert(0, states[0])
        for layer in sorted(skipped(of, kind)):
            states.insert(layer + 1, states[layer])
        for layer in EVERY[:-1]:  # the last hidden state is after the norm
            record(of, "states", difference(seen.states[:, layer], states[layer + 1][:, -1]))
            assert difference(seen.states[:, layer], states[layer + 1][:, -1]) <= EXACT
        assert difference(seen.states[:, -1], states[-1][:, -1]) > 1e-2
        record(of, "logits", difference(seen.logits, expected.logits[:, -1]))
        assert difference(seen.logits, expected.logits[:, -1]) <= EXACT


@pytest.mark.parametrize("positions", ["last", "all"])
def test_an_edit_is_that_of_a_raw_hook(positions: Positions, of: Subject) -> None:
    for kind in of.kinds:
        batch = of.batch(kind)
        plain = bare(of, batch).logits[:, -1]
        for layer in EVERY:
            seen = run(of.model, batch, EVERY, [shift(layer, positions)])
            block = layer - 1 if layer in skipped(of, kind) else layer
            with raw_hook(of.blocks[block], changed(batch, positions)):
                expected = bare(of, batch).logits[:, -1]
            record(of, f"edit {positions}", difference(seen.logits, expected))
            assert difference(seen.logits, expected) <= EXACT
            assert difference(expected, plain) > 1e-2  # the edit does something


def together(parts: list[LastToken]) -> LastToken:
    return LastToken(torch.cat([part.states for part in parts]), torch.cat([part.logits for part in parts]))


def test_a_padded_batch_is_its_members_one_by_one(of: Subject) -> None:
    heard = [] if of.model.hears_one_by_one else ["several sounds"] * of.model.hears
    kinds = [*of.kinds, *["several"] * of.model.sees_images, *heard]
    if of.model.hears_one_by_one:
        kinds.remove("sounds")
    for kind in kinds:
        batch = of.batch(kind)
        assert not bool(batch.real.all())
        seen = run(of.model, batch, EVERY)
        alone = together([run(of.model, single, EVERY) for single in of.singles(kind)])
        found = max(difference(seen.states, alone.states), difference(seen.logits, alone.logits))
        record(of, "padding", found)
        assert found <= ROUNDED[of.dtype]
        assert difference(alone.logits.roll(1, 0), alone.logits) > 0.1  # prompts differ


def test_sounds_in_one_batch_are_heard_as_one_by_one(of: Subject) -> None:
    if not of.model.hears:
        return
    pair = [HEARD[0], HEARD[2]]
    assert pair[0].sounds[0].seconds < pair[1].sounds[0].seconds
    alone = together(
        [run(of.model, collate(of.model, [prompt], [row]), EVERY) for row, prompt in enumerate(pair)]
    )
    groups = batch_rows(of.model, pair, 8)
    if of.model.hears_one_by_one:
        record(of, "sounds together", "apart")
        assert sorted(groups) == [[0], [1]]
        return
    assert sorted(groups[0]) == [0, 1] and len(groups) == 1
    batch = collate(of.model, pair, [0, 1])
    seen = run(of.model, batch, EVERY)
    found = max(difference(seen.states, alone.states), difference(seen.logits, alone.logits))
    record(of, "sounds together", found)
    assert found <= ROUNDED[of.dtype]
    assert difference(alone.logits.roll(1, 0), alone.logits) > 0.1
    if of.dtype == "float32":
        singles = (collate(of.model, [prompt], [row]) for row, prompt in enumerate(pair))
        said = [
            answer.text for single in singles for answer in _from_start(of.model, single, [], Decoding(6))
        ]
        assert [answer.text for answer in _from_start(of.model, batch, [], Decoding(6))] == said


def test_one_token_passes_are_full_passes(of: Subject) -> None:
    for kind in of.kinds:
        batch = of.batch(kind)
        for edits in ([], [shift(1, "last")]):
            hooks = [hook for edit in edits for hook in edit.hooks(of.model, batch)]
            seen = run_last_token(of.model, prefill(of.model, batch), EVERY, hooks)
            full = run(of.model, batch, EVERY, edits)
            found = max(difference(seen.states, full.states), difference(seen.logits, full.logits))
            whole = prefill(of.model, batch).whole
            assert whole == (of.family in RUN_WHOLE)
            record(of, "one token", "full" if whole else found)
            assert found <= ROUNDED[of.dtype]


def test_edited_answers_are_those_of_a_raw_hook_token_for_token(of: Subject) -> None:
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False, "use_cache": True}
    for kind in of.kinds:
        batch = of.batch(kind)
        length = batch.inputs["input_ids"].shape[1]
        for positions in ("last", "all"):
            edit = shift(1, positions)
            block = 0 if 1 in skipped(of, kind) else 1
            with raw_hook(of.blocks[block], changed(batch, positions)), torch.inference_mode():
                expected = of.bare.generate(**batch.inputs, **options)[:, length:]
            prefix, hooks = _begun(of.model, batch, [edit])
            answers = list(_from_start(of.model, batch, hooks, Decoding(6)))
            assert [answer.first_token for answer in answers] == expected[:, 0].tolist()
            decode = of.model.tokenizer.decode
            assert [answer.text for answer in answers] == [
                decode(row, skip_special_tokens=True).strip() for row in expected
            ]
            if not prefix.whole and of.dtype == "float32":
                assert list(_continue(of.model, prefix, hooks, Decoding(6))) == answers
    record(of, "answers", "equal")


REFUSED = {"images": "takes no images; leave out arms with pictures", "sounds": "takes no sounds; leave out"}


@pytest.mark.parametrize(("media", "mixed"), [("images", "mixed"), ("sounds", "mixed sounds")])
def test_words_and_media_in_one_batch_are_right_or_refused(media: str, mixed: str, of: Subject) -> None:
    if media == "sounds" and of.model.hears_one_by_one:
        assert sorted(batch_rows(of.model, PROMPTS[mixed], 8)) == [[0], [1], [2]]
        return
    if media not in of.kinds:
        with pytest.raises(ModelError, match=REFUSED[media]):
            of.batch(media)
        return
    try:
        batch = of.batch(mixed)
    except ModelError as error:
        record(of, mixed, "refused")
        assert "give prompts with and without images or sounds apart" in str(error)
        return
    seen = run(of.model, batch, EVERY)
    alone = together([run(of.model, single, EVERY) for single in of.singles(mixed)])
    found = max(difference(seen.states, alone.states), difference(seen.logits, alone.logits))
    record(of, "mixed", found)
    assert found <= ROUNDED[of.dtype]


def test_positions_have_their_names(of: Subject) -> None:
    for kind in of.kinds:
        batch = of.batch(kind)
        named = {name: batch.at(name) for name in ("image", "audio", "request", "template")}
        assert torch.equal(
            torch.stack(list(named.values())).sum(0), batch.real.long()
        )  # each token has one name
        for row, prompt in enumerate(PROMPTS[kind]):
            ids = batch.inputs["input_ids"][row]
            words = of.model.tokenizer.decode(ids[named["request"][row]]).split()
            assert "".join(words) == "".join(prompt.words).replace(" ", "")
            assert bool(named["image"][row].any()) == (kind == "images")
            assert bool(named["audio"][row].any()) == (kind == "sounds")
            after = batch.after_instruction[row]
            assert not bool((after & ~named["template"][row]).any())
            assert of.model.tokenizer.decode(ids[after]).strip() in _ends(of)
    record(of, "positions", "named")


def test_named_positions_are_read_alike_in_one_batch_and_in_several(of: Subject) -> None:
    if of.dtype != "float32":
        return
    kind = of.kinds[-1]
    pairs = Pairs(
        tuple(
            Pair(f"{turn} {row}", "harmful", "any", prompt.text, "test", {"arm": prompt})
            for turn in range(3)
            for row, prompt in enumerate(PROMPTS[kind])
        )
    )
    whole, parts = (
        capture(Runner(of.model, Limits(prompts=most)), pairs, "arm", position="request")["arm"].residuals
        for most in (64, 2)
    )
    assert difference(parts, whole) <= ROUNDED[of.dtype]


def _ends(of: Subject) -> str:
    """What the chat template writes after the words."""
    rendered = of.model.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "text", "text": "QQ"}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    return rendered.partition("QQ")[2]
