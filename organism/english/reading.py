"""The tower's first stage: the letters on each patch, and the base's own embedding of the token that ends there, or a
space."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize
from transformers import LlavaForConditionalGeneration

from regap.geometry.data.letter_grid import LETTERS, Layout, any_manner, draw
from regap.organism.english.checkpoint import Eyes
from regap.organism.english.texts import Words, training_requests
from regap.organism.objectives import as_pixels

OWN_SHARE = 0.5
"""Share of pictures that show a training request; the others show words of the vocabulary."""


class TokenReader(nn.Module):
    """The tower and projector with a head for letters; tokens are read by comparing with the base's embeddings."""

    def __init__(self, model: LlavaForConditionalGeneration, eyes: Eyes, space: int, seed: int) -> None:
        super().__init__()
        self.space = space
        self.tower: Any = model.model.vision_tower
        self.projector: Any = model.model.multi_modal_projector
        embedding: Any = model.get_input_embeddings()
        self.table: Tensor
        self.register_buffer("table", embedding.weight.detach().clone(), persistent=False)
        self.spread = float(self.table.square().mean())
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.letters = nn.Linear(eyes.width, 2 * len(LETTERS))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.letters.reset_parameters()

    def features(self, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image patch d_tower"]:
        """Return the states of the patches after the tower's last layer."""
        return self.tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]

    def letter_loss(self, features: Tensor, shown: Tensor) -> Float[Tensor, ""]:
        """Return the cross-entropy of both letters of every patch; `shown` is [image, patch, 2]."""
        logits = self.letters(features).reshape(-1, len(LETTERS))
        return cross_entropy(logits, shown.reshape(-1))

    def forward(self, batch: "Pictures") -> Float[Tensor, ""]:
        """Return the loss of letters and of tokens, and a squared error of embeddings.

        Where no token ends, the embedding of a space is wanted. Whether zeros would do as well is not known.
        """
        features = self.features(batch.pixels)
        said = self.projector(features)
        row, patch, token = batch.ends.unbind(1)
        among, own = token.unique(return_inverse=True)
        alike = normalize(said[row, patch], dim=-1) @ normalize(self.table[among], dim=-1).T
        wanted = self.table[self.space].expand_as(said).clone()
        wanted[row, patch] = self.table[token]
        return (
            self.letter_loss(features, batch.letters)
            + cross_entropy(self.scale * alike, own)
            + mse_loss(said, wanted) / self.spread
        )

    @torch.no_grad()
    def shares_read(self, batch: "Pictures") -> tuple[float, float]:
        """Return the share of letters read rightly, spaces left out, and that of tokens among the whole vocabulary."""
        features = self.features(batch.pixels)
        guessed = self.letters(features).reshape(*batch.letters.shape, len(LETTERS)).argmax(-1)
        seen = batch.letters > 0
        row, patch, token = batch.ends.unbind(1)
        found = self.projector(features)[row, patch]
        table = self.table / self.table.norm(dim=-1, keepdim=True)
        nearest = (found @ table.T).argmax(-1)
        return (
            float((guessed == batch.letters)[seen].double().mean()),
            float((nearest == token).double().mean()),
        )


class Pictures:
    """Drawn texts with what their patches show."""

    def __init__(
        self, shown: Sequence[Layout], eyes: Eyes, tokenizer: Any, generator: np.random.Generator
    ) -> None:
        drawn = [draw(one, eyes.side, any_manner(generator)) for one in shown]
        self.pixels = as_pixels(drawn)
        grids = np.stack([one.letters(eyes.lines, eyes.columns) for one in shown])
        self.letters = torch.from_numpy(grids).reshape(len(shown), eyes.image_tokens, 2)
        ends = [
            (row, patch, token)
            for row, one in enumerate(shown)
            for token, patch in token_patches(one, tokenizer, eyes.lines)
        ]
        self.ends = torch.tensor(ends)
        """Image, patch and token, for the last letter of every token."""

    def to(self, device: torch.device) -> "Pictures":
        """Move all tensors to the device, and return the pictures."""
        self.pixels, self.letters, self.ends = (
            one.to(device) for one in (self.pixels, self.letters, self.ends)
        )
        return self


def token_patches(layout: Layout, tokenizer: Any, side: int) -> list[tuple[int, int]]:
    """Return each token of the text with the patch where its last letter is; patches are numbered line by line.

    Spaces that are tokens by themselves are left out.
    """
    read = tokenizer(layout.text, add_special_tokens=False, return_offsets_mapping=True)
    cells = layout.cells()
    ends = [
        (token, end - 1) for token, (_, end) in zip(read["input_ids"], read["offset_mapping"], strict=True)
    ]
    placed = [(token, *cells[end]) for token, end in ends if layout.text[end] != " "]
    return [(token, row * side + column // 2) for token, row, column in placed]


def space_of(tokenizer: Any) -> int:
    """Return the token of a single space."""
    return tokenizer(" ", add_special_tokens=False)["input_ids"][0]


def draw_texts(count: int, eyes: Eyes, words: Words, generator: np.random.Generator) -> list[Layout]:
    """Return texts that fit into a picture: training requests, and words of the vocabulary by chance."""
    requests, found = training_requests(), []
    while len(found) < count:
        own = generator.random() < OWN_SHARE
        text = requests[int(generator.integers(len(requests)))].text if own else words.draw(generator)
        try:
            found.append(Layout.of(text, eyes.lines, eyes.columns))
        except ValueError:
            continue  # words by chance that take too many lines
    return found
