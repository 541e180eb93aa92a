"""Answers under edits are those of Hugging Face's generate with raw hooks, token for token, in any batch or order."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regap.geometry.data.pairs import Pairs
from regap.geometry.drift import Drift
from regap.geometry.forward.batches import BatchSplitter
from regap.geometry.forward.carriers import tokens_at
from regap.geometry.forward.hooks import Edit, Hook
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.interventions import generation
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.site import Phase, Positions, Site
from regap.interventions.generation import Completion, generate, generate_each

BUDGET = 6
SITES: list[tuple[Positions, Phase]] = [
    ("last", "prefill"),
    ("last", "every_step"),
    ("all", "prefill"),
    ("all", "every_step"),
    ("image", "prefill"),
]


def slowly(
    plain: Any, model: Model, pairs: Pairs, arm: str, change: Callable[[Tensor, Batch, int], Tensor]
) -> list[str]:
    """One prompt at a time, no cache kept, PyTorch's own hooks on block 1."""
    found = []
    for pair in pairs.where(arm=arm):
        batch = collate(model, [pair.prompts[arm]], [0])
        call = 0

        def edit(module: Any, inputs: Any, output: Any, batch: Batch = batch) -> Any:
            nonlocal call
            call += 1
            return (
                change(output, batch, call)
                if isinstance(output, Tensor)
                else (change(output[0], batch, call),)
            )

        handle = plain.model.language_model.layers[1].register_forward_hook(edit)
        try:
            with torch.inference_mode():
                output = plain.generate(**batch.inputs, max_new_tokens=BUDGET, do_sample=False)
        finally:
            handle.remove()
        found.append(
            model.tokenizer.decode(output[0, batch.real.shape[1] :], skip_special_tokens=True).strip()
        )
    return found


def unchanged(residual: Tensor, batch: Batch, call: int) -> Tensor:
    return residual


def texts(completions: Sequence[Completion]) -> list[str]:
    return [completion.text for completion in completions]


def correction(
    drift: Drift, positions: Positions = "last", phase: Phase = "prefill", strength: float = 1.5
) -> Shift:
    return fixed_correction(drift, Site((1,), positions, phase), strength)


@pytest.mark.parametrize("arm", ["text", "typographic", "blank"])
def test_without_edits_answers_are_those_of_hugging_face(
    arm: str, tiny: Model, plain: Any, tiny_pairs: Pairs
) -> None:
    found = generate(tiny, tiny_pairs, arm, max_new_tokens=BUDGET)
    assert texts(found) == slowly(plain, tiny, tiny_pairs, arm, unchanged)
    assert [each.pair_id for each in found] == [pair.pair_id for pair in tiny_pairs]
    assert {each.arm for each in found} == {arm} and len(set(texts(found))) > 3


@pytest.mark.parametrize(("positions", "phase"), SITES)
def test_with_edits_answers_are_those_of_raw_hooks(
    positions: Positions, phase: Phase, tiny: Model, plain: Any, tiny_pairs: Pairs, drift: Drift
) -> None:
    def change(residual: Tensor, batch: Batch, call: int) -> Tensor:
        moved = residual.clone()
        vector = 1.5 * drift.at(1).float()
        if call > 1:
            moved -= vector if phase == "every_step" else 0
        elif positions == "last":
            moved[:, -1] -= vector
        else:
            moved[batch.image if positions == "image" else batch.real] -= vector
        return moved

    found = generate(
        tiny, tiny_pairs, "typographic", [correction(drift, positions, phase)], max_new_tokens=BUDGET
    )
    assert texts(found) == slowly(plain, tiny, tiny_pairs, "typographic", change)
    assert texts(found) != texts(generate(tiny, tiny_pairs, "typographic", max_new_tokens=BUDGET))


