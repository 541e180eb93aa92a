"""The training of the English subject: each stage leaves a file, and the next one begins from the files before it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import LlavaForConditionalGeneration

from regap.geometry.files import opened_json, sealed_json, write_whole
from regap.geometry.models.checkpoints import known_device
from regap.organism.building import is_built
from regap.organism.english.assembly import EYES, READING, SAFETY, Parts, assemble
from regap.organism.english.base import Base
from regap.organism.english.change import SCALE, Change, check_trainable, trainable
from regap.organism.english.checkpoint import (
    StoredEyes,
    build_model,
    build_processor,
    check_image_token,
    write_eyes,
)
from regap.organism.english.examples import Material, draw_examples
from regap.organism.english.gate import ReadBack, read_back
from regap.organism.english.objective import ChatLoss
from regap.organism.english.own_words import OwnWords, read_own_words, write_own_words
from regap.organism.english.reading import Pictures, TokenReader, draw_texts, space_of
from regap.organism.english.stages import EnglishConfig, EnglishStage
from regap.organism.english.texts import Words
from regap.organism.learning import Progress, Report, read_progress, silent, train_stage
from regap.organism.stages import Part
from regap.organism.training import check_threads, claim, stage_file, step_generator
from regap.organism.workers import Job, run_in_turn

HISTORY = "training.json"
"""What each stage took, and how well requests were read aloud after it."""
PREFIXES: dict[Part, tuple[str, ...]] = {
    "tower": ("reader.tower.",),
    "projector": ("reader.projector.",),
    "letters": ("reader.letters.", "reader.scale"),
}
PICTURES = 64
"""Pictures in which the letters and tokens that the tower reads are counted."""
HELD_BACK = 96
"""Requests that the base made up and that no stage shows: the gate reads them."""


class Learner(nn.Module):
    """The subject with the heads of its first stage; tower and projector are the same in both."""

    def __init__(self, config: EnglishConfig, base: Base) -> None:
        super().__init__()
        model = build_model(config.eyes, base.model(), config.seed)
        self.reader = TokenReader(model, config.eyes, space_of(base.tokenizer()), config.seed)
        self.model: LlavaForConditionalGeneration = model

    @property
    def decoder(self) -> nn.Module:
        """The language model without its head."""
        return self.model.model.language_model


@dataclass(frozen=True, eq=False)
class Course:
    """One training: settings, base, folder and device, with the learner as far as it has learnt."""

    config: EnglishConfig
    base: Base
    out: Path
    device: torch.device
    learner: Learner = field(repr=False)
    processor: Any = field(repr=False)

    @classmethod
    def of(
        cls,
        config: EnglishConfig,
        base: Base,
        out: Path,
        device: str = "cpu",
        before: Sequence[str] = (),
        rank: int | None = None,
    ) -> "Course":
        """Return a course at its beginning, or after the stages that left the files `before`; the first are the eyes.

        rank: of the change that is to be trained; None for no change.
        """
        learner, processor = Learner(config, base), build_processor(config.eyes, base.tokenizer())
        check_image_token(learner.model, processor)
        Words.of(processor.tokenizer)
        if before:
            StoredEyes.read(out / before[0]).give_to(learner.model)
        for name in before[1:]:
            Change.read(out / name).add_to(learner.decoder)
        if rank is not None:
            trainable(learner.decoder, rank, config.seed)
        learner.to(device)
        return cls(config, base, out, torch.device(device), learner, processor)

    def own_words(self, advance: Callable[[int], None] = lambda _: None) -> OwnWords:
        """Return what the base says itself; it is generated once."""
        file = self.out / "own_words.json"
        if file.is_file():
            return read_own_words(file)
        model = cast(Any, self.base.model()).to(self.device)
        eyes, count, seed = self.config.eyes, self.config.made_up + HELD_BACK, self.config.seed
        return write_own_words(file, model, self.base.tokenizer(), eyes, count, seed, advance)

    def material(self) -> Material:
        """Return what examples are drawn from; the requests of the gate are not among it."""
        own = self.own_words()
        words = Words.of(self.processor.tokenizer)
        return Material(self.config.eyes, words, replace(own, made_up=own.made_up[HELD_BACK:]))

    def train_tower(self, report: Report = silent) -> Progress:
        """Train the first stage: letters and tokens on the patches of a picture."""
        stage, eyes = self.config.tower, self.config.eyes
        words = Words.of(self.processor.tokenizer)

        def loss(step: int) -> torch.Tensor:
            generator = step_generator(self.config.seed, stage.name, step)
            shown = draw_texts(stage.batch, eyes, words, generator)
            return self.learner.reader(
                Pictures(shown, eyes, self.processor.tokenizer, generator).to(self.device)
            )

        return self._train(stage, loss, report)

    def train_answers(self, stage: EnglishStage, report: Report = silent, seed: int = 0) -> Progress:
        """Train a stage of messages and answers."""
        material, learner = self.material(), self.learner
        objective = ChatLoss(learner.model, learner.reader, self.processor, self.config.eyes)

        def loss(step: int) -> torch.Tensor:
            generator = step_generator(self.config.seed, stage.name, step, seed)
            done = step / stage.steps if stage.short_first else 1.0
            return objective(draw_examples(stage.mixture, stage.batch, material, generator, done))

        return self._train(stage, loss, report)

    def _train(self, stage: EnglishStage, loss: Callable[[int], torch.Tensor], report: Report) -> Progress:
        file, every = stage_file(self.out, stage), self.config.save_every
        return train_stage(stage, self.learner, self.trained(stage), loss, file, every, report, whole=False)

    def trained(self, stage: EnglishStage) -> list[str]:
        """Return the names of the parameters that a stage trains."""
        prefixes = tuple(prefix for part in stage.trained for prefix in PREFIXES.get(part, ()))
        return [
            name
            for name, _ in self.learner.named_parameters()
            if (name.startswith(prefixes) and "post_layernorm" not in name)
            or ("change" in stage.trained and ".lora_" in name)
        ]

    def letters_and_tokens(self) -> tuple[float, float]:
        """Return the shares of letters and of tokens that the tower reads rightly in pictures that it was not shown."""
        config, tokenizer = self.config, self.processor.tokenizer
        generator = step_generator(
            config.seed, config.tower.name, config.tower.steps
        )  # the first step not taken
        shown = draw_texts(PICTURES, config.eyes, Words.of(tokenizer), generator)
        return self.learner.reader.shares_read(
            Pictures(shown, config.eyes, tokenizer, generator).to(self.device)
        )

    def read_back(self) -> ReadBack:
        """Return how well requests are read aloud that no stage has shown."""
        own = self.own_words()
        return read_back(self.learner.model, self.processor, self.config.eyes, own.made_up[:HELD_BACK])

    def change(self) -> Change:
        """Return the change that was trained."""
        return Change.trained_in(self.learner.decoder, SCALE)


def train(config: EnglishConfig, base: Base, out: Path, threads: int = 2, device: str = "cpu") -> None:
    """Train all stages into `out`: eyes, a change for each stage and each member, and a checkpoint for each member.

    A stage whose file is there is not trained again, and a stopped one continues, so repeating the call ends in the
    same files. Safety is not taught before requests are read aloud well enough: raises RuntimeError with the error
    reached if they are not. Raises ModelError, before anything is trained, if PEFT or the device is missing.
    """
    check_threads(threads)
    torch.set_num_threads(threads)
    check_trainable()
    known_device(device)
    claim(f"{config!r} on {base.digest()}", out)
    start = partial(Course.of, config, base, out, device)
    if not (out / READING).is_file():
        _train_reading(start(rank=None), threads)
    if not (out / SAFETY).is_file():
        course = start(before=(EYES, READING), rank=config.rank_of_safety)
        _train_change(course, config.safety, SAFETY, threads)
    for degree in config.degrees:
        for seed in config.seeds:
            name = f"{degree.name}-{seed}"
            if not is_built(out / name):
                file = f"{name}.safetensors"
                if not (out / file).is_file():
                    course = start(before=(EYES, READING, SAFETY), rank=config.rank_of_visual)
                    _train_change(course, config.visual_of(degree, seed), file, threads, seed)
                shutil.rmtree(out / name, ignore_errors=True)
                assemble(base, Parts(out), name, out / name)


def _train_reading(course: Course, threads: int) -> None:
    """Train tower and reading, and write the eyes and the change."""
    config, whole = course.config, course.config.made_up + HELD_BACK
    first = [
        Job("the base's own words", whole, partial(_own_words, course)),
        Job(config.tower.name, config.tower.steps, course.train_tower),
    ]
    run_in_turn(first, threads)
    letters, tokens = course.letters_and_tokens()
    _note(course, config.tower, letters_read=letters, tokens_read=tokens)
    trainable(course.learner.decoder, config.rank, config.seed)
    course.learner.to(course.device)
    run_in_turn(
        [Job(config.reading.name, config.reading.steps, partial(course.train_answers, config.reading))],
        threads,
    )
    found = course.read_back()
    if found.error > config.most_misread:
        raise RuntimeError(
            f"requests are read aloud with an error of {found.error:.3f} after {config.reading.steps} steps of "
            f"{config.reading.name!r}; {config.most_misread} is allowed, so safety is not taught"
        )
    write_eyes(course.learner.reader, config.eyes, course.base.digest(), course.out / EYES)
    _note(course, config.reading, read_back_error=found.error)
    course.change().write(course.out / READING)


def _train_change(course: Course, stage: EnglishStage, file: str, threads: int, seed: int = 0) -> None:
    """Train a stage that changes the decoder alone, and write its change."""
    run_in_turn([Job(stage.name, stage.steps, partial(course.train_answers, stage, seed=seed))], threads)
    _note(course, stage, read_back_error=course.read_back().error)
    course.change().write(course.out / file)


def _own_words(course: Course, report: Report = silent) -> OwnWords:
    whole = course.config.made_up + HELD_BACK
    return course.own_words(lambda done: report("", min(done, whole), whole, float("nan")))


def _note(course: Course, stage: EnglishStage, **measured: float) -> None:
    """Add to the history what a finished stage took."""
    file, progress = course.out / HISTORY, read_progress(stage_file(course.out, stage))
    told = opened_json(file)["stages"] if file.is_file() else {}
    told[stage.name] = {
        "steps": progress.step,
        "batch": stage.batch,
        "learning_rate": stage.learning_rate,
        "mixture": dict(stage.mixture),
        "seconds": round(progress.seconds, 1),
        "final_loss": round(float(np.mean(progress.losses[-10:])), 5),
        **{name: round(value, 4) for name, value in measured.items()},
    }
    write_whole(file, sealed_json({"seed": course.config.seed, "stages": told}))
