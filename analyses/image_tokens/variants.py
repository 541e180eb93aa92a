"""Other displacements of image tokens than the drift, each under one name: what must be undone, and how exactly.

Each is removed at the image tokens of the block that was chosen for the drift. Those of harmful and of harmless pairs
alone use the labels; all others use labels only to weight both alike. Our operationalisation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from regap.analyses.image_tokens.choice import ImageTokenChoice, states_of_roles
from regap.analyses.runs.measured import Measured
from regap.errors import ConfigError, PairError
from regap.geometry.data.arm_synthesis import with_arms
from regap.geometry.data.pairs import Label, is_media_arm, is_speech_arm
from regap.geometry.drift import Drift, modality_drift
from regap.geometry.forward.capture import capture
from regap.geometry.models.model import Model
from regap.geometry.prompts.positions import carrier_of
from regap.geometry.states.activations import Activations
from regap.geometry.states.token_states import Role, TokenStates
from regap.geometry.token_drift import drift_by_index
from regap.interventions.edits.alignment import Alignment, alignment
from regap.interventions.edits.indexed_shift import IndexedShift
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

Removal = Shift | IndexedShift | Alignment
BOTH, WHOLE = (0.5, 1.0), (1.0,)


@dataclass(frozen=True, eq=False)
class Variant:
    """A displacement that is removed in place of the drift, or the reason why it was left out."""

    name: str
    """Its name in the column `vector`."""
    title: str
    """What is removed."""
    edit: Removal | None = field(default=None, repr=False)
    """Its whole removal; None if it was left out."""
    strengths: tuple[float, ...] = WHOLE
    reason: str = ""
    """Why it was left out; empty if it was not."""

    def __post_init__(self) -> None:
        if (self.edit is None) != bool(self.reason):
            raise ValueError(f"variant {self.name!r}: give either an edit, or the reason why it is left out")


@dataclass(frozen=True, eq=False)
class _Sources:
    """What variants are made of: calibration states of the run, at the chosen block."""

    seen: Measured = field(repr=False)
    chosen: ImageTokenChoice = field(repr=False)

    @property
    def block(self) -> int:
        return self.chosen.alone.block

    @property
    def role(self) -> Role:
        return "audio" if is_speech_arm(self.seen.image_arm) else "image"

    def shift(self, drift: Drift) -> Removal:
        return self.chosen.early(1.0, drift)

    def of_label(self, label: Label) -> Removal:
        return self.shift(
            modality_drift(self.chosen.text.where(label=label), self.chosen.image.where(label=label))
        )

    def states(self, arm: str, position: str) -> Activations:
        """Return calibration states of an arm of the run; PairError if no calibration pair has it."""
        asked = self.seen.pairs.calibration
        if arm not in asked.arms:
            raise PairError(f"the run has no arm {arm}")
        return capture(self.seen.runner.within("activations"), asked, arm, position=position)[arm]

    def blank(self) -> Removal:
        """Return the removal of what a picture without content adds; it is made where the run has none."""
        if self.role == "audio":
            raise PairError(f"arm {self.seen.image_arm} has no pictures")
        pairs = with_arms(self.seen.pairs.calibration, "blank")
        runner = self.seen.runner.within("activations")
        found = capture(runner, pairs.where(arm="blank"), "blank", position="image")["blank"]
        return self.shift(modality_drift(self.chosen.text, found))

    def captions(self) -> Removal:
        captions = self.states("caption", "request")
        return self.shift(modality_drift(captions, self.chosen.image))

    def of_arm(self, arm: str) -> Removal:
        return self.shift(modality_drift(self.chosen.text, self.states(arm, carrier_of(arm))))

    def of_block(self, layer: int) -> Removal:
        """Return the removal of another block's drift, as long as the drift of the chosen block."""
        own, other = self.chosen.drift.at(self.block), self.chosen.drift.at(layer)
        return self.vector(other * own.norm() / other.norm(), f"D of block {layer}")

    def vector(self, removed: Float[Tensor, " d_model"], name: str) -> Removal:
        """Return the removal of a vector at the chosen block."""
        site = Site((self.block,), carrier_of(self.seen.image_arm))
        return Shift(site, removed[None], 1.0, name, self.seen.model.fingerprint)


@dataclass(frozen=True, eq=False)
class _Tokens:
    """Calibration states of every token at the chosen block, in words and in the corrected arm."""

    text: TokenStates = field(repr=False)
    image: TokenStates = field(repr=False)
    sources: _Sources = field(repr=False)

    @classmethod
    def of(cls, sources: _Sources) -> "_Tokens":
        """Capture them; raises PairError if they take more memory than the runner's limits allow."""
        seen, arms = sources.seen, ("text", sources.seen.image_arm)
        runner = seen.runner.named("states of single tokens")
        found = capture(runner, seen.pairs.calibration, arms, layers=[sources.block], position="all")
        text, image = (found[arm] for arm in arms)
        return cls(text, image, sources)

    def by_index(self, paired: bool, name: str) -> Removal:
        block, role = self.sources.block, self.sources.role
        vectors = drift_by_index(self.image, self.text, block, role, paired)
        return IndexedShift(Site((block,), role), vectors[None], 1.0, name, self.image.model)  # type: ignore[arg-type]

    def mapped(self, kind: str) -> Removal:
        return alignment(self.image, self.text, self.sources.block, kind, role=self.sources.role)