@pytest.mark.parametrize(
    "positions", ["image[0]", "image[-2]", "image:attention", "image:norm", "image:blank"]
)
def test_at_tokens_of_an_image_answers_are_those_of_raw_hooks(
    positions: Positions, tiny: Model, plain: Any, tiny_pairs: Pairs, drift: Drift
) -> None:
    """Batches of several lengths: each prompt's own tokens are edited, whatever it is padded with."""

    def change(residual: Tensor, batch: Batch, call: int) -> Tensor:
        moved = residual.clone()
        if call == 1:
            moved[tokens_at(tiny, batch, positions)] -= 12 * drift.at(1).float()
        return moved

    edit, pairs = correction(drift, positions, strength=12.0), tiny_pairs.test
    found = texts(generate(tiny, pairs, "typographic", [edit], max_new_tokens=BUDGET))
    assert found == slowly(plain, tiny, pairs, "typographic", change)
    assert found != texts(generate(tiny, pairs, "typographic", max_new_tokens=BUDGET))


def test_every_step_edits_more_than_the_prompt(tiny: Model, tiny_pairs: Pairs, drift: Drift) -> None:
    once, ever = (
        texts(
            generate(
                tiny, tiny_pairs, "typographic", [correction(drift, "last", phase)], max_new_tokens=BUDGET
            )
        )
        for phase in ("prefill", "every_step")
    )
    assert once != ever and [text.split()[0] for text in once] == [text.split()[0] for text in ever]


@pytest.mark.parametrize(("positions", "phase"), SITES)
def test_a_batch_answers_as_its_members_alone(
    positions: Positions, phase: Phase, tiny: Model, tiny_pairs: Pairs, drift: Drift
) -> None:
    edits = [correction(drift, positions, phase)]
    together, apart = (
        generate(Runner(tiny, Limits(answers=size)), tiny_pairs, "typographic", edits, max_new_tokens=BUDGET)
        for size in (24, 1)
    )
    assert together == apart


def test_a_condition_leaves_nothing_behind_for_the_next(tiny: Model, tiny_pairs: Pairs, drift: Drift) -> None:
    """All start from one prompt kept in memory: its keys and values must be after each as they were before."""
    conditions: dict[str, list[Edit]] = {"none": [], "last": [correction(drift)]}
    conditions |= {"step": [correction(drift, "last", "every_step")], "all": [correction(drift, "all")]}
    conditions |= {f"{name} again": edits for name, edits in list(conditions.items())[::-1]}
    found = generate_each(tiny, tiny_pairs, "typographic", conditions, max_new_tokens=BUDGET)
    for name in ("none", "last", "step", "all"):
        assert found[name] == found[f"{name} again"]
        alone = generate(tiny, tiny_pairs, "typographic", conditions[name], max_new_tokens=BUDGET)
        assert found[name] == alone
    assert len({tuple(texts(each)) for each in found.values()}) == 4


def test_an_answer_that_fails_spoils_no_later_one(tiny: Model, tiny_pairs: Pairs) -> None:
    def fail(residual: Tensor) -> Tensor:
        raise RuntimeError("in a hook")

    class Failing:
        identity, only_last = "failing", True

        def hooks(self, model: Model, batch: Batch) -> list[Hook]:  # noqa: ARG002 - the signature is Edit's
            return [Hook("blocks.2.hook_out", fail)]

    expected = generate(tiny, tiny_pairs, "typographic", max_new_tokens=BUDGET)
    prompts = [pair.prompts["typographic"] for pair in tiny_pairs]
    group = generation._Group(BatchSplitter(tiny), prompts, None)
    group.answers([], generation.Decoding(BUDGET))
    with pytest.raises(RuntimeError, match="in a hook"):
        group.answers([Failing()], generation.Decoding(BUDGET))
    assert [answer.text for answer in group.answers([], generation.Decoding(BUDGET))] == texts(expected)


