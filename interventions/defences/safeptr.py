"""SafePTR: image tokens far from words that the model reads safely are pruned in a few early blocks, then restored."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from regap.errors import PairError
from regap.geometry.forward.capture import capture
from regap.geometry.forward.hooks import Hook, first_column
from regap.geometry.forward.token_capture import states_after
from regap.geometry.models.model import Model
from regap.geometry.models.submodule_hooks import part_name
from regap.geometry.prompts.batch import Batch
from regap.geometry.states.activations import Activations
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.defences.calibration import DefenceData, Dose, require_parts
from regap.interventions.edits.site import AtSite, Site, position_rule
from regap.interventions.edits.token_scale import scaled


@dataclass(frozen=True, eq=False)
class PruneThenRestore(AtSite):
    """The farthest share of image tokens writes no values in the blocks of the site; then it gets its own state back.

    Its own state is that of the unedited model after the last of these blocks, read in a pass of its own.
    """

    site: Site
    """Consecutive blocks, at image tokens."""
    reference: Float[Tensor, " d_model"] = field(repr=False)
    """The state that tokens are compared with, at the input of the first block."""
    share: float

    @property
    def identity(self) -> str:
        """Digest of site, reference and share."""
        parts = [str(self.site), digest_of_tensor(self.reference), self.share]
        return digest_of(["prune then restore", *parts])

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Read the unedited states of the batch, then return new hooks that prune and restore."""
        if not self.share:
            return []
        first, last = self.site.layers[0], self.site.layers[-1]
        standard, where, pruned = (
            states_after(model, batch, last),
            position_rule(model, self.site, batch),
            [],
        )

        def choose(residual: Tensor) -> None:
            mask = where(residual)
            pruned[:] = [] if mask is None else [farthest(residual, self.reference, mask, self.share)]

        def silence(written: Tensor) -> Tensor | None:
            return scaled(written, (~pruned[0]).to(written)) if pruned else None

        def restore(residual: Tensor) -> Tensor | None:
            if not pruned:
                return None
            start = first_column(residual, batch.columns)
            own = standard[:, start : start + residual.shape[1]]
            return torch.where(pruned[0][..., None], own.to(residual), residual)

        return [
            Hook(f"blocks.{first}.hook_in", choose),
            *(Hook(part_name(model, "values", layer), silence) for layer in self.site.layers),
            Hook(model.hook_name(last), restore),
        ]


def safeptr(calibration: DefenceData, site: Site) -> Dose:
    """Return the pruning of a share `strength` of image tokens in the blocks of the site, and their restoration.

    Pruned are the tokens with the largest 1 - cos(h, c), h their state at the input of the first block, c a reference.
    Source: SafePTR, arXiv 2507.01513, from its text: 10 % of image tokens in two early-middle blocks, c from a safety
    instruction; afterwards they get their states from a pass without pruning. Needs: a further pass over the prompt;
    values with a projection of their own. Assumed: c is the mean state of calibration texts, over the request's tokens,
    since these the model answers or refuses as it should; tokens are chosen once, at the first block; a pruned token
    writes no values, but the attention that it draws is not given to others; tokens of text are kept.
    """
    there = calibration.at_media(site)
    require_parts(calibration, "safeptr", ["values"], there.layers)
    first, last = there.layers[0], there.layers[-1]
    if first == 0 or there.layers != tuple(range(first, last + 1)):
        raise PairError(
            f"safeptr prunes in consecutive blocks from block 1 on, and the site has {there.layers}; give such a site"
        )
    reference = words(calibration).at(first - 1).double().mean(0)
    return lambda strength: [PruneThenRestore(there, reference, min(max(strength, 0.0), 1.0))]


def words(calibration: DefenceData) -> Activations:
    """Return the states of calibration texts, means over the request's own tokens; captured once."""
    if "words" not in calibration.kept:
        runner = calibration.runner.within("activations")
        found = capture(runner, calibration.pairs.calibration, "text", position="request")["text"]
        calibration.kept["words"] = found
    return calibration.kept["words"]


def farthest(
    states: Float[Tensor, "prompt token d_model"],
    reference: Float[Tensor, " d_model"],
    where: Bool[Tensor, "prompt token"],
    share: float,
) -> Bool[Tensor, "prompt token"]:
    """Return the share of marked tokens of each prompt with the smallest cosine to the reference, rounded."""
    alike = torch.nn.functional.cosine_similarity(states.double(), reference.to(states).double(), dim=-1)
    far = torch.where(where, -alike, -torch.inf)
    ranks = torch.sort(far, stable=True, dim=1, descending=True).indices.argsort(1)
    return where & (ranks < (share * where.sum(1, keepdim=True) + 0.5).floor())
