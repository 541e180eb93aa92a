"""A model on its pairs, as it is: residual streams of every arm, the refusal direction, the drifts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regap.analyses.runs.config import RunConfig
from regap.errors import ConfigError
from regap.analyses.runs.progress import Advance, Tracker, silent
from regap.geometry.states.activations import Activations
from regap.geometry.forward.capture import capture
from regap.geometry.directions import Direction, refusal_direction
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.estimates import Resamples
from regap.geometry.forward.hooks import Edit
from regap.geometry.forward.runner import Limits, Runner
from regap.geometry.models.loading import Model
from regap.geometry.data.pairs import Pairs, is_image_arm
from regap.errors import PairError
from regap.geometry.separability import d_prime
from regap.interventions.generation import Completion, generate_each


@dataclass(frozen=True, eq=False)
class Measured:
    """A model on its pairs, as it is: states of every arm, the refusal direction, the drift of every other arm."""

    model: Model = field(repr=False)
    pairs: Pairs = field(repr=False)
    config: RunConfig = field(repr=False)
    image_arm: str
    """The arm that is corrected."""
    states: Mapping[str, Activations] = field(repr=False)
    refusal: Direction = field(repr=False)
    """Fitted on calibration pairs in the text arm."""
    drifts: Mapping[str, Drift] = field(repr=False)
    """Of every arm but text, fitted on calibration pairs."""
    layer: int
    """Where numbers are quoted: the most separable text layer of the first four fifths, on calibration pairs."""

    @property
    def drift(self) -> Drift:
        """The drift of the corrected arm."""
        return self.drifts[self.image_arm]

    @property
    def runner(self) -> Runner:
        """The model within the limits of the configuration; nothing is kept, and nobody is told."""
        size = self.config.batch_size
        return Runner(self.model, Limits(size, 2 * size, self.config.batch_tokens))

    def generate(
        self,
        pairs: Pairs,
        arm: str,
        conditions: Mapping[str, Sequence[Edit]],
        folder: Path | None = None,
        advance: Advance | None = None,
    ) -> dict[str, tuple[Completion, ...]]:
        """Return the completions of pairs in an arm under each condition, kept in the run folder if one is given."""
        return generate_each(
            self.runner.kept_in(folder / "answers" if folder else None).telling(advance),
            pairs,
            arm,
            conditions,
            max_new_tokens=self.config.max_new_tokens,
        )


def measure_model(
    model: Model, pairs: Pairs, config: RunConfig, folder: Path | None = None, track: Tracker = silent
) -> Measured:
    """Return the model observed on the pairs; raises PairError if a split lacks a label or no image arm is there."""
    pairs.require_both_labels()
    arms = chosen_arms(pairs, config)
    image_arm = image_arm_of(arms, config)
    limits = Limits(prompts=config.batch_size, tokens=config.batch_tokens)
    states = capture(Runner(model, limits, folder / "activations" if folder else None, track), pairs, arms)
    refusal = refusal_direction(states["text"].calibration)
    text = states["text"].calibration
    drifts = {arm: modality_drift(text, states[arm].calibration) for arm in arms if arm != "text"}
    return Measured(model, pairs, config, image_arm, states, refusal, drifts, _quoted_layer(text, refusal))


def chosen_arms(pairs: Pairs, config: RunConfig) -> tuple[str, ...]:
    """Return the arms that a run captures, text among them.

    Raises ConfigError for an arm that no pair has, PairError if no image arm is among them.
    """
    known = {*pairs.arms, *config.make}  # captions are made once the model is there
    for arm in config.arms or ():
        if arm not in known:
            raise ConfigError(f"arm is {arm!r}; the pairs have the arms {', '.join(sorted(known))}")
    arms = tuple(config.arms or pairs.arms)
    arms = arms if "text" in arms else ("text", *arms)
    image_arm_of((*arms, *config.make), config)
    return arms


def image_arm_of(arms: tuple[str, ...], config: RunConfig) -> str:
    """Return the arm that is corrected; raises ConfigError for one that is not there, PairError if none can be."""
    if config.image_arm and config.image_arm not in arms:
        raise ConfigError(f"image_arm is {config.image_arm!r}; the pairs have the arms {', '.join(arms)}")
    if config.image_arm:
        return config.image_arm
    found = [arm for arm in arms if arm == "typographic"] or [arm for arm in arms if is_image_arm(arm)]
    if not found:
        raise PairError(
            f"the pairs have no image arm, only {', '.join(arms)}; add typographic or picture rows"
        )
    return found[0]


def _quoted_layer(text: Activations, refusal: Direction) -> int:
    one = Resamples.of(text.clusters, text.harmful, count=0).weights
    found = d_prime(refusal.coordinates(text), text.harmful, one)[0]
    candidates = max(1, int(0.8 * len(text.layers)))
    return text.layers[int(found[:candidates].argmax())]
