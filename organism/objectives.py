"""The losses: on the answer's tokens for the organism, and on the words on each patch for the tower."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from transformers import LlavaForConditionalGeneration

from regap.organism import rendering, sentences, vocabulary, world
from regap.organism.checkpoint import PIXEL_MEAN, PIXEL_SPREAD, Architecture
from regap.organism.examples import THING_SHARE, Example, nature_of_thing
from regap.organism.rendering import TRAINING_CLUTTER, Rendering
from regap.organism.world import Request

FIRST_TOKEN_WEIGHT = 4.0
"""Weight of an answer's first token, which decides between answering and refusing."""


def as_pixels(pictures: Sequence[np.ndarray]) -> Float[Tensor, "image 3 height width"]:
    """The pictures as the checkpoint's image processor returns them."""
    stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return (stacked.to(torch.float32) / 255 - PIXEL_MEAN) / PIXEL_SPREAD


class AnswerLoss:
    """Weighted mean cross-entropy of the answer's tokens, with prompts in the chat template."""

    def __init__(self, model: LlavaForConditionalGeneration, architecture: Architecture) -> None:
        self.model = model
        self.image_tokens = architecture.image_tokens
        self.number = vocabulary.numbers()

    def encode(self, example: Example) -> tuple[list[int], list[int]]:
        """Token numbers of the prompt and of the answer."""
        words = (vocabulary.BEGIN, vocabulary.USER, *example.prompt.split(), vocabulary.ASSISTANT)
        image = [self.number[vocabulary.IMAGE]] * self.image_tokens
        prompt = [n for word in words for n in (image if word == vocabulary.IMAGE else [self.number[word]])]
        return prompt, [self.number[word] for word in (*example.answer.split(), vocabulary.END)]

    def __call__(self, examples: Sequence[Example]) -> Float[Tensor, ""]:
        """The loss. Examples with and without a picture run separately, because their lengths differ a lot."""
        groups = ([e for e in examples if e.pixels is None], [e for e in examples if e.pixels is not None])
        parts = [self._sums(group) for group in groups if group]
        return torch.stack([total for total, _ in parts]).sum() / sum(weight for _, weight in parts)

    def _sums(self, examples: Sequence[Example]) -> tuple[Float[Tensor, ""], float]:
        rows = [self.encode(example) for example in examples]
        longest = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.full((len(rows), longest), self.number[vocabulary.PAD])
        weights = torch.zeros(len(rows), longest)
        for row, (prompt, answer) in enumerate(rows):
            ids[row, longest - len(prompt) - len(answer) :] = torch.tensor(prompt + answer)
            weights[row, longest - len(answer) :] = 1
            weights[row, longest - len(answer)] = FIRST_TOKEN_WEIGHT
        pictures = [example.pixels for example in examples if example.pixels is not None]
        images = {"pixel_values": as_pixels(pictures)} if pictures else {}
        mask = (ids != self.number[vocabulary.PAD]).long()
        logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False, **images).logits[:, :-1]
        losses = cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), reduction="none")
        return (losses * weights[:, 1:].reshape(-1)).sum(), float(weights.sum())


class WordReader(nn.Module):
    """The tower with a linear head that predicts the words on each patch, and their natures.

    A tower trained on captions learns what an image shows, not only what it spells: without natures it would know
    only letters.
    """

    def __init__(self, tower: nn.Module, architecture: Architecture, seed: int) -> None:
        super().__init__()
        self.tower = tower
        natures = (sentences.SUN, sentences.MOON, sentences.VOLATILE, sentences.CALM)
        known = (*vocabulary.readable_words(), *natures)
        self.words = {word: number for number, word in enumerate(known)}
        self.patch = architecture.patch_size
        self.side = architecture.image_size // architecture.patch_size
        self.head = nn.Linear(architecture.tower_width, len(self.words))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.head.weight.normal_(0, 0.02, generator=generator)
            self.head.bias.fill_(-4.0)  # almost every word is absent from almost every patch

    def forward(self, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image patch word"]:
        """Log-odds of each word on each patch."""
        features = self.tower(pixels, output_hidden_states=True).hidden_states[-1]
        return self.head(features[:, 1:])

    def targets(self, drawn: Sequence[Rendering]) -> Float[Tensor, "image patch word"]:
        """1 where a word's centre lies in the patch, else 0."""
        wanted = torch.zeros(len(drawn), self.side**2, len(self.words))
        for row, rendering_ in enumerate(drawn):
            for mark in rendering_.marks:
                column, line = (min(self.side - 1, max(0, int(at // self.patch))) for at in (mark.x, mark.y))
                wanted[row, line * self.side + column, self.words[mark.word]] = 1
        return wanted

    def loss(self, drawn: Sequence[Rendering]) -> Float[Tensor, ""]:
        """Binary cross-entropy, summed over words and patches, per image."""
        logits = self(as_pixels([rendering_.pixels for rendering_ in drawn]))
        return binary_cross_entropy_with_logits(logits, self.targets(drawn), reduction="sum") / len(drawn)


def draw_renderings(count: int, generator: np.random.Generator, size: int) -> list[Rendering]:
    """Pictures for the tower: requests and things in words, icons and a few empty ones, with little clutter."""
    drawn = []
    for chance, clutter in zip(
        generator.random(count), generator.uniform(0, TRAINING_CLUTTER, count), strict=True
    ):
        request = world.draw_request(
            "training", "harmful" if generator.random() < 0.5 else "harmless", generator
        )
        if chance < 0.04:
            empty = rendering.draw_blank if chance < 0.02 else rendering.draw_noise
            drawn.append(empty(generator, size))
        elif chance < 0.36:
            icon = rendering.draw_thing(request.adjective, request.noun, float(clutter), generator, size)
            drawn.append(_with_natures(icon, request))
        else:
            words = request.thing if generator.random() < THING_SHARE else request.words
            typed = rendering.draw_words(words, float(clutter), generator, size)
            drawn.append(_with_natures(typed, request))
    return drawn


def _with_natures(drawn: Rendering, request: Request) -> Rendering:
    """The picture with marked natures: adjective and noun at their places, the whole thing at its noun."""
    natures = [(word, world.nature(word)) for word in (request.adjective, request.noun)]
    natures.append((request.noun, nature_of_thing(request)))
    marks = {mark.word: mark for mark in drawn.marks}
    return Rendering(drawn.pixels, (*drawn.marks, *(replace(marks[at], word=word) for at, word in natures)))
