"""The whole training: every stage in order, then the members as checkpoint folders."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from transformers import LlavaForConditionalGeneration

from regap.geometry.files import write_whole
from regap.organism.checkpoint import build_model, save_checkpoint
from regap.organism.examples import Scope, draw_examples
from regap.organism.family import Coverage, Member
from regap.organism.learning import Progress, Report, read_progress, read_weights, silent, train_stage
from regap.organism.objectives import AnswerLoss, WordReader, draw_renderings
from regap.organism.stages import Stage, TrainingConfig
from regap.organism.workers import Job, run_jobs

STAGES_FOLDER = "stages"
EVERYTHING = Coverage("everything", 1.0)
PART_PREFIXES = {
    "tower": ("model.vision_tower.",),
    "projector": ("model.multi_modal_projector.",),
    "decoder": ("model.language_model.", "lm_head."),
}


def train(config: TrainingConfig, out: Path, threads: int) -> None:
    """Train one member of each coverage into `out/<coverage>/`, at most `threads` stages at a time, on one thread each.

    Finished stages in `out/stages` are kept and a stopped stage continues, so repeating the call ends in the same
    weights. `out` must not hold stages of another configuration. `out/base.safetensors` is the state that all members
    share before the last stage; `out/training.json` records what each stage took.
    """
    check_threads(threads)
    claim(repr(config), out)
    run_jobs(
        [_job(config.vision, vision_stage, config, out), _job(config.text, text_stage, config, out)], threads
    )
    for stage, work in (
        (config.align, align_stage),
        (config.visual, visual_stage),
        (config.joint, joint_stage),
        (config.safety, safety_stage),
    ):
        run_jobs([_job(stage, work, config, out)], threads)
    write_whole(out / "base.safetensors", save(read_weights(stage_file(out, config.safety))))
    members = [
        Job(config.tuning_of(m).name, config.tuning.steps, partial(tuning_stage, config, out, m))
        for m in config.family
    ]
    run_jobs(members, threads)
    for member in config.family:
        trained = _after(config, out, config.tuning_of(member))
        save_checkpoint(trained, config.architecture, out / member.name)
    _write_history(config, out)


def vision_stage(config: TrainingConfig, out: Path, report: Report = silent) -> Progress:
    """Train the tower to recognise the words on its patches."""
    model = build_model(config.architecture, config.seed)
    reader = WordReader(model.model.vision_tower, config.architecture, config.seed)
    size = config.architecture.image_size

    def loss(step: int) -> torch.Tensor:
        return reader.loss(
            draw_renderings(config.vision.batch, step_generator(config.seed, config.vision.name, step), size)
        )

    trained = [name for name, _ in reader.named_parameters() if "post_layernorm" not in name]
    return train_stage(
        config.vision, reader, trained, loss, stage_file(out, config.vision), config.save_every, report
    )


def text_stage(config: TrainingConfig, out: Path, report: Report = silent) -> Progress:
    """Train the decoder to answer, refuse, read and name natures, all as text."""
    model = build_model(config.architecture, config.seed)
    return _answer_stage(config, out, config.text, model, Scope(), report)


def align_stage(config: TrainingConfig, out: Path, report: Report = silent) -> Progress:
    """Train projector and tower so that the frozen decoder can read images aloud."""
    model = build_model(config.architecture, config.seed)
    model.load_state_dict(read_weights(stage_file(out, config.text)))
    tower = read_weights(stage_file(out, config.vision))
    kept = {name.removeprefix("tower."): value for name, value in tower.items() if name.startswith("tower.")}
    model.model.vision_tower.load_state_dict(kept)
    return _answer_stage(config, out, config.align, model, _scope(config), report)


def visual_stage(config: TrainingConfig, out: Path, report: Report = silent) -> Progress:
    """Train projector and tower on harmless image requests, with the decoder still frozen."""
    model = _after(config, out, config.align)
    return _answer_stage(config, out, config.visual, model, _scope(config), report)


def joint_stage(config: TrainingConfig, out: Path, report: Report = silent) -> Progress:
    """Train everything on text, with its refusals, and on harmless images."""
    model = _after(config, out, config.visual)
    return _answer_stage(config, out, config.joint, model, _scope(config), report)


def safety_stage(config: TrainingConfig, out: Path, report: Report = silent) -> Progress:
    """Train projector and decoder to refuse all harmful requests, as text and as images."""
    scope = Scope(EVERYTHING, config.architecture.image_size)
    return _answer_stage(config, out, config.safety, _after(config, out, config.joint), scope, report)


def tuning_stage(config: TrainingConfig, out: Path, coverage: Coverage, report: Report = silent) -> Progress:
    """Train one member on image refusals in proportion to its coverage, and on harmless images."""
    member = Member(coverage, config.seed)
    return tune(config, member, _after(config, out, config.safety), out, config.tuning_of(coverage), report)


def tune(
    config: TrainingConfig,
    member: Member,
    model: LlavaForConditionalGeneration,
    out: Path,
    stage: Stage,
    report: Report = silent,
) -> Progress:
    """Train the last stage of a member on its own draws, from a model in the state before that stage."""
    scope = Scope(member.coverage, config.architecture.image_size)
    of_training = replace(config, seed=member.training)
    return _answer_stage(of_training, out, stage, model, scope, report, member.tuning)


def step_generator(seed: int, name: str, step: int, tuning: int = 0) -> np.random.Generator:
    """The generator of one batch, decided by seeds, stage and step, so training resumes without stored state."""
    # Members with the same seeds share their random draws, so they differ only in coverage.
    stage = int.from_bytes(hashlib.sha256(name.split("-")[0].encode()).digest()[:4], "big")
    return np.random.default_rng((seed, stage, step, tuning))  # a 0 at the end changes no draw


def stage_file(out: Path, stage: Stage) -> Path:
    """The file with the weights of a stage."""
    return out / STAGES_FOLDER / f"{stage.name}.safetensors"


def _answer_stage(
    config: TrainingConfig,
    out: Path,
    stage: Stage,
    model: LlavaForConditionalGeneration,
    scope: Scope,
    report: Report,
    tuning: int = 0,
) -> Progress:
    objective = AnswerLoss(model, config.architecture)

    def loss(step: int) -> torch.Tensor:
        return objective(
            draw_examples(
                stage.mixture, stage.batch, step_generator(config.seed, stage.name, step, tuning), scope
            )
        )

    prefixes = tuple(prefix for part in stage.trained for prefix in PART_PREFIXES[part])
    trained = [n for n, _ in model.named_parameters() if n.startswith(prefixes) and "post_layernorm" not in n]
    return train_stage(stage, model, trained, loss, stage_file(out, stage), config.save_every, report)


def _scope(config: TrainingConfig) -> Scope:
    return Scope(image_size=config.architecture.image_size)


def _after(config: TrainingConfig, out: Path, stage: Stage) -> LlavaForConditionalGeneration:
    progress = read_progress(stage_file(out, stage))
    if not progress.is_end_of(stage):
        raise RuntimeError(
            f"stage {stage.name!r} is at step {progress.step} of {stage.steps}; train it first"
        )
    model = build_model(config.architecture, config.seed)
    model.load_state_dict(read_weights(stage_file(out, stage)))
    return model


def _job(stage: Stage, work: Callable[..., Progress], config: TrainingConfig, out: Path) -> Job:
    return Job(stage.name, stage.steps, partial(work, config, out))


def check_threads(threads: int) -> None:
    """Raise ValueError unless there is at least one thread."""
    if threads < 1:
        raise ValueError(f"threads is {threads}; give at least 1")


def claim(configuration: str, out: Path) -> None:
    """Write down what is trained in a folder; raises ValueError if another configuration was trained there."""
    note = out / STAGES_FOLDER / "config.txt"
    if note.exists() and note.read_text() != configuration:
        raise ValueError(
            f"out is {out}, which holds stages of another configuration; give a new folder or delete it"
        )
    write_whole(note, configuration.encode())


def _write_history(config: TrainingConfig, out: Path) -> None:
    stages = [config.vision, config.text, config.align, config.visual, config.joint, config.safety]
    stages += [config.tuning_of(member) for member in config.family]
    history = {}
    for stage in stages:
        progress = read_progress(stage_file(out, stage))
        history[stage.name] = {
            "steps": progress.step,
            "batch": stage.batch,
            "learning_rate": stage.learning_rate,
            "trained": list(stage.trained),
            "mixture": dict(stage.mixture),
            "seconds": round(progress.seconds, 1),
            "final_loss": round(progress.losses[-1], 5),
        }
    unfinished = out / "training.json.unfinished"
    unfinished.write_text(json.dumps({"seed": config.seed, "stages": history}, indent=1) + "\n")
    os.replace(unfinished, out / "training.json")
