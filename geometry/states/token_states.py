"""Residual streams at every token of each prompt: one tensor per prompt, since prompts differ in length."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.states.activations import StateRow

Role = Literal["image", "audio", "request", "system", "earlier", "template", "unknown"]
"""image: a patch of an image; audio: a token of a sound; request: the user's message; system: the system message;
earlier: earlier turns; template: everything else; unknown: the tokenizer does not give the characters of its tokens."""


@dataclass(frozen=True)
class Token:
    """One token of a prompt."""

    text: str
    """The token as the tokenizer writes it."""
    role: Role


@dataclass(frozen=True, eq=False)
class TokenStates:
    """Residual streams of one arm at every token, one row for each prompt; padding is left out."""

    residuals: tuple[Float[Tensor, "_token layer d_model"], ...] = field(repr=False)
    """One tensor for each prompt, float32, on the CPU; its last row is the prompt's last token."""
    tokens: tuple[tuple[Token, ...], ...] = field(repr=False)
    """The tokens of each prompt, in the same order."""
    rows: tuple[StateRow, ...] = field(repr=False)
    arm: str
    layers: tuple[int, ...]
    """Which blocks, 0-based."""
    model: str
    """Fingerprint of the model."""
    edits: tuple[str, ...] = ()
    """Identities of the edits under which they were captured."""
    position: str = "all"

    def __post_init__(self) -> None:
        if not self.rows:
            raise PairError(f"arm {self.arm}: no prompts; choose an arm that some pair has")
        lengths = [
            (len(states), len(tokens)) for states, tokens in zip(self.residuals, self.tokens, strict=True)
        ]
        if len(lengths) != len(self.rows) or any(one != other for one, other in lengths):
            raise ValueError("residuals, tokens and rows do not fit one another; capture them again")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[StateRow, tuple[Token, ...], Float[Tensor, "_token layer d_model"]]]:
        return zip(self.rows, self.tokens, self.residuals, strict=True)

    def at(self, layer: int) -> list[Float[Tensor, "_token d_model"]]:
        """Return the states of each prompt after block `layer`; raises ValueError if it was not captured."""
        if layer not in self.layers:
            raise ValueError(f"layer {layer} was not captured; captured are {list(self.layers)}")
        return [states[:, self.layers.index(layer)] for states in self.residuals]
