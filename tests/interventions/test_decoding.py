"""Answers are decoded by our settings alone: nothing in a checkpoint changes them unless it is asked for."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import GenerationConfig, PreTrainedTokenizerFast

from regap.analyses.self_test.checks import _decoding
from regap.errors import ConfigError, ModelError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.capture import capture
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.batch import collate
from regap.interventions.decoding import (
    Decoding,
    Sampling,
    answer_text,
    decode,
    end_tokens,
    settings_left_out,
)
from regap.interventions.defences.ras import openings
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site
from regap.interventions.generation import generate
from regap.organism.checkpoint import build_processor

ODD: dict[str, dict[str, Any]] = {
    "penalty": {"repetition_penalty": 3.0},
    "sampling": {"do_sample": True, "temperature": 5.0, "top_k": 3},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "forced": {"forced_eos_token_id": 7, "suppress_tokens": [5, 6, 7, 8, 9, 10]},
    "length": {"min_new_tokens": 5, "max_length": 3},
    "static": {"cache_implementation": "static"},
    "ngrams": {"no_repeat_ngram_size": 1},
    "watermark": {"watermarking_config": {"bias": 9.0}},
    "guided": {"guidance_scale": 3.0},
    "outputs": {"output_scores": True, "return_dict_in_generate": True},
}


@pytest.fixture
def own(tiny: Model) -> Iterator[Any]:
    """The generation settings of the checkpoint, put back afterwards."""
    before = tiny.hf.generation_config
    tiny.hf.generation_config = deepcopy(before)
    yield tiny.hf.generation_config
    tiny.hf.generation_config = before


@pytest.mark.parametrize("settings", ODD.values(), ids=list(ODD))
def test_no_setting_of_a_checkpoint_changes_an_answer(
    settings: dict[str, Any], tiny: Model, tiny_pairs: Pairs, own: Any
) -> None:
    few = tiny_pairs.first(2)
    batch = collate(tiny, [pair.prompts["text"] for pair in few], range(len(few)))
    expected, opened = generate(tiny, few, "text", max_new_tokens=6), openings(tiny, batch)
    vars(own).update(settings)
    assert generate(tiny, few, "text", max_new_tokens=6) == expected
    assert torch.equal(openings(tiny, batch), opened)
    left = settings_left_out(tiny.hf)
    assert set(settings) - {"max_length"} <= set(left)
    assert all(name in _decoding(tiny).detail for name in left)
    assert tiny.hf.generation_config is own  # a user's own calls of generate are as before


def test_a_penalty_would_change_answers(tiny: Model, tiny_pairs: Pairs, own: Any) -> None:
    few = tiny_pairs.first(2)
    greedy = generate(tiny, few, "text", max_new_tokens=6)
    own.repetition_penalty = 3.0
    asked = generate(tiny, few, "text", max_new_tokens=6, sampling=Sampling(checkpoint=True))
    assert [each.text for each in asked] != [each.text for each in greedy]


def test_what_cannot_be_run_under_hooks_is_named(tiny: Model, tiny_pairs: Pairs, own: Any) -> None:
    own.num_beams = 3
    with pytest.raises(
        ConfigError, match=r"have num_beams=3, which cannot be used under hooks; leave out checkpoint"
    ):
        generate(tiny, tiny_pairs.first(1), "text", sampling=Sampling(checkpoint=True))


def test_two_models_that_differ_in_their_settings_share_greedy_answers_only(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path, own: Any
) -> None:
    runner, few = Runner(tiny, store=tmp_path), tiny_pairs.first(2)
    checkpoint = Sampling(checkpoint=True)
    greedy = generate(runner, few, "text", max_new_tokens=6)
    before = generate(runner, few, "text", max_new_tokens=6, sampling=checkpoint)
    own.repetition_penalty = 3.0
    stored = len(list(tmp_path.iterdir()))
    assert generate(runner, few, "text", max_new_tokens=6) == greedy
    assert len(list(tmp_path.iterdir())) == stored
    assert generate(runner, few, "text", max_new_tokens=6, sampling=checkpoint) != before
    own.eos_token_id = [greedy[0].first_token]  # where an answer ends decides it, too
    assert generate(runner, few, "text", max_new_tokens=6)[0].tokens == 1


def test_the_digest_holds_all_of_a_sampling(tiny: Model) -> None:
    made = [
        Decoding(6),
        Decoding(7),
        Decoding(6, Sampling()),
        Decoding(6, Sampling(temperature=0.5)),
        Decoding(6, Sampling(top_p=0.5)),
        Decoding(6, Sampling(seed=1)),
        Decoding(6, Sampling(draws=2), 1),
        Decoding(6, Sampling(checkpoint=True)),
    ]
    keys = [repr(each.key(tiny.hf, tiny.tokenizer)) for each in made]
    assert len(set(keys)) == len(keys)
    again = Decoding(6, Sampling(draws=9), 1).key(tiny.hf, tiny.tokenizer)
    assert repr(again) == keys[6]  # further draws do not change earlier ones


@pytest.mark.parametrize("ends", [[3, 4], (3, 4), torch.tensor([3, 4])], ids=["list", "tuple", "tensor"])
def test_every_list_of_end_tokens_is_read(ends: Any, tiny: Model, own: Any) -> None:
    own.eos_token_id = ends
    assert end_tokens(tiny.hf, tiny.tokenizer) == [3, 4]


def test_end_tokens_come_from_the_configuration_or_the_tokenizer_if_settings_have_none(
    tiny: Model, own: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.eos_token_id = None
    for config in (tiny.hf.config, tiny.hf.config.get_text_config()):
        monkeypatch.setattr(config, "eos_token_id", None, raising=False)
    assert end_tokens(tiny.hf, tiny.tokenizer) == [tiny.tokenizer.eos_token_id]
    monkeypatch.setattr(tiny.hf.config.get_text_config(), "eos_token_id", 9)
    assert end_tokens(tiny.hf, tiny.tokenizer) == [9]


def test_a_sampling_is_ours_or_the_checkpoints() -> None:
    with pytest.raises(
        ValueError, match=r"checkpoint is True, with temperature 0.5 .* give one or the other"
    ):
        Sampling(temperature=0.5, checkpoint=True)


def test_settings_are_put_back_after_an_error(tiny: Model, own: Any) -> None:
    with pytest.raises(AttributeError, match="shape"):
        decode(tiny.hf, tiny.tokenizer, {"input_ids": "words"}, Decoding(3))
    assert tiny.hf.generation_config is own


@pytest.fixture(scope="module")
def half(plain: Any, tiny_architecture: Any) -> Model:
    """In float16, whose largest number is 65504."""
    return load(deepcopy(plain).half(), processor=build_processor(tiny_architecture))


def huge(positions: Any) -> Shift:
    return Shift(Site((1,), positions), torch.full((1, 32), 6e4, dtype=torch.float64), 1000.0, "huge")


@pytest.mark.parametrize("positions", ["last", "all"])
def test_logits_that_are_not_finite_name_the_edit_and_the_remedy(
    positions: str, half: Model, tiny: Model, tiny_pairs: Pairs
) -> None:
    few, edit = tiny_pairs.first(1), huge(positions)
    told = r"not finite under Shift\(.*huge.*; lower its strength, or load the model with dtype float32"
    with pytest.raises(ModelError, match=told) as caught:
        generate(half, few, "text", edit, max_new_tokens=4)
    assert "\n" not in str(caught.value)
    for states in ("last", "request", "all"):
        with pytest.raises(ModelError, match=told.replace("not", "its states are not")):
            capture(half, few, ["text"], edits=edit, position=states)
    with pytest.raises(ModelError, match="its states are not finite under Shift"):
        run(half, collate(half, [few.pairs[0].prompts["text"]], [0]), (1,), [edit])
    assert generate(half, few, "text", max_new_tokens=4) and capture(half, few, ["text"])
    assert generate(tiny, few, "text", edit, max_new_tokens=4)  # float32 holds them


def test_without_an_edit_the_number_format_is_named(
    tiny_pairs: Pairs, plain: Any, tiny_architecture: Any
) -> None:
    broken = deepcopy(plain)
    with torch.no_grad():
        broken.lm_head.weight[0] = float("nan")
    model = load(broken, processor=build_processor(tiny_architecture))
    with pytest.raises(
        ModelError, match="not finite without any edit; load it with dtype float32 or bfloat16"
    ):
        generate(model, tiny_pairs.first(1), "text", max_new_tokens=2)


def test_a_fresh_configuration_hides_all_of_the_checkpoints(tiny: Model, own: Any) -> None:
    assert isinstance(own, GenerationConfig)
    vars(own)["made_up_setting"] = 5
    found = Decoding(3).settings(tiny.hf, tiny.tokenizer)
    assert not hasattr(found, "made_up_setting")


MARKS = ["[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|end|>", "<|start|>", "</s>"]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("[THINK] Let us [/THINK] No </s>", "[THINK] Let us [/THINK] No"),
        ("No <|end|> </s>", "No"),
        (
            "<|channel|> analysis <|message|> Let us <|end|>",
            "<|channel|> analysis <|message|> Let us <|end|>",
        ),
    ],
)
def test_special_tokens_that_mark_thinking_are_kept_and_others_are_not(written: str, text: str) -> None:
    names = ["[UNK]", *MARKS, "Let", "us", "No", "analysis"]
    words = Tokenizer(WordLevel({name: place for place, name in enumerate(names)}, unk_token="[UNK]"))
    words.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, additional_special_tokens=MARKS)
    assert answer_text(tokenizer, tokenizer(written)["input_ids"]) == text  # pyright: ignore[reportArgumentType]
