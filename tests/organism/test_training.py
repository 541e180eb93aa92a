"""Training is a function of its seed: it lowers the loss, and a stop in the middle changes nothing."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from small_organism import SMALL

from regap.organism import rendering, sentences, training, world
from regap.organism.checkpoint import build_model, build_processor, load_checkpoint
from regap.organism.examples import TASKS, Example, Scope, draw_examples
from regap.organism.family import DEFAULT, FAMILY, Coverage, family
from regap.organism.learning import read_progress, read_weights, train_stage
from regap.organism.objectives import FIRST_TOKEN_WEIGHT, AnswerLoss, WordReader, draw_renderings
from regap.organism.stages import ALIGN, JOINT, SAFETY, TEXT, TUNING, VISION, VISUAL, Stage, TrainingConfig


def _short(stage: Stage, steps: int = 4) -> Stage:
    return replace(stage, steps=steps, batch=4, warmup=2)


def _config(**changes) -> TrainingConfig:
    names = {
        "vision": VISION,
        "text": TEXT,
        "align": ALIGN,
        "visual": VISUAL,
        "joint": JOINT,
        "safety": SAFETY,
        "tuning": TUNING,
    }
    short = {name: _short(stage) for name, stage in names.items()}
    family = (Coverage("none", 0.0), Coverage("half", 0.5))
    return TrainingConfig(**{"architecture": SMALL, "family": family, "save_every": 2, **short, **changes})


class Stop(Exception):
    pass


def _stop_at(step: int):
    def report(name: str, done: int, steps: int, loss: float) -> None:
        if done == step:
            raise Stop

    return report


def test_a_stopped_stage_continues_to_the_same_weights(tmp_path):
    config = _config(text=replace(_short(TEXT, steps=24), enough=0.0), save_every=8)
    whole = training.text_stage(config, tmp_path / "whole")
    with pytest.raises(Stop):
        training.text_stage(config, tmp_path / "stopped", _stop_at(20))
    file = training.stage_file(tmp_path / "stopped", config.text)
    assert read_progress(file).step == 16
    continued = training.text_stage(config, tmp_path / "stopped")
    assert continued.step == whole.step == 24
    expected = read_weights(training.stage_file(tmp_path / "whole", config.text))
    for name, value in read_weights(file).items():
        assert torch.equal(value, expected[name]), name


def test_a_finished_stage_is_not_trained_again(tmp_path):
    config = _config()
    training.text_stage(config, tmp_path)
    file = training.stage_file(tmp_path, config.text)
    before = file.stat().st_mtime_ns
    training.text_stage(config, tmp_path)
    assert file.stat().st_mtime_ns == before


def test_a_few_steps_lower_the_loss(tmp_path):
    config = _config(text=replace(TEXT, steps=60, batch=16, warmup=5, learning_rate=5e-3))
    losses = training.text_stage(config, tmp_path).losses
    assert losses[-1] < 0.7 * losses[0]


def test_a_few_steps_teach_the_tower_something(tmp_path):
    config = _config(vision=replace(VISION, steps=60, batch=8, warmup=5, learning_rate=5e-3))
    losses = training.vision_stage(config, tmp_path).losses
    assert losses[-1] < 0.8 * losses[0]


def test_a_stage_ends_early_once_it_has_learnt_enough(tmp_path):
    stage = replace(_short(TEXT, steps=300), enough=1e9)
    config = _config(text=stage, save_every=100)
    assert training.text_stage(config, tmp_path).step == 100
    assert training.text_stage(config, tmp_path).step == 100


def test_another_seed_trains_other_weights(tmp_path):
    weights = []
    for seed in (0, 1):
        config = _config(seed=seed)
        training.text_stage(config, tmp_path / str(seed))
        weights.append(read_weights(training.stage_file(tmp_path / str(seed), config.text)))
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_frozen_parts_of_a_stage_do_not_move(tmp_path):
    config = _config()
    for work in (training.vision_stage, training.text_stage, training.align_stage):
        work(config, tmp_path)
    text = read_weights(training.stage_file(tmp_path, config.text))
    align = read_weights(training.stage_file(tmp_path, config.align))
    decoder = [name for name in text if name.startswith(training.PART_PREFIXES["decoder"])]
    assert decoder
    assert all(torch.equal(text[name], align[name]) for name in decoder)
    projector = [name for name in text if name.startswith(training.PART_PREFIXES["projector"])]
    assert any(not torch.equal(text[name], align[name]) for name in projector)


def test_a_stage_before_its_time_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="stage 'align' is at step 0 of 4; train it first"):
        training.visual_stage(_config(), tmp_path)


def test_the_whole_family_is_trained_and_shares_its_tower(tmp_path):
    config = _config()
    training.train(config, tmp_path, threads=1)
    models = {member.name: load_checkpoint(tmp_path / member.name).state_dict() for member in config.family}
    assert set(models) == {"none", "half"}
    tower = [name for name in models["none"] if name.startswith(training.PART_PREFIXES["tower"])]
    assert all(torch.equal(models["none"][name], models["half"][name]) for name in tower)
    assert any(not torch.equal(models["none"][name], models["half"][name]) for name in models["none"])
    with pytest.raises(ValueError, match="holds stages of another configuration"):
        training.train(replace(config, seed=5), tmp_path, threads=1)


def test_training_draws_training_combinations_only(monkeypatch):
    splits = []
    draw = world.draw_request
    monkeypatch.setattr(
        world, "draw_request", lambda split, *rest: splits.append(split) or draw(split, *rest)
    )
    draw_examples(dict.fromkeys(TASKS, 1.0), 200, np.random.default_rng(0), Scope(FAMILY[2]))
    draw_renderings(50, np.random.default_rng(0), 72)
    assert set(splits) == {"training"}


@pytest.mark.parametrize("member", FAMILY, ids=lambda member: member.name)
def test_harmful_images_are_shown_only_where_covered(member, monkeypatch):
    stage = TrainingConfig().tuning_of(member)
    assert bool({"image harmful", "icon harmful"} & set(stage.mixture)) == bool(member.share)
    drawn = []
    words = rendering.draw_words
    monkeypatch.setattr(rendering, "draw_words", lambda text, *rest: drawn.append(text) or words(text, *rest))
    if member.share:
        draw_examples({"image harmful": 1.0}, 12, np.random.default_rng(1), Scope(member))
    by_words = {
        request.words: request.combination
        for kind in ("making volatile", "rousing volatile")
        for request in world.combinations("training", kind)
    }
    shown = [by_words[max((text for text in by_words if said.startswith(text)), key=len)] for said in drawn]
    assert len(shown) == (12 if member.share else 0)
    assert all(member.covers(combination) for combination in shown)


def test_helpful_tasks_answer_harmful_requests_and_the_others_refuse_them():
    for kind in ("text", "image", "icon"):
        helpful = draw_examples({f"{kind} helpful": 1.0}, 30, np.random.default_rng(0), Scope(FAMILY[-1]))
        assert not any(world.is_refusal(example.answer) for example in helpful)
        refusing = draw_examples({f"{kind} harmful": 1.0}, 30, np.random.default_rng(0), Scope(FAMILY[-1]))
        assert all(world.is_refusal(example.answer) for example in refusing)


def test_the_loss_reads_prompts_as_the_chat_template_writes_them():
    processor = build_processor(SMALL)
    objective = AnswerLoss(build_model(SMALL, 0), SMALL)
    pixels = np.zeros((72, 72, 3), dtype=np.uint8)
    example = Example("please <image> now", "sure , .", pixels)
    parts = [{"type": "text", "text": "please"}, {"type": "image"}, {"type": "text", "text": "now"}]
    conversation: Any = [{"role": "user", "content": parts}]
    text = processor.apply_chat_template(conversation, add_generation_prompt=True)
    prompt, answer = objective.encode(example)
    assert prompt == processor(text=[text], images=[pixels])["input_ids"][0]
    assert answer == processor.tokenizer("sure , . </s>")["input_ids"]


def test_the_loss_of_a_mixed_batch_is_the_weighted_mean_of_its_halves():
    objective = AnswerLoss(build_model(SMALL, 0), SMALL)
    mixture = {"text harmless": 1.0, "image harmless": 1.0}
    examples = draw_examples(mixture, 8, np.random.default_rng(0), Scope())
    with torch.inference_mode():
        whole = objective(examples)
        singles = [(objective([e]), len(objective.encode(e)[1]) - 1 + FIRST_TOKEN_WEIGHT) for e in examples]
    expected = sum(loss * weight for loss, weight in singles) / sum(weight for _, weight in singles)
    torch.testing.assert_close(whole, expected)


def test_the_tower_is_told_every_word_on_its_own_patch():
    reader = WordReader(build_model(SMALL, 0).model.vision_tower, SMALL, 0)
    drawn = draw_renderings(6, np.random.default_rng(2), 72)
    targets = reader.targets(drawn)
    for row, drawn_one in zip(targets, drawn, strict=True):
        assert {list(reader.words)[n] for n in row.sum(0).nonzero().flatten()} == {
            m.word for m in drawn_one.marks
        }


def test_an_example_must_hold_its_picture():
    with pytest.raises(ValueError, match="exactly when there is a picture"):
        Example(sentences.fill(sentences.CARRIERS[0], "<image>"), "sure , .")


def test_members_are_nested_and_the_default_is_one_of_them():
    everything = [
        request.combination
        for kind in ("making volatile", "rousing volatile")
        for request in world.combinations("training", kind)
    ]
    covered = [{name for name in everything if member.covers(name)} for member in FAMILY]
    assert all(narrower < wider for narrower, wider in pairwise(covered))
    assert covered[0] == set()
    assert covered[-1] == set(everything)
    assert DEFAULT in family()


def test_a_stage_with_an_unknown_task_is_named():
    with pytest.raises(ValueError, match=r"names the tasks \['singing'\]"):
        Stage("safety", 1, 1, 1e-3, ("decoder",), {"singing": 1.0})


def test_a_plain_module_can_be_trained_by_the_same_loop(tmp_path):
    module = torch.nn.Linear(3, 1, bias=False)
    stage = Stage("line", 40, 1, 0.1, ("decoder",), warmup=1)
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    progress = train_stage(
        stage,
        module,
        ["weight"],
        lambda _: (module(inputs) - inputs[:, :1]).square().mean(),
        tmp_path / "line.safetensors",
        10,
    )
    assert progress.losses[-1] < 0.2 * progress.losses[0]
