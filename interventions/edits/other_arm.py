"""Edits that use the states of the same request in another arm."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from regap.errors import ModelError, PairError
from regap.geometry.data.pairs import Pairs, Prompt
from regap.geometry.forward.batches import BATCH_TOKENS, batches
from regap.geometry.forward.prefix import run
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch, collate
from regap.geometry.states.store import digest_of
from regap.interventions.edits.displacement import Displace, Displacing
from regap.interventions.edits.shift import unedited
from regap.interventions.edits.site import Site

Displacement = Callable[[Mapping[str, Tensor]], Tensor]
"""States [prompt, layer, d_model] of each arm of the same inputs -> displacement of the same shape, at strength 1."""


@dataclass(frozen=True, eq=False)
class OtherArms:
    """The arms of every request of one image arm, found by a digest of the image prompt."""

    prompts: Mapping[str, Mapping[str, Prompt]] = field(repr=False)
    """Key of an image prompt -> arm -> prompt."""
    image_arm: str

    @cached_property
    def identity(self) -> str:
        """Digest of all arms."""
        told = {
            key: {
                arm: [
                    *(prompt.system, prompt.text, [each.sha256 for each in prompt.media]),
                    *[[turn.role, turn.text] for turn in prompt.turns],
                ]
                for arm, prompt in arms.items()
            }
            for key, arms in self.prompts.items()
        }
        return digest_of(told)

    @classmethod
    def of(cls, model: Model, pairs: Pairs, image_arm: str, size: int = 64) -> "OtherArms":
        """Return the other arms of every pair that has the image arm; nothing is run.

        Raises PairError if two pairs have the same image prompt and different other arms.
        """
        having = list(pairs.where(arm=image_arm))
        found: dict[str, Mapping[str, Prompt]] = {}
        for batch in batches(model, [pair.prompts[image_arm] for pair in having], size, BATCH_TOKENS):
            for row, key in zip(batch.rows, prompt_keys(batch), strict=True):
                if key in found and found[key] != having[row].prompts:
                    raise PairError(
                        f"pair {having[row].pair_id!r} has the same prompt as another pair in arm {image_arm}, so "
                        "its other arms cannot be found; leave out methods that use other arms"
                    )
                found[key] = having[row].prompts
        return cls(found, image_arm)

    def states(self, model: Model, batch: Batch, arm: str) -> Float[Tensor, "prompt layer d_model"]:
        """Return the unedited states of all blocks at the last token of the same requests in an arm; run once a
        batch."""
        if arm == self.image_arm:
            return unedited(model, batch)
        name = f"{model.fingerprint} {arm} states"
        if name not in batch.kept:
            batch.kept[name] = run(model, self.batch_in(model, batch, arm), range(model.layers)).states
        return batch.kept[name]

    def batch_in(self, model: Model, batch: Batch, arm: str) -> Batch:
        """Return the same requests in an arm as a batch; made once a batch."""
        name = f"{model.fingerprint} {arm} batch"
        if name not in batch.kept:
            prompts = self.prompts_in(batch, arm)
            batch.kept[name] = collate(model, prompts, range(len(prompts)))
        return batch.kept[name]

    def prompts_in(self, batch: Batch, arm: str) -> list[Prompt]:
        """Return the same requests in an arm; raises PairError if an input is not from the pairs, or lacks the arm."""
        found = []
        for key in prompt_keys(batch):
            if key not in self.prompts:
                raise PairError(
                    f"a prompt is not among the {self.image_arm} prompts that the method was given; give it all pairs"
                )
            if arm not in self.prompts[key]:
                raise PairError(f"an input has no arm {arm}; make it for every pair")
            found.append(self.prompts[key][arm])
        return found


@dataclass(frozen=True, eq=False)
class OtherArmShift(Displacing):
    """h <- h + strength * displacement(x), computed from unedited states of the input and of its other arms."""

    site: Site
    twins: OtherArms = field(repr=False)
    arms: tuple[str, ...]
    """The arms whose states are used; the image arm itself may be one."""
    rule: Displacement = field(repr=False)
    name: str
    """Name of the rule, with a digest of all its numbers."""
    strength: float

    @property
    def identity(self) -> str:
        """Digest of site, rule, strength and the other arms."""
        return digest_of(["twins", str(self.site), self.arms, self.name, self.strength, self.twins.identity])

    def displacements(self, model: Model, batch: Batch) -> Iterable[Displace]:
        """Run the other arms of the batch, then return the vector of each prompt at each layer."""
        layers = list(self.site.layers)
        seen = {arm: self.twins.states(model, batch, arm)[:, layers] for arm in self.arms}
        found = self.strength * self.rule(seen)
        return [lambda states, rows, v=each: v.to(states.device)[rows] for each in found.unbind(1)]


def prompt_keys(batch: Batch) -> Sequence[str]:
    """Return a digest of each prompt's tokens and its picture or sound; raises ModelError if a prompt has several."""
    media = (*batch.pictures, *batch.sounds) or ("",) * len(batch)
    if len(media) != len(batch):
        raise ModelError(
            f"{len(batch)} prompts have {len(media)} pictures or sounds; methods that use other arms need one per "
            "prompt"
        )
    rows = zip(batch.inputs["input_ids"], batch.real, media, strict=True)
    return [digest_of([ids[real].tolist(), each]) for ids, real, each in rows]


def layer_vectors(vectors: Sequence[Tensor]) -> Float[Tensor, "layer d_model"]:
    """Return one vector for each layer of a site, stacked as float32."""
    return torch.stack(list(vectors)).float()
