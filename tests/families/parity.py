"""One family under test: the model twice, bare and under our hooks, the prompts it is asked, and what was measured."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from tiny_models import FAMILIES
from tiny_parts import awake
from tones import tone
from torch import Tensor

from regap.geometry.data.pairs import Picture, Prompt
from regap.geometry.data.sounds import Sound
from regap.geometry.models.decoder import find_decoder
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.batch import Batch, collate

DTYPES = ("float32", "bfloat16")
MEASURES = (
    "states",
    "logits",
    "edit last",
    "edit all",
    "padding",
    "sounds together",
    "one token",
    "answers",
    "mixed",
    "positions",
)
NO_WORDS_ALONE = ("paligemma",)
"""Their processors take no prompt without an image."""
RESULTS: dict[tuple[str, str], dict[str, str]] = {}
"""What was found, by family and number format: the table that is printed at the end."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A tiny model of one family in one number format."""

    family: str
    dtype: str
    bare: Any = field(repr=False)
    """As Hugging Face built it, never wrapped."""
    model: Model = field(repr=False)

    @property
    def blocks(self) -> Any:
        """The decoder's blocks of the bare model."""
        return self.bare.get_submodule(find_decoder(self.bare).blocks)

    @property
    def kinds(self) -> list[str]:
        """The kinds of prompts that the family takes."""
        media = ["images"] * self.model.sees_images + ["sounds"] * self.model.hears
        return media if self.family in NO_WORDS_ALONE else ["words", *media]

    def batch(self, kind: str) -> Batch:
        """Prompts of unequal length in one batch."""
        return collate(self.model, PROMPTS[kind], range(len(PROMPTS[kind])))

    def singles(self, kind: str) -> list[Batch]:
        """The same prompts one by one."""
        return [collate(self.model, [prompt], [row]) for row, prompt in enumerate(PROMPTS[kind])]


def subject(family: str, dtype: str) -> Subject:
    """The family's model, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # for the parameters that `awake` leaves as they are built
        made = FAMILIES[family]()
    bare = awake(made.model).to(getattr(torch, dtype))
    return Subject(family, dtype, bare, load(deepcopy(bare), processor=made.processor))


def picture(colour: str, width: int, height: int) -> Picture:
    kept = io.BytesIO()
    image = Image.new("RGB", (width, height), colour)
    image.paste("white", (0, 0, width // 2, height // 3))
    image.save(kept, "PNG")
    return Picture(kept.getvalue())


RED, BLUE, WIDE = picture("red", 40, 30), picture("blue", 50, 70), picture("green", 56, 28)
WORDS = [
    Prompt("hi"),
    Prompt("what is written here and why"),
    Prompt("tell me how the colours differ, please"),
]
SEEN = [
    Prompt("<image>hi", (RED,)),
    Prompt("<image> what is written here and why", (BLUE,)),
    Prompt("<image>tell me how the colours of the two pictures differ, please", (WIDE,)),
]


LOW, HIGH = Sound(tone(300, 0.4)), Sound(tone(1800, 0.7, 44_100, 2))
LONG = Sound(tone(700, 1.3, 8_000))
HEARD = [
    Prompt("<audio>hi", sounds=(LOW,)),
    Prompt("<audio> what is said here and why", sounds=(HIGH,)),
    Prompt("<audio>tell me how the two voices differ, please", sounds=(LONG,)),
]
PAIRED = Prompt("<image>and<image> how do the two differ?", (RED, BLUE))
PROMPTS = {
    "words": WORDS,
    "images": SEEN,
    "sounds": HEARD,
    "several": [SEEN[1], PAIRED],
    "several sounds": [HEARD[0], Prompt("<audio>and<audio> how do they differ?", sounds=(LOW, HIGH))],
    "mixed sounds": [WORDS[1], HEARD[0], HEARD[1]],
    "mixed": [WORDS[1], SEEN[0], SEEN[1]],
}


@contextmanager
def raw_hook(block: Any, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """PyTorch's own hook on a block of the bare model."""

    def call(module: Any, inputs: Any, output: Any) -> Any:
        return change(output) if isinstance(output, Tensor) else (change(output[0]), *output[1:])

    handle = block.register_forward_hook(call)
    try:
        yield
    finally:
        handle.remove()


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest number expected."""
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max())


def record(of: Subject, measure: str, value: float | str) -> None:
    """Keep what was measured for the table; of several values the largest."""
    row = RESULTS.setdefault((of.family, of.dtype), {})
    shown = value if isinstance(value, str) else f"{value:.0e}" if value else "0"
    earlier = row.get(measure)
    if earlier is None or (isinstance(value, float) and float(earlier) < value):
        row[measure] = shown
