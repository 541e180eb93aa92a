"""What is asked of a live model, and what it answers: plain values that need no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True)
class LiveQuestion:
    """One prompt under one intervention, in full."""

    pair_id: str
    arm: str
    method: Literal["none", "fixed", "regap"] = "fixed"
    layer: int = 0
    """Which block's output is edited, 0-based."""
    part: Literal["D", "D_along", "D_across"] = "D"
    positions: Literal["last", "after_instruction", "image", "request", "all"] = "last"
    strength: float = 1.0
    """Multiple of the vector; of ReGap the strength of the open gate."""
    gate: Literal["hard", "sigmoid", "line"] = "hard"


@dataclass(frozen=True)
class LiveState:
    """What the model did with the prompt: its answer, the verdict on it, and its way through the layers."""

    text: str = field(repr=False)
    verdict: str
    reason: str
    refusal: Sequence[float] = field(repr=False)
    """z at every layer."""
    drift: Sequence[float] = field(repr=False)
    """δ at every layer."""


@dataclass(frozen=True)
class LivePicture:
    """The part of a picture that the model sees, and where the patches of it lie."""

    png: bytes = field(repr=False)
    width: int
    """Pixels of the PNG."""
    height: int
    rows: int
    """Of the patches, line by line; rows and columns are 0 where they make no rectangle over the picture."""
    columns: int
    problem: str = ""
    """Why they make none."""


@dataclass(frozen=True)
class LiveAnswer:
    """The same prompt without and with the intervention."""

    judge: str
    prompt: str = field(repr=False)
    """As the model was given it."""
    before: LiveState
    after: LiveState
    strength: float
    """What was applied to this prompt: ReGap chooses it."""
    seconds: float
    tokens: Sequence[str] = field(default=(), repr=False)
    """The tokens of the prompt."""
    token_refusal: Sequence[float] = field(default=(), repr=False)
    """z of each token at the edited layer, without the intervention."""
    token_drift: Sequence[float] = field(default=(), repr=False)
    """δ likewise."""
    image_tokens: Sequence[int] = field(default=(), repr=False)
    """Which of the tokens stand for patches of the image."""
    picture: LivePicture | None = None
    signal: str = ""
    """What ReGap's gate read; empty for another intervention."""
    gate_told: str = ""
    """In words, whether that gate is the run's own or was calibrated now."""


@runtime_checkable
class Live(Protocol):
    """A loaded model that can be asked; ValueError says what is wrong with a question."""

    def ask(self, question: LiveQuestion) -> LiveAnswer:
        """The answer to a question; equal questions are answered once."""
        ...
