"""The loss on the tokens of an answer, in the subject's own chat, with the letters of the picture beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlavaForConditionalGeneration

from regap.organism.english.checkpoint import Eyes
from regap.organism.english.examples import Example
from regap.organism.english.reading import TokenReader
from regap.organism.objectives import as_pixels

FIRST_TOKEN_WEIGHT = 2.0
"""Weight of an answer's first token, which decides between answering and refusing."""
LETTERS_WEIGHT = 0.2
"""Weight of the letters on the patches, so that the tower does not unlearn them."""


class ChatLoss:
    """Weighted mean cross-entropy of the tokens of the answers; only they go through the head."""

    def __init__(
        self, model: LlavaForConditionalGeneration, reader: TokenReader, processor: Any, eyes: Eyes
    ) -> None:
        self.model, self.reader, self.eyes = model, reader, eyes
        self.tokenizer, self.processor = processor.tokenizer, processor
        self.image: int = model.config.image_token_id
        self.known: dict[str, list[int]] = {}

    def prompt(self, message: str) -> list[int]:
        """Return the tokens of a message in the chat, with as many image tokens as a picture takes."""
        if message not in self.known:
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": message}], add_generation_prompt=True, tokenize=False
            )
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            spread = [[one] * (self.eyes.image_tokens if one == self.image else 1) for one in ids]
            self.known[message] = [token for tokens in spread for token in tokens]
        return self.known[message]

    def answer(self, example: Example) -> list[int]:
        """Return the tokens of an answer, with the end of the turn unless the answer was cut."""
        ids = self.tokenizer(example.answer, add_special_tokens=False)["input_ids"]
        return ids if example.is_cut else [*ids, self.tokenizer.eos_token_id]

    def __call__(self, examples: Sequence[Example]) -> Float[Tensor, ""]:
        """Return the loss. Examples with and without a picture run separately, because their lengths differ a lot."""
        groups = ([e for e in examples if e.pixels is None], [e for e in examples if e.pixels is not None])
        parts = [self._sums(group) for group in groups if group]
        total = torch.stack([loss for loss, _, _ in parts]).sum() / sum(weight for _, weight, _ in parts)
        letters = [letters for _, _, letters in parts if letters is not None]
        return total + LETTERS_WEIGHT * letters[0] if letters else total

    def _sums(self, examples: Sequence[Example]) -> tuple[Tensor, float, Tensor | None]:
        rows = [(self.prompt(one.message), self.answer(one)) for one in examples]
        ids, weights = padded(rows, self.tokenizer.pad_token_id)
        device = self.model.device
        ids, weights = ids.to(device), weights.to(device)
        lengths = torch.tensor([[len(prompt) + len(answer)] for prompt, answer in rows], device=device)
        embedded, letters = self.model.get_input_embeddings()(ids), None
        if examples[0].pixels is not None:
            pixels = as_pixels([one.pixels for one in examples if one.pixels is not None]).to(device)
            features = self.reader.features(pixels)
            said = self.reader.projector(features).to(embedded)
            embedded = embedded.masked_scatter((ids == self.image)[..., None], said)
            letters = self._letters(examples, features)
        states = self.model.model.language_model(
            inputs_embeds=embedded,
            attention_mask=(torch.arange(ids.shape[1], device=device) < lengths).long(),
            use_cache=False,
        ).last_hidden_state
        row, column = weights.nonzero(as_tuple=True)
        logits = self.model.lm_head(states[row, column - 1])
        losses = cross_entropy(logits, ids[row, column], reduction="none")
        kept = weights[row, column]
        return (losses * kept).sum(), float(kept.sum()), letters

    def _letters(self, examples: Sequence[Example], features: Tensor) -> Tensor | None:
        if not any(parameter.requires_grad for parameter in self.reader.tower.parameters()):
            return None
        lines, columns = self.eyes.lines, self.eyes.columns
        wordless = np.zeros((lines, columns), dtype=np.int64)
        grids = [wordless if one.shown is None else one.shown.letters(lines, columns) for one in examples]
        shown = torch.from_numpy(np.stack(grids)).to(features.device)
        return self.reader.letter_loss(features, shown.reshape(len(grids), self.eyes.image_tokens, 2))


def padded(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int
) -> tuple[Int[Tensor, "row token"], Float[Tensor, "row token"]]:
    """Return prompts with their answers, padded on the right, and the weight of each token: 0 outside answers."""
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids, weights = torch.full((len(rows), longest), pad), torch.zeros(len(rows), longest)
    for at, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[at, :end] = torch.tensor([*prompt, *answer])
        weights[at, len(prompt) : end] = 1
        weights[at, len(prompt)] = FIRST_TOKEN_WEIGHT
    return ids, weights
