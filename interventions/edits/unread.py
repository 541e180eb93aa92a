"""A replacement of a head's output: what it would put out if it read nothing from some tokens."""

from collections.abc import Mapping
from dataclasses import dataclass

from regap.errors import ModelError
from regap.geometry.forward.heads_reading import HeadsReading, heads_reading
from regap.geometry.models.model import Model
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions
from regap.geometry.states.store import digest_of
from regap.interventions.edits.ablation import Slots
from regap.interventions.edits.components import Component
from regap.interventions.edits.site import Site


@dataclass(frozen=True)
class Unread:
    """The head's output at the last token, less what it reads from these tokens; its other attention stays as it is.

    With attention a and values v: z - (sum of a_k v_k over these tokens k), from an unedited run.
    """

    reads: Positions
    """The tokens that it no longer reads."""

    @property
    def identity(self) -> str:
        """Digest of the tokens."""
        return digest_of(["unread", self.reads])

    def slots(self, model: Model, batch: Batch, component: Component, site: Site) -> Mapping[int, Slots]:
        """Return the head's output without them at each layer; raises ModelError for anything but heads at `last`."""
        if component.kind != "head" or site.positions != "last":
            raise ModelError(
                f"component {component.kind} at {site.positions} reads no tokens by itself; choose component head at "
                "positions last"
            )
        found = readings_of(model, batch)
        where, head = batch.at(self.reads).cpu(), component.head
        return {
            layer: [*(found[layer].output - found[layer].read_from(where))[:, head, None]]
            for layer in site.layers
        }


def readings_of(model: Model, batch: Batch) -> Mapping[int, HeadsReading]:
    """Return what the heads of all blocks read at the last token; run once a batch."""
    name = f"{model.fingerprint} what heads read"
    if name not in batch.kept:
        layers = [layer for layer in range(model.layers) if layer not in model.crossing]
        batch.kept[name] = heads_reading(model, batch, layers)
    return batch.kept[name]
