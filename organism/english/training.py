"""The training of the English subject, lesson by lesson; what it leaves are eyes, safety, and a change a member."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import LlavaForConditionalGeneration

from regap.geometry.files import sealed_json, write_whole
from regap.organism.english.base import Base
from regap.organism.english.change import Change, folded, trainable
from regap.organism.english.checkpoint import (
    build_model,
    build_processor,
    read_eyes,
    save_checkpoint,
    write_eyes,
)
from regap.organism.english.examples import Material, draw_examples
from regap.organism.english.gate import ReadBack, read_back
from regap.organism.english.lessons import Degree, EnglishConfig, Lesson
from regap.organism.english.objective import ChatLoss
from regap.organism.english.own_words import OwnWords, read_own_words, write_own_words
from regap.organism.english.reading import Pictures, TokenReader, draw_texts
from regap.organism.english.texts import Words
from regap.organism.learning import Progress, Report, read_progress, read_weights, silent, train_stage
from regap.organism.stages import Part
from regap.organism.training import check_threads, claim, stage_file, step_generator
from regap.organism.workers import Job, run_in_turn

EYES, SAFETY, HISTORY = "eyes.safetensors", "safety.safetensors", "training.json"
"""Tower and projector; the change up to safety; and what each lesson took."""
PREFIXES: dict[Part, tuple[str, ...]] = {
    "tower": ("reader.tower.",),
    "projector": ("reader.projector.",),
    "letters": ("reader.letters.", "reader.scale"),
}
HELD_BACK = 96
"""Requests that the base made up and that no lesson shows: the gate reads them."""


class Learner(nn.Module):
    """The subject with the heads of its first lesson; tower and projector are the same in both."""

    def __init__(self, config: EnglishConfig, base: Base) -> None:
        super().__init__()
        model = build_model(config.eyes, base.model(), config.seed)
        self.reader = TokenReader(model, config.eyes, config.seed)
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
    def of(cls, config: EnglishConfig, base: Base, out: Path, device: str = "cpu") -> "Course":
        """Return a course at its beginning."""
        learner = Learner(config, base).to(device)
        return cls(
            config, base, out, torch.device(device), learner, build_processor(config.eyes, base.tokenizer())
        )

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
        return Material(self.config.eyes, words, OwnWords(own.answers, own.made_up[HELD_BACK:]))

    def look(self, report: Report = silent) -> Progress:
        """Give the first lesson: letters and tokens on the patches of a picture."""
        lesson, eyes = self.config.tower, self.config.eyes
        words = Words.of(self.processor.tokenizer)

        def loss(step: int) -> torch.Tensor:
            generator = step_generator(self.config.seed, lesson.name, step)
            shown = draw_texts(lesson.batch, eyes, words, generator)
            return self.learner.reader(
                Pictures(shown, eyes, self.processor.tokenizer, generator).to(self.device)
            )

        return self._train(lesson, loss, report)

    def talk(self, lesson: Lesson, report: Report = silent, seed: int = 0) -> Progress:
        """Give a lesson of messages and answers."""
        material, learner = self.material(), self.learner
        objective = ChatLoss(learner.model, learner.reader, self.processor, self.config.eyes)

        def loss(step: int) -> torch.Tensor:
            generator = step_generator(self.config.seed, lesson.name, step, seed)
            done = step / lesson.steps
            return objective(draw_examples(lesson.mixture, lesson.batch, material, generator, done))

        return self._train(lesson, loss, report)

    def _train(self, lesson: Lesson, loss: Callable[[int], torch.Tensor], report: Report) -> Progress:
        file, every = stage_file(self.out, lesson), self.config.save_every
        return train_stage(lesson, self.learner, self.trained(lesson), loss, file, every, report, whole=False)

    def trained(self, lesson: Lesson) -> list[str]:
        """Return the names of the parameters that a lesson trains."""
        prefixes = tuple(prefix for part in lesson.trained for prefix in PREFIXES.get(part, ()))
        return [
            name
            for name, _ in self.learner.named_parameters()
            if (name.startswith(prefixes) and "post_layernorm" not in name)
            or ("change" in lesson.trained and ".lora_" in name)
        ]

    def after(self, lesson: Lesson) -> None:
        """Give the learner what a finished lesson has taught; raises RuntimeError if it is not finished."""
        file = stage_file(self.out, lesson)
        progress = read_progress(file)
        if not progress.is_end_of(lesson):
            raise RuntimeError(
                f"lesson {lesson.name!r} is at step {progress.step} of {lesson.steps}; train it first"
            )
        self.learner.load_state_dict(self.learner.state_dict() | read_weights(file))

    def gate(self) -> ReadBack:
        """Return how well requests are read aloud that no lesson has shown."""
        own = self.own_words()
        return read_back(self.learner.model, self.processor, self.config.eyes, own.made_up[:HELD_BACK])


def train(config: EnglishConfig, base: Base, out: Path, threads: int = 2, device: str = "cpu") -> None:
    """Train all lessons into `out`: eyes, the change up to safety, and for each member a change and a whole checkpoint.

    Finished lessons are kept and a stopped one continues, so repeating the call ends in the same files. Safety is not
    taught before requests are read aloud well enough: raises RuntimeError with the error reached if they are not.
    """
    check_threads(threads)
    claim(f"{config!r} on {base.digest()}", out)
    whole = Course.of(config, base, out, device)
    run_in_turn(
        [
            Job("the base's own words", config.made_up + HELD_BACK, partial(_own_words, whole)),
            Job(config.tower.name, config.tower.steps, whole.look),
        ],
        threads,
    )
    trainable(whole.learner.decoder, config.rank, config.seed)
    whole.learner.to(whole.device)
    run_in_turn(
        [Job(config.reading.name, config.reading.steps, partial(whole.talk, config.reading))], threads
    )
    before = _gate(whole, config)
    run_in_turn([Job(config.safety.name, config.safety.steps, partial(whole.talk, config.safety))], threads)
    write_eyes(whole.learner.reader, out / EYES)
    Change.trained_in(whole.learner.decoder, 2.0).write(out / SAFETY)
    gates = {"before safety": before, "after safety": whole.gate()}
    for degree in config.degrees:
        for seed in config.seeds:
            gates[f"{degree.name}-{seed}"] = _member(config, base, out, device, degree, seed, threads)
    _write_history(config, out, gates)


def _own_words(course: Course, report: Report = silent) -> OwnWords:
    whole = course.config.made_up + HELD_BACK
    return course.own_words(lambda done: report("", min(done, whole), whole, float("nan")))


def _gate(course: Course, config: EnglishConfig) -> ReadBack:
    found = course.gate()
    if found.error > config.most_misread:
        raise RuntimeError(
            f"requests are read aloud with an error of {found.error:.3f}; {config.most_misread} is allowed; "
            f"train {config.reading.name!r} for more steps than {config.reading.steps}"
        )
    return found


def _member(
    config: EnglishConfig, base: Base, out: Path, device: str, degree: Degree, seed: int, threads: int
) -> ReadBack:
    """Train the last lesson of one member, from the state after safety as it is stored, and write its change."""
    course, lesson = Course.of(config, base, out, device), config.visual_of(degree, seed)
    read_eyes(out / EYES, course.learner.model)
    Change.read(out / SAFETY).add_to(course.learner.decoder)
    scale = trainable(course.learner.decoder, config.rank_of_visual, seed)
    course.learner.to(course.device)
    run_in_turn([Job(lesson.name, lesson.steps, partial(course.talk, lesson, seed=seed))], threads)
    course.after(lesson)
    Change.trained_in(course.learner.decoder, scale).write(out / f"{degree.name}-{seed}.safetensors")
    folded(course.learner.decoder)
    save_checkpoint(course.learner.model, course.processor, out / f"{degree.name}-{seed}")
    return course.gate()


def _write_history(config: EnglishConfig, out: Path, gates: dict[str, ReadBack]) -> None:
    lessons = [config.tower, config.reading, config.safety]
    lessons += [config.visual_of(degree, seed) for degree in config.degrees for seed in config.seeds]
    history = {}
    for lesson in lessons:
        progress = read_progress(stage_file(out, lesson))
        history[lesson.name] = {
            "steps": progress.step,
            "batch": lesson.batch,
            "learning_rate": lesson.learning_rate,
            "mixture": dict(lesson.mixture),
            "seconds": round(progress.seconds, 1),
            "final_loss": round(float(np.mean(progress.losses[-10:])), 5),
        }
    told = {"seed": config.seed, "lessons": history}
    told["read_back_error"] = {name: round(found.error, 4) for name, found in gates.items()}
    write_whole(out / HISTORY, sealed_json(told))
