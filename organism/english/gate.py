"""How well a subject reads requests aloud from pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import torch

from regap.geometry.data.letter_grid import Layout, Manner, draw
from regap.organism.english.checkpoint import IMAGE, Eyes
from regap.organism.english.texts import READ
from regap.organism.objectives import as_pixels

LONGEST = 48
BATCH = 32


@dataclass(frozen=True)
class ReadBack:
    """Texts that were shown and what was read, and the mean error: one minus difflib's ratio, case ignored."""

    shown: tuple[str, ...]
    read: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.shown or len(self.shown) != len(self.read):
            raise ValueError(
                f"{len(self.shown)} texts were shown and {len(self.read)} read; give one for each"
            )

    @property
    def errors(self) -> list[float]:
        """The error of each text, 0 if it is read letter by letter, 1 if no letter is right."""
        pairs = zip(self.shown, self.read, strict=True)
        return [1 - SequenceMatcher(None, a.lower(), b.lower()).ratio() for a, b in pairs]

    @property
    def error(self) -> float:
        """The mean over texts."""
        return sum(self.errors) / len(self.shown)


@torch.inference_mode()
def read_back(model: Any, processor: Any, eyes: Eyes, texts: Sequence[str]) -> ReadBack:
    """Return what a LLaVA reads aloud from plain pictures of these texts, greedily."""
    was_training, found = model.training, []
    model.eval()
    chat = processor.apply_chat_template(
        [{"role": "user", "content": f"{IMAGE}\n{READ[0]}"}], add_generation_prompt=True, tokenize=False
    ).replace(IMAGE, IMAGE * eyes.image_tokens)
    prompt = processor.tokenizer(chat, add_special_tokens=False, return_tensors="pt")["input_ids"]
    layouts = [Layout.of(text, eyes.lines, eyes.columns) for text in texts]
    for start in range(0, len(texts), BATCH):
        some = layouts[start : start + BATCH]
        drawn = [draw(one, eyes.side, Manner(seed=start + number)) for number, one in enumerate(some)]
        ids = prompt.repeat(len(some), 1).to(model.device)
        output: Any = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=as_pixels(drawn).to(model.device),
            max_new_tokens=LONGEST,
            do_sample=False,
        )
        found += processor.batch_decode(output[:, ids.shape[1] :], skip_special_tokens=True)
    model.train(was_training)
    return ReadBack(tuple(one.text for one in layouts), tuple(text.strip() for text in found))
