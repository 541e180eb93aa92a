"""A gated correction within one pass of a plain model: what is read on the way decides on what is taken off later."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from regap.interventions.packs.correction import Correction
from regap.interventions.packs.plain_blocks import Blocks, Change
from regap.interventions.packs.prompt_end import Call, changes_of, coordinates_of, keeper


def run_single_pass(
    correction: Correction, call: Call, blocks: Blocks, strengths: Float[Tensor, " prompt"], *, decided: bool
) -> Any:
    """Return what the model says in this call with the probe taken off, and each prompt corrected by its strength.

    Unless they are decided, the strengths are written to when the last layer that the gate reads has run; the call
    must then hold the end of the prompts.
    """
    by = correction.probe_strength
    probe = changes_of(correction.probed, call, call.same_for_all(by)) if by else {}
    readers = {} if decided else _readers(correction, call, strengths)
    removed = changes_of(correction.removed, call, strengths)
    # At a layer that is read and corrected, hooks run in the order in which they were put.
    with blocks.changed(probe), blocks.changed(readers), blocks.changed(removed):
        return call.forward(**call.inputs)


def _readers(correction: Correction, call: Call, strengths: Float[Tensor, " prompt"]) -> dict[int, Change]:
    """Return what keeps the end of the prompts at each layer read, and decides at the last of them."""
    layers = correction.read_layers
    kept: dict[int, Tensor] = {}

    def reader(layer: int) -> Change:
        keep = keeper(call, layer, kept)

        def read(residual: Tensor) -> None:
            keep(residual)
            if len(kept) == len(layers):
                signal = coordinates_of(correction, kept) @ correction.weights[1]
                strengths.copy_(correction.strengths(signal))

        return read

    return {layer: reader(layer) for layer in layers}
