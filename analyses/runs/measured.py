"""An unedited model on its pairs: residual streams of every arm, the refusal direction and the drifts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from regap.analyses.judges.phrases.answer_text import thinks
from regap.analyses.judges.phrases.refusals import opens_with_refusal
from regap.analyses.judges.registry import judge_for
from regap.analyses.judges.verdicts import Judge, Judged, judge_all
from regap.analyses.read_back import (
    ORGANISM_QUESTION,
    Transcription,
    read_back,
    with_misread,
    with_misread_by_answer,
)
from regap.analyses.runs.config import RunConfig
from regap.errors import ConfigError, PairError
from regap.geometry.data.pairs import Pairs, is_media_arm
from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.estimates import Resamples
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.runner import Runner
from regap.geometry.models.loading import Model
from regap.geometry.separability import d_prime
from regap.geometry.states.activations import Activations
from regap.interventions.decoding import Sampling
from regap.interventions.generation import Completion, generate_each
from regap.organism.vocabulary import is_spoken_by


@dataclass(frozen=True, eq=False)
class Measured:
    """An unedited model on its pairs: states of every arm, the refusal direction, and the drift of every image arm."""

    runner: Runner = field(repr=False)
    pairs: Pairs = field(repr=False)
    config: RunConfig = field(repr=False)
    corrected_arm: str | None
    """The image arm that is corrected; None if there is no image arm."""
    states: Mapping[str, Activations] = field(repr=False)
    refusal: Direction = field(repr=False)
    """Fitted on calibration pairs in the text arm."""
    drifts: Mapping[str, Drift] = field(repr=False)
    """The drift of every arm but text, fitted on calibration pairs."""
    layer: int
    """The reported layer: among the first four fifths, the one where calibration texts are most separable."""

    @property
    def model(self) -> Model:
        """The model that was measured."""
        return self.runner.model

    @property
    def image_arm(self) -> str:
        """The arm that is corrected; raises PairError if there is no image arm."""
        return require_image_arm(self.corrected_arm, tuple(self.states))

    @property
    def drift(self) -> Drift:
        """The drift of the corrected arm; raises PairError if there is no image arm."""
        return self.drifts[self.image_arm]

    def weights(self, states: Activations) -> Float[Tensor, "resample prompt"]:
        """Return the weights of these prompts in each resample of the run."""
        return self.resamples(states).weights

    def resamples(self, states: Activations) -> Resamples:
        """Return the run's resamples of these prompts; states of the same prompts have the same ones."""
        return Resamples.of(states.clusters, states.harmful, self.config.resamples, self.config.seed)

    @cached_property
    def judge(self) -> Judge:
        """The judge of refusals and right answers."""
        return judge_for(self.pairs, self.config.judge)

    @cached_property
    def refusal_tokens(self) -> frozenset[int]:
        """First tokens of refusals of calibration texts that never begin an answer to a harmless text.

        Raises PairError if there are none, because the model refuses nothing, or thinks before it answers, or begins
        refusals and answers alike.
        """
        asked = self.pairs.calibration
        told = f"answers, calibration texts, {self.model.name}"
        answers = self.generate(asked, "text", {"": []}, told)[""]
        thinking = sum(thinks(one.text) for one in answers)
        if 2 * thinking > len(answers):
            raise PairError(
                f"model {self.model.name} thinks before {thinking} of {len(answers)} answers to calibration texts, so "
                "their first tokens do not tell refusals; turn thinking off in its chat template"
            )
        label = {pair.pair_id: pair.label for pair in asked}
        refused = {one.first_token for one in answers if opens_with_refusal(one.text)}
        answered = {
            one.first_token
            for one in answers
            if label[one.pair_id] == "harmless" and not opens_with_refusal(one.text)
        }
        if not refused - answered:
            raise PairError(
                f"model {self.model.name} refuses none of the {len(asked)} calibration texts, or begins refusals and "
                "answers with the same token; check the chat template and the pairs"
            )
        return frozenset(refused - answered)

    def generate(
        self, pairs: Pairs, arm: str, conditions: Mapping[str, Sequence[Edit]], told: str = ""
    ) -> dict[str, tuple[Completion, ...]]:
        """Return the completions of pairs in an arm under each condition; they are kept in the runner's store, if any.

        told: the name of this stage in the progress bars.
        """
        runner = self.runner.within("answers").named(told or f"answers, {arm}, {len(conditions)} conditions")
        budget, sampling = self.config.max_new_tokens, sampling_of(self.config)
        return generate_each(runner, pairs, arm, conditions, max_new_tokens=budget, sampling=sampling)

    def answers(
        self, arm: str, conditions: Mapping[str, Sequence[Edit]], pairs: Pairs | None = None
    ) -> dict[str, tuple[Judged, ...]]:
        """Return judged answers to these pairs (default: all test pairs) in an arm, under each condition.

        If the run reads images back, answers to images that were read as another request are misread; the organism's
        answers tell without it.
        """
        asked = (pairs or self.pairs.test).where(arm=arm)
        found = self.generate(asked, arm, conditions)
        readings = self.readings.get(arm, ())
        judged = {
            name: with_misread(judge_all(self.judge, asked, answers), readings)
            for name, answers in found.items()
        }
        return (
            {name: with_misread_by_answer(each) for name, each in judged.items()}
            if self.is_organism
            else judged
        )

    @cached_property
    def is_organism(self) -> bool:
        """Whether the model speaks the organism's language: bundled, built or trained again."""
        return is_spoken_by(self.model.processor.tokenizer)

    @cached_property
    def readings(self) -> Mapping[str, tuple[Transcription, ...]]:
        """The model's transcriptions of test images, by arm that shows words; empty unless the run reads back."""
        if not self.config.read_back:
            return {}
        question = ORGANISM_QUESTION if self.is_organism else None
        runner = self.runner.within("answers")
        found = {arm: read_back(runner, self.pairs.test, arm, question=question) for arm in self.states}
        return {arm: readings for arm, readings in found.items() if readings}


