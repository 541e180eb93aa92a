"""ReGap: remove as much of the drift as the model's own self-rectification asks for, input by input.

The paper's abstract names the mechanism; signal, gate and calibration below are our operationalisation.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.batches import BATCH_TOKENS, run_batches
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.forward import Hook, prefill, run, run_last_token
from regap.geometry.models import Model
from regap.geometry.pairs import Pairs
from regap.geometry.prompts import Batch
from regap.geometry.store import digest_of, digest_of_tensor
from regap.interventions.fixed import Shift, fixed_correction
from regap.interventions.gates import Gate, Kind, budget_threshold
from regap.interventions.signals import SIGNALS
from regap.interventions.sites import Site

Signal = Literal["rho", "z_before", "z_after"]


@dataclass(frozen=True, eq=False)
class Traces:
    """Coordinates along the refusal direction at the read layers, before and after a correction."""

    before: Float[Tensor, "prompt layer"]
    after: Float[Tensor, "prompt layer"]

    def signal(self, kind: Signal) -> Float[Tensor, " prompt"]:
        """Return the mean over read layers of: what the correction changed (rho), z before, or z after it."""
        return SIGNALS[kind].of(self.before, self.after)


@dataclass(frozen=True, eq=False)
class ReGap:
    """alpha(x) = strongest * gate(s(x)), s the self-rectification of x under a probe correction."""

    probe: Shift
    """The correction whose effect on later layers is read; its strength is that of the probe."""
    refusal: Direction = field(repr=False)
    """What the coordinates are read along."""
    read_layers: tuple[int, ...]
    """Blocks after the corrected one."""
    gate: Gate
    strongest: float
    """alpha_max, the strength when the gate is open."""
    signal: Signal = "rho"
    """rho: self-rectification; z_before, z_after: the plain coordinate, for comparison."""

    def __post_init__(self) -> None:
        first = max(self.probe.site.layers)
        early = [layer for layer in self.read_layers if layer <= first]
        if early or not self.read_layers:
            raise ValueError(
                f"read layers {list(self.read_layers)} must all come after the corrected layer {first}: "
                "at or before it there is nothing to read"
            )
        if self.signal not in get_args(Signal):
            raise ValueError(f"signal is {self.signal!r}; choose one of {', '.join(get_args(Signal))}")

    @property
    def identity(self) -> str:
        """Digest of everything that decides the strength of an input."""
        vectors = digest_of_tensor(torch.stack([self.refusal.at(layer) for layer in self.read_layers]))
        gate = [self.gate.kind, self.gate.threshold, self.gate.width]
        return digest_of(
            ["regap", self.probe.identity, self.read_layers, vectors, gate, self.strongest, self.signal]
        )

    @property
    def only_last(self) -> bool:
        """True if the prompt below its last token runs unedited."""
        return self.probe.only_last

    def strengths(self, model: Model, batch: Batch) -> Float[Tensor, " prompt"]:
        """Return alpha(x) of each prompt of the batch."""
        traces = read_traces(model, batch, self.probe, self.refusal, self.read_layers)
        return self.strongest * self.gate(traces.signal(self.signal))

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Probe the batch, then return fresh hooks that correct each prompt by its own strength."""
        return self.probe.hooks_for(model, batch, self.strengths(model, batch))


def read_traces(
    model: Model, batch: Batch, probe: Shift, refusal: Direction, read_layers: tuple[int, ...]
) -> Traces:
    """Return z at the read layers without and with the probe, by one-token passes where the site allows."""
    directions = torch.stack([refusal.at(layer) for layer in read_layers])
    if probe.only_last:
        prefix = prefill(model, batch)
        before = run_last_token(model, prefix, read_layers)
        after = run_last_token(model, prefix, read_layers, probe.hooks(model, batch))
    else:
        before, after = run(model, batch, read_layers), run(model, batch, read_layers, [probe])
    z = [torch.einsum("pld,ld->pl", seen.states.double(), directions) for seen in (before, after)]
    return Traces(z[0], z[1])


def traces_of(
    model: Model,
    pairs: Pairs,
    arm: str,
    probe: Shift,
    refusal: Direction,
    read_layers: tuple[int, ...],
    batch_size: int = 64,
    batch_tokens: int = BATCH_TOKENS,
) -> Traces:
    """Return the traces of every pair in one arm, in the order of the pairs."""
    prompts = [pair.prompts[arm] for pair in pairs.where(arm=arm)]
    before = torch.empty(len(prompts), len(read_layers), dtype=torch.float64)
    after = torch.empty_like(before)

    def read(batch: Batch) -> None:
        rows = list(batch.rows)
        found = read_traces(model, batch, probe, refusal, read_layers)
        before[rows], after[rows] = found.before, found.after

    run_batches(model, prompts, batch_size, batch_tokens, read)
    return Traces(before, after)


def calibrate_regap(
    model: Model,
    calibration: Pairs,
    refusal: Direction,
    drift: Drift,
    site: Site,
    *,
    strongest: float,
    probe: float = 1.0,
    read_layers: tuple[int, ...] | None = None,
    false_refusals: float = 0.05,
    signal: Signal = "rho",
    gate: Kind = "hard",
) -> ReGap:
    """Return ReGap with the threshold that opens the gate for this share of harmless image prompts.

    Only harmless calibration pairs in the drift's arm set the threshold, so that what may be over-refused is
    bounded before any harmful image is looked at. `read_layers` are all layers after the site by default.
    """
    if not 0 < false_refusals < 1:
        raise ValueError(f"false_refusals is {false_refusals}; give a share between 0 and 1, such as 0.05")
    layers = tuple(range(max(site.layers) + 1, model.layers)) if read_layers is None else tuple(read_layers)
    correction = fixed_correction(drift, site, probe)
    unset = ReGap(correction, refusal, layers, Gate(gate, 0.0), strongest, signal)
    harmless = calibration.where(label="harmless", arm=drift.arm)
    seen = traces_of(model, harmless, drift.arm, correction, refusal, layers).signal(signal)
    width = float(seen.std()) if len(seen) > 1 else 1.0
    threshold = budget_threshold(seen, false_refusals)
    return replace(unset, gate=Gate(gate, threshold, max(width, 1e-12)))