def variants_of(seen: Measured, chosen: ImageTokenChoice) -> list[Variant]:
    """Return every variant for the chosen block; one that this run cannot make says why."""
    sources = _Sources(seen, chosen)
    return [*_of_means(sources), *_of_single_tokens(sources)]


def of_another_model(seen: Measured, chosen: ImageTokenChoice, other: Measured) -> Variant:
    """Return the removal of another model's drift at the chosen block, as long as it is there: a control.

    Members of one family may share it; models trained apart need not. Raises ConfigError for a model of another shape.
    """
    check_another(seen, other.model)
    if carrier_of(other.image_arm) != carrier_of(seen.image_arm):
        raise ConfigError(
            f"another is a run that corrects arm {other.image_arm}, and this one corrects {seen.image_arm}; name a "
            "run of pictures beside pictures, and of sounds beside sounds"
        )
    sources = _Sources(seen, chosen)
    name = f"drift of {other.model.name}"
    drift = modality_drift(*states_of_roles(other))
    return Variant(
        name, f"the drift of model {other.model.name}", sources.vector(drift.at(sources.block), name), BOTH
    )


def check_another(seen: Measured, other: Model) -> None:
    """Raise ConfigError unless it is another model, with a residual stream of the same width and depth."""
    if other.fingerprint == seen.model.fingerprint:
        raise ConfigError(f"another is a run of the same model, {other.name}; name a run of another model")
    own, others = ((one.width, one.layers) for one in (seen.model, other))
    if own != others:
        raise ConfigError(
            f"another is a run of {other.name}, whose stream is {others[0]} wide over {others[1]} blocks; that of "
            f"{seen.model.name} is {own[0]} wide over {own[1]}; name a run of a model of the same shape"
        )


def _of_means(sources: _Sources) -> Iterator[Variant]:
    """Yield variants that are one vector for all image tokens."""
    mean = "mean over image tokens minus mean over request tokens"
    yield _made("harmless pairs", f"{mean}, harmless pairs alone", lambda: sources.of_label("harmless"), BOTH)
    yield _made("harmful pairs", f"{mean}, harmful pairs alone", lambda: sources.of_label("harmful"), BOTH)
    yield _made(
        "blank images",
        "mean over tokens of blank pictures minus mean over request tokens",
        sources.blank,
        BOTH,
    )
    yield _made(
        "captions", "mean over image tokens minus mean over the tokens of their captions", sources.captions
    )
    for arm in _other_arms(sources.seen)[:1]:
        yield _made(f"arm {arm}", f"the drift of arm {arm}", lambda arm=arm: sources.of_arm(arm))
    for layer in sorted({sources.block + 1, sources.seen.model.layers // 2} - {sources.block}):
        title = f"the drift of block {layer}, as long as that of block {sources.block}"
        yield _made(f"block {layer}", title, lambda layer=layer: sources.of_block(layer))


def _of_single_tokens(sources: _Sources) -> Iterator[Variant]:
    """Yield variants that need the states of single tokens."""
    told = {
        "k-th with k-th": "mean k-th image token minus mean k-th request token; minus the mean over all request "
        "tokens where fewer than half of the requests have a k-th one",
        "k-th with all": "mean k-th image token minus mean over all request tokens",
        "diagonal map": "image tokens are given mean and standard deviation of request tokens, by coordinate",
        "Gaussian map": "image tokens are given mean and covariance of request tokens",
    }
    try:
        tokens = _Tokens.of(sources)
    except PairError as error:
        yield from (Variant(name, title, reason=str(error)) for name, title in told.items())
        return
    makes: dict[str, tuple[Callable[[], Removal], tuple[float, ...]]] = {
        "k-th with k-th": (lambda: tokens.by_index(True, "k-th with k-th"), BOTH),
        "k-th with all": (lambda: tokens.by_index(False, "k-th with all"), WHOLE),
        "diagonal map": (lambda: tokens.mapped("diagonal"), BOTH),
        "Gaussian map": (lambda: tokens.mapped("gaussian"), BOTH),
    }
    for name, (make, strengths) in makes.items():
        yield _made(name, told[name], make, strengths)


def _made(
    name: str, title: str, make: Callable[[], Removal], strengths: tuple[float, ...] = WHOLE
) -> Variant:
    """Return the variant, or the reason why it cannot be made."""
    try:
        return Variant(name, title, make(), strengths)
    except PairError as error:
        return Variant(name, title, reason=str(error))


def _other_arms(seen: Measured) -> list[str]:
    """Return other image arms of the run, those of another kind first."""
    kind, own = seen.image_arm.split("-")[0], is_speech_arm(seen.image_arm)
    found = [
        arm
        for arm in seen.states
        if is_media_arm(arm) and arm != seen.image_arm and is_speech_arm(arm) == own
    ]
    return sorted(found, key=lambda arm: arm.split("-")[0] == kind)
