"""The same request rendered otherwise: methods that need a second look at an input take it here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.forward.batches import BATCH_TOKENS, batches
from regap.geometry.forward.hooks import Hook
from regap.geometry.forward.prefix import run
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.states.store import digest_of
from regap.interventions.edits.displacement import displaced
from regap.interventions.edits.gated_shift import unedited
from regap.interventions.edits.site import Site, position_rule

Displacement = Callable[[Mapping[str, Tensor]], Tensor]
"""States [prompt, layer, d_model] of each arm of the same inputs -> displacement of the same shape, at strength 1."""


@dataclass(frozen=True, eq=False)
class OtherArms:
    """All renderings of the requests of one image arm, found by the prompt itself."""

    prompts: Mapping[str, Mapping[str, Prompt]] = field(repr=False)
    """Key of an image prompt -> arm -> prompt."""
    image_arm: str

    @cached_property
    def identity(self) -> str:
        """Digest of all renderings."""
        told = {
            key: {
                arm: [
                    *(prompt.system, prompt.text, [each.sha256 for each in prompt.pictures]),
                    *[[turn.role, turn.text] for turn in prompt.turns],
                ]
                for arm, prompt in arms.items()
            }
            for key, arms in self.prompts.items()
        }
        return digest_of(told)

    @classmethod
    def of(cls, model: Model, pairs: Pairs, image_arm: str, size: int = 64) -> "OtherArms":
        """Return the twins of every pair that has the image arm; nothing is run.

        Raises PairError where two pairs of unlike twins show one and the same prompt.
        """
        having = list(pairs.where(arm=image_arm))
        found: dict[str, Mapping[str, Prompt]] = {}
        for batch in batches(model, [pair.prompts[image_arm] for pair in having], size, BATCH_TOKENS):
            for row, key in zip(batch.rows, prompt_keys(batch), strict=True):
                if key in found and found[key] != having[row].prompts:
                    raise PairError(
                        f"pair {having[row].pair_id!r} shows the prompt of another pair in arm {image_arm}, so that "
                        "its other arms are not known by it; leave out methods that look at an input twice"
                    )
                found[key] = having[row].prompts
        return cls(found, image_arm)

    def states(self, model: Model, batch: Batch, arm: str) -> Float[Tensor, "prompt layer d_model"]:
        """Return unedited states of all blocks at the last token of the same requests in an arm; run once a batch."""
        if arm == self.image_arm:
            return unedited(model, batch)
        name = f"{model.fingerprint} {arm} states"
        if name not in batch.kept:
            prompts = self.prompts_in(batch, arm)
            batch.kept[name] = run(
                model, collate(model, prompts, range(len(prompts))), range(model.layers)
            ).states
        return batch.kept[name]

    def prompts_in(self, batch: Batch, arm: str) -> list[Prompt]:
        """Return the same requests in an arm; raises PairError where an input is none of the pairs, or lacks it."""
        found = []
        for key in prompt_keys(batch):
            if key not in self.prompts:
                raise PairError(
                    f"a prompt is none of the {self.image_arm} prompts that the method was given; give it all pairs"
                )
            if arm not in self.prompts[key]:
                raise PairError(f"an input has no arm {arm}; make it for every pair")
            found.append(self.prompts[key][arm])
        return found


@dataclass(frozen=True, eq=False)
class OtherArmShift:
    """h <- h + strength * displacement(x), computed for each input from unedited states of it and of its twins."""

    site: Site
    twins: OtherArms = field(repr=False)
    arms: tuple[str, ...]
    """Which renderings are looked at; the image arm itself may be one."""
    rule: Displacement = field(repr=False)
    name: str
    """Digest of the rule: it names all numbers that the rule holds."""
    strength: float

    @property
    def identity(self) -> str:
        """Digest of site, rule, strength and the renderings that may be looked at."""
        return digest_of(["twins", str(self.site), self.arms, self.name, self.strength, self.twins.identity])

    @property
    def only_last(self) -> bool:
        """True if the prompt below its last token runs unedited."""
        return self.site.only_last

    def displacements(self, model: Model, batch: Batch) -> Float[Tensor, "prompt layer d_model"]:
        """Return by how much each prompt is moved at each layer of the site."""
        layers = list(self.site.layers)
        seen = {arm: self.twins.states(model, batch, arm)[:, layers] for arm in self.arms}
        return self.strength * self.rule(seen)

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Look at the twins of the batch, then return fresh hooks that move each prompt by its own vector."""
        found = self.displacements(model, batch)
        return [
            Hook(model.hook_name(layer), self._hook(batch, found[:, place]))
            for place, layer in enumerate(self.site.layers)
        ]

    def _hook(self, batch: Batch, vectors: Tensor) -> Callable[[Tensor], Tensor | None]:
        where = position_rule(self.site, batch)

        def shift(residual: Tensor) -> Tensor | None:
            mask = where(residual)
            if mask is None:
                return None
            rows = mask.nonzero()[:, 0]
            return displaced(residual, vectors.to(residual.device)[rows], mask, self.site.norm)

        return shift


def prompt_keys(batch: Batch) -> Sequence[str]:
    """Return a digest of each prompt's tokens and picture; raises ModelError where a prompt has several pictures."""
    pictures = batch.pictures or ("",) * len(batch)
    if len(pictures) != len(batch):
        raise ModelError(
            f"{len(batch)} prompts show {len(pictures)} pictures; methods that look at an input twice need one each"
        )
    rows = zip(batch.inputs["input_ids"], batch.real, pictures, strict=True)
    return [digest_of([ids[real].tolist(), picture]) for ids, real, picture in rows]


def layer_vectors(vectors: Sequence[Tensor]) -> Float[Tensor, "layer d_model"]:
    """Return one vector for each layer of a site, float32 as states are."""
    return torch.stack(list(vectors)).float()
