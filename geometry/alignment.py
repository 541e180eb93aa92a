"""Maps of the states of single tokens onto those of tokens in another role: how far aligning them could go.

A shift moves the mean alone. The maps here also undo another spread, coordinate by coordinate or in full; each is the
affine map x -> mean_t + A (x - mean_i). The Gaussian one leaves no difference of mean and covariance: no affine map
aligns two roles further. Whether states so moved still mean the same is another question, which the answers decide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from regap.errors import PairError
from regap.geometry.states.token_states import Role, TokenStates

FLOOR = 1e-12
"""Smallest eigenvalue of a covariance that is inverted, as a share of the largest."""


@dataclass(frozen=True, eq=False)
class TokenCloud:
    """Mean and covariance of the states of single tokens in one role, after one block."""

    mean: Float[Tensor, " d_model"] = field(repr=False)
    covariance: Float[Tensor, "d_model d_model"] = field(repr=False)
    """Shrunk towards a multiple of the identity; float64."""
    shrinkage: float
    """Share of that multiple, 0 to 1."""
    tokens: int
    """Number of tokens that it is made of."""

    def __post_init__(self) -> None:
        if not float(self.covariance.diagonal().min()) > 0:
            raise PairError(
                f"{self.tokens} tokens do not vary in every coordinate, so no spread can be matched; give more "
                "prompts, or a layer after the first block"
            )


Spread = Callable[[TokenCloud, TokenCloud], Float[Tensor, "d_model d_model"]]
"""(tokens as they are, tokens as they should be) -> the matrix A of the map."""


def token_weights(
    harmful: Bool[Tensor, " prompt"], tokens: Int[Tensor, " prompt"]
) -> Float[Tensor, " token"]:
    """Return the weight of each token, prompt after prompt, in sum 1.

    Both labels weigh the same, so do the prompts of a label, and so do the tokens of a prompt. The weighted mean is
    then the one that `modality_drift` takes.
    """
    sizes = torch.stack([(harmful == label).sum() for label in (False, True)]).double()
    labels = (sizes > 0).sum()
    of_prompt = 1 / (labels * sizes[harmful.long()] * tokens.double())
    return of_prompt.repeat_interleave(tokens)


def token_cloud(states: Float[Tensor, "token d_model"], weights: Float[Tensor, " token"]) -> TokenCloud:
    """Return weighted mean and covariance; the covariance is shrunk by Ledoit and Wolf's rule.

    (1 - s) S + s tr(S)/d I, with s as scikit-learn computes it. It takes tokens as independent, which those of one
    prompt are not, so it shrinks too little rather than too much.
    """
    states, weights = states.double(), weights.double()
    mean = weights @ states
    # Scaled so that their plain covariance is the weighted one.
    scaled = (states - mean) * (weights * len(states)).sqrt()[:, None]
    covariance = scaled.T @ scaled / len(states)
    from sklearn.covariance import ledoit_wolf_shrinkage  # slow to import

    shrinkage = float(ledoit_wolf_shrinkage(scaled.numpy(), assume_centered=True))
    ball = covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    return TokenCloud(mean, (1 - shrinkage) * covariance + shrinkage * ball, shrinkage, len(states))


def cloud_of(states: TokenStates, role: Role, layer: int) -> TokenCloud:
    """Return the cloud of all tokens of a role after block `layer`, labels weighted equally.

    Raises PairError for a prompt without such a token.
    """
    found = tokens_of(states, role, layer)
    harmful = torch.tensor([row.label == "harmful" for row in states.rows])
    counts = torch.tensor([len(each) for each in found])
    return token_cloud(torch.cat(found), token_weights(harmful, counts))


def tokens_of(states: TokenStates, role: Role, layer: int) -> list[Float[Tensor, "_token d_model"]]:
    """Return the states of each prompt's tokens of a role after block `layer`; PairError for a prompt without any."""
    found = []
    for row, tokens, each in zip(states.rows, states.tokens, states.at(layer), strict=True):
        own = torch.tensor([token.role == role for token in tokens])
        if not bool(own.any()):
            raise PairError(
                f"pair {row.pair_id!r} has no token of role {role} in arm {states.arm}; choose another arm, or leave "
                "the pair out"
            )
        found.append(each[own])
    return found


def unchanged(source: TokenCloud, target: TokenCloud) -> Float[Tensor, "d_model d_model"]:  # noqa: ARG001
    """Return the identity: only the mean moves, which is the shift by the drift between the roles."""
    return torch.eye(len(source.mean), dtype=torch.float64)


def diagonal(source: TokenCloud, target: TokenCloud) -> Float[Tensor, "d_model d_model"]:
    """Return the ratio of the standard deviations of each coordinate: its mean and variance become the target's."""
    return (target.covariance.diagonal() / source.covariance.diagonal()).sqrt().diag()


def gaussian(source: TokenCloud, target: TokenCloud) -> Float[Tensor, "d_model d_model"]:
    """Return A = S_i^(-1/2) (S_i^(1/2) S_t S_i^(1/2))^(1/2) S_i^(-1/2): mean and covariance become the target's.

    Of all maps that do so it moves states least, in mean square: the optimal transport between Gaussians in the
    Wasserstein-2 (Bures) metric. Source: Knott and Smith 1984, On the optimal mapping of distributions, from memory.
    """
    root, inverse = _powers(source.covariance)
    inner = root @ target.covariance @ root
    return inverse @ _powers((inner + inner.T) / 2)[0] @ inverse


MAPS: Mapping[str, Spread] = MappingProxyType({"mean": unchanged, "diagonal": diagonal, "gaussian": gaussian})
"""How the spread is mapped, by name."""


def _powers(matrix: Float[Tensor, "d_model d_model"]) -> tuple[Tensor, Tensor]:
    """Return the symmetric square root of a covariance, and its inverse."""
    values, axes = torch.linalg.eigh(matrix)
    roots = values.clamp_min(FLOOR * float(values[-1])).sqrt()
    return (axes * roots) @ axes.T, (axes / roots) @ axes.T