def test_answers_end_at_an_end_token_or_are_cut_at_the_budget(
    tiny: Model, tiny_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = generate(tiny, tiny_pairs, "typographic", max_new_tokens=BUDGET)
    assert {(each.tokens, each.finished) for each in free} == {(BUDGET, False)}
    word = "saddle"
    ends = [tiny.tokenizer.eos_token_id, tiny.tokenizer.convert_tokens_to_ids(word)]
    monkeypatch.setattr(tiny.hf.generation_config, "eos_token_id", ends)
    stopped = generate(tiny, tiny_pairs, "typographic", max_new_tokens=BUDGET)
    for before, after in zip(free, stopped, strict=True):
        words = before.text.split()
        length = words.index(word) + 1 if word in words else BUDGET
        assert (after.tokens, after.finished) == (length, word in words)
        assert after.text.split() == words[:length]
    assert {each.finished for each in stopped} == {True, False}


def test_the_first_token_is_that_of_the_answer(tiny: Model, tiny_pairs: Pairs) -> None:
    for each in generate(tiny, tiny_pairs, "typographic", max_new_tokens=BUDGET):
        assert each.text.startswith(tiny.tokenizer.decode([each.first_token]).strip())


def test_stored_answers_are_not_generated_again_unless_something_changed(
    tiny: Model, tiny_pairs: Pairs, drift: Drift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    compute = generation._Group._compute

    def counted(group: Any, edits: Sequence[Edit], decoding: Any) -> Any:
        calls.append(len(edits))
        return compute(group, edits, decoding)

    monkeypatch.setattr(generation._Group, "_compute", counted)

    runner = Runner(tiny, Limits(answers=9), tmp_path)

    def answers(
        edits: Sequence[Edit] = (), budget: int = BUDGET, arm: str = "typographic"
    ) -> tuple[Completion, ...]:
        return generate(runner, tiny_pairs, arm, edits, max_new_tokens=budget)

    first = answers()
    assert answers() == first and len(calls) == 3
    stored = sorted(tmp_path.iterdir())
    stored[0].unlink()
    stored[1].write_text("[")
    with pytest.warns(UserWarning, match="is damaged; it is computed again"):
        assert answers() == first and len(calls) == 5  # the two that were lost, and they alone
    assert answers([correction(drift)]) != first and len(calls) == 8
    assert answers([correction(drift, strength=1.4)]) and len(calls) == 11
    assert [each.tokens for each in answers(budget=3)] == [3] * 24 and len(calls) == 14
    assert answers(arm="blank") != first and len(calls) == 17


def test_progress_tells_of_every_answer(tiny: Model, tiny_pairs: Pairs, drift: Drift) -> None:
    told: list[int] = []
    conditions: dict[str, list[Edit]] = {"none": [], "fixed": [correction(drift)]}
    runner = Runner(tiny, Limits(answers=10)).telling(told.append)
    generate_each(runner, tiny_pairs, "text", conditions, max_new_tokens=1)
    assert sum(told) == 48


def test_sampled_answers_follow_from_their_seed(tiny: Model, tiny_pairs: Pairs) -> None:
    few, state = tiny_pairs.first(1), torch.random.get_rng_state()
    drawn = generation.Sampling(temperature=2.0, seed=3, draws=3)
    one, again = (generation.generate(tiny, few, "text", max_new_tokens=8, sampling=drawn) for _ in range(2))
    assert one == again
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's draws are moved
    other = generation.generate(tiny, few, "text", max_new_tokens=8, sampling=replace(drawn, seed=4))
    assert [each.text for each in other] != [each.text for each in one]
    assert [(each.pair_id, each.draw) for each in one] == [
        (pair.pair_id, d) for pair in few for d in range(3)
    ]
    assert len({each.text for each in one if each.pair_id == few.pairs[0].pair_id}) > 1


def test_a_cold_sample_is_the_greedy_answer(tiny: Model, tiny_pairs: Pairs) -> None:
    few = tiny_pairs.first(1)
    cold = generation.generate(tiny, few, "text", max_new_tokens=8, sampling=generation.Sampling(1e-4))
    assert cold == generation.generate(tiny, few, "text", max_new_tokens=8)


def test_a_stored_answer_is_not_taken_for_another_sampling(
    tiny: Model, tiny_pairs: Pairs, tmp_path: Path
) -> None:
    few, runner = tiny_pairs.first(1), Runner(tiny, store=tmp_path)
    greedy = generation.generate(runner, few, "text", max_new_tokens=8)
    hot = generation.generate(runner, few, "text", max_new_tokens=8, sampling=generation.Sampling(5.0))
    assert hot != greedy and generation.generate(runner, few, "text", max_new_tokens=8) == greedy


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("top_p", 1.5), ("draws", 0)])
def test_a_sampling_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; give"):
        generation.Sampling(**{name: value})