def sampling_of(config: RunConfig) -> Sampling | None:
    """Return how answers are sampled by these settings; None for greedy answers."""
    if config.decoding == "greedy":
        return None
    if config.decoding == "checkpoint":
        return Sampling(seed=config.seed, checkpoint=True)
    return Sampling(temperature=float(config.decoding), seed=config.seed)


def measure_model(model: Model | Runner, pairs: Pairs, config: RunConfig) -> Measured:
    """Return the model measured on the pairs; raises PairError if a split lacks a label."""
    pairs.require_both_labels()
    arms = chosen_arms(pairs, config)
    runner = Runner.of(model)
    states = capture(runner.within("activations"), pairs, arms, position=config.position)
    refusal = refusal_direction(states["text"].calibration)
    text = states["text"].calibration
    drifts = {arm: modality_drift(text, states[arm].calibration) for arm in arms if arm != "text"}
    one = Resamples.of(text.clusters, text.harmful, count=0).weights
    separable = d_prime(refusal.coordinates(text), text.harmful, one)[0]
    layer = text.layers[int(separable[: max(1, int(0.8 * len(text.layers)))].argmax())]
    return Measured(runner, pairs, config, image_arm_of(arms, config), states, refusal, drifts, layer)


def chosen_arms(pairs: Pairs, config: RunConfig) -> tuple[str, ...]:
    """Return the arms that a run captures, text included; raises ConfigError for an arm that no pair has."""
    known = {*pairs.arms, *config.make}  # captions are made after the model is loaded
    for arm in config.arms or ():
        if arm not in known:
            raise ConfigError(f"arm is {arm!r}; the pairs have the arms {', '.join(sorted(known))}")
    arms = tuple(config.arms or pairs.arms)
    arms = arms if "text" in arms else ("text", *arms)
    image_arm_of((*arms, *config.make), config)
    return arms


def image_arm_of(arms: Sequence[str], config: RunConfig) -> str | None:
    """Return the arm to correct, None if there is no image arm; raises ConfigError for one that no pair has."""
    if config.image_arm and config.image_arm not in arms:
        there = ", ".join(dict.fromkeys(arms))
        raise ConfigError(
            f"image_arm is {config.image_arm!r}; the pairs have the arms {there}: name one of them, or make it (--make)"
        )
    if config.image_arm:
        return config.image_arm
    found = [arm for arm in arms if arm == "typographic"] or [arm for arm in arms if is_media_arm(arm)]
    return found[0] if found else None


def require_image_arm(arm: str | None, arms: Sequence[str]) -> str:
    """Return the image arm; raises PairError if there is none."""
    if arm is None:
        raise PairError(
            f"the pairs have no image arm, only {', '.join(arms)}; add rows of typographic, picture or speech"
        )
    return arm


def are_refusals(first_tokens: Tensor, tokens: frozenset[int]) -> Tensor:
    """Return True where a first token opens a refusal."""
    return torch.isin(first_tokens, torch.tensor(sorted(tokens)))


def are_harmful(pairs: Pairs) -> Tensor:
    """Return True for harmful pairs, in order."""
    return torch.tensor([pair.label == "harmful" for pair in pairs])
