"""Questions to a live model and its answers, in plain values without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from regap.geometry.prompts.positions import Positions


@dataclass(frozen=True)
class LiveQuestion:
    """One prompt and one intervention."""

    pair_id: str
    arm: str
    method: Literal["none", "fixed", "regap"] = "fixed"
    layer: int = 0
    """The block whose output is edited, 0-based."""
    part: Literal["D", "D_along", "D_across"] = "D"
    positions: Positions = "last"
    """A role, one token of a role such as `image[3]`, or a rule such as `image:ink`."""
    strength: float = 1.0
    """Multiple of the vector; for ReGap, the strength of the open gate."""
    gate: Literal["hard", "sigmoid", "line"] = "hard"


@dataclass(frozen=True)
class LiveState:
    """The model's answer to the prompt, its verdict, and z and δ at every layer."""

    text: str = field(repr=False)
    verdict: str
    reason: str
    refusal: Sequence[float] = field(repr=False)
    """z at every layer."""
    drift: Sequence[float] = field(repr=False)
    """δ at every layer."""


@dataclass(frozen=True)
class LivePicture:
    """The part of a picture that the model sees, and its grid of patches."""

    png: bytes = field(repr=False)
    width: int
    """Width of the PNG in pixels."""
    height: int
    rows: int
    """Rows of patches; rows and columns are 0 if the patches form no grid over the picture."""
    columns: int
    problem: str = ""
    """Why there is no grid."""


@dataclass(frozen=True)
class LiveAnswer:
    """The same prompt without and with the intervention."""

    judge: str
    prompt: str = field(repr=False)
    """The rendered prompt."""
    before: LiveState
    after: LiveState
    strength: float
    """The strength for this prompt, which ReGap decides."""
    seconds: float
    tokens: Sequence[str] = field(default=(), repr=False)
    """The tokens of the prompt."""
    token_refusal: Sequence[float] = field(default=(), repr=False)
    """z of each token at the edited layer, without the intervention."""
    token_drift: Sequence[float] = field(default=(), repr=False)
    """δ of each token at the edited layer, without the intervention."""
    image_tokens: Sequence[int] = field(default=(), repr=False)
    """Indices of the tokens that are image patches."""
    picture: LivePicture | None = None
    signal: str = ""
    """The signal of ReGap's gate; empty for another intervention."""
    gate_told: str = ""
    """In words: whether the gate is the run's own or was calibrated now."""


@runtime_checkable
class Live(Protocol):
    """A loaded model that answers questions; it raises ValueError for an unusable question."""

    def ask(self, question: LiveQuestion) -> LiveAnswer:
        """Return the answer to a question; equal questions are answered once."""
        ...
