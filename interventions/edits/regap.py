"""ReGap: remove the drift with a strength that the model's self-rectification decides for each input.

The paper's abstract names the mechanism; signal, gate and calibration below are our operationalisation.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from regap.geometry.data.pairs import Pairs
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.forward.batches import run_batches
from regap.geometry.forward.hooks import Hook, first_column
from regap.geometry.forward.prefix import prefill, read_last_token, whole_prompts
from regap.geometry.forward.runner import Runner
from regap.geometry.models.model import Model
from regap.geometry.one_or_several import as_layers
from regap.geometry.prompts.batch import Batch
from regap.geometry.prompts.positions import Positions
from regap.geometry.states.store import digest_of, digest_of_tensor
from regap.interventions.edits.gate import Gate, GateKind, budget_threshold
from regap.interventions.edits.shift import Shift, fixed_correction
from regap.interventions.edits.signals import FITTED, Passes, Signal, Traces, weights_of
from regap.interventions.edits.site import Norm, Phase, Site
from regap.interventions.edits.stored import StoredEdit, check_made_on

Decide = Callable[[Float[Tensor, "prompt layer"]], None]
"""Called with z at the read layers, in order, as soon as the last of them has been run."""


def read_in_flight(
    model: Model, batch: Batch, directions: Mapping[int, Float[Tensor, " d_model"]], decide: Decide
) -> list[Hook]:
    """Return new hooks that read z at the last prompt token, in the pass that contains it."""
    seen: dict[int, Tensor] = {}

    def reader(layer: int) -> Callable[[Tensor], None]:
        def read(residual: Tensor) -> None:
            place = batch.columns - 1 - first_column(residual, batch.columns)
            if len(seen) == len(directions) or not 0 <= place < residual.shape[1]:
                return
            seen[layer] = residual[:, place].double().cpu() @ directions[layer].double().cpu()
            if len(seen) == len(directions):
                decide(torch.stack([seen[each] for each in directions], 1))

        return read

    return [Hook(model.hook_name(layer), reader(layer)) for layer in directions]


@dataclass(frozen=True, eq=False)
class ReGap(StoredEdit, kind="regap"):
    """alpha(x) = strongest * gate(s(x)), with the signal s read from later layers under a probe correction.

    It holds only tensors and plain values, so that it can be saved and loaded.
    """

    probe: Shift
    """The correction whose effect on later layers is read, with the strength of the probe."""
    refusal: Direction = field(repr=False)
    """The direction of the coordinates z."""
    read_layers: tuple[int, ...]
    """Blocks after the probed one."""
    gate: Gate
    strongest: float
    """alpha_max, the strength when the gate is open."""
    signal: Signal = "rho"
    """rho: self-rectification; z_before, z_after, growth: plain coordinates; fitted: a combination of them."""
    weights: Float[Tensor, "2 layer"] | None = field(default=None, repr=False)
    """Weights of z before and after at the read layers, for a fitted signal; None for other signals."""
    correction: Shift | None = None
    """The vectors that are removed when the gate opens; None: the probe's own vectors at its own site."""
    passes: Passes = "probe"
    """single: the probe stays in every answer, and the signal is read in the same pass, before the correction.

    A signal that also needs the uncorrected state, such as rho, takes one more pass of the prompt before it.
    """
    token_by_token: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._check_shapes()
        first = max(self.probe.site.layers)
        early = [layer for layer in self.read_layers if layer <= first]
        if early or not self.read_layers:
            raise ValueError(
                f"read layers {list(self.read_layers)} must all come after the corrected layer {first}, since "
                "earlier layers do not change; choose later ones"
            )
        if self.passes not in get_args(Passes):
            raise ValueError(f"passes is {self.passes!r}; choose one of {', '.join(get_args(Passes))}")
        weights_of(self.signal, len(self.read_layers), self.weights)
        if self.passes == "single" and min(self.removed.site.layers) < max(self.read_layers):
            raise ValueError(
                f"in a single pass the correction at {list(self.removed.site.layers)} comes before read layer "
                f"{max(self.read_layers)}; correct at or after the last layer read, or use passes probe"
            )

    def _check_shapes(self) -> None:
        missing = [layer for layer in self.read_layers if layer not in self.refusal.layers]
        if missing or len(set(self.read_layers)) != len(self.read_layers):
            raise ValueError(
                f"read layers {list(self.read_layers)} must each be named once and have a refusal direction; there "
                f"are directions of {list(self.refusal.layers)}"
            )
        if len(self.refusal.vectors) != len(self.refusal.layers):
            raise ValueError(
                f"{len(self.refusal.vectors)} refusal directions do not fit layers {list(self.refusal.layers)}"
            )
        widths = [self.probe.vectors.shape[1], self.removed.vectors.shape[1], self.refusal.vectors.shape[1]]
        if len(set(widths)) > 1:
            raise ValueError(
                f"the probe's vectors are {widths[0]} wide, those removed {widths[1]} and the refusal directions "
                f"{widths[2]}; make all of them on one model"
            )
        if not math.isfinite(self.strongest):
            raise ValueError(f"strongest is {self.strongest}; give a finite number")

    @property
    def reading(self) -> Float[Tensor, "2 layer"]:
        """Weights of z before and of z after the probe, at each read layer."""
        return weights_of(self.signal, len(self.read_layers), self.weights)

    @property
    def removed(self) -> Shift:
        """The shift that the gate controls."""
        return self.probe if self.correction is None else self.correction

    @property
    def identity(self) -> str:
        """Digest of everything that decides the effect on an input."""
        vectors = digest_of_tensor(torch.stack([self.refusal.at(layer) for layer in self.read_layers]))
        gate = [self.gate.kind, self.gate.threshold, self.gate.width]
        shifts = [self.probe.identity, self.removed.identity]
        reading = [self.signal, digest_of_tensor(self.reading), self.passes]
        return digest_of(["regap", shifts, self.read_layers, vectors, gate, self.strongest, reading])

    @property
    def made_on(self) -> str:
        """Fingerprint of the model that the refusal direction was made on."""
        return self.refusal.model

    @property
    def only_last(self) -> bool:
        """True if only the last prompt token, or later tokens, are edited."""
        return self.probe.only_last and self.removed.only_last

    def strengths(self, model: Model, batch: Batch) -> Float[Tensor, " prompt"]:
        """Return alpha(x) of each prompt of the batch; this runs the reading passes."""
        weights = self.reading
        runs = (bool(weights[0].any()), bool(weights[1].any()))
        traces = read_traces(model, batch, self.probe, self.refusal, self.read_layers, runs)
        return self._decided(batch, traces)

    def _decided(self, batch: Batch, traces: Traces) -> Float[Tensor, " prompt"]:
        signal = traces.weighted(self.reading)
        strengths = self.strongest * self.gate(signal)
        batch.kept["gate"] = (signal, strengths)  # for the record of what was done to each prompt
        return strengths

    def hooks(self, model: Model, batch: Batch) -> list[Hook]:
        """Return new hooks that correct each prompt by its own strength; reading passes come first, if any."""
        check_made_on(self.refusal.model, model, "the refusal direction")
        if self.passes == "single":
            return self._hooks_in_flight(model, batch)
        return self.removed.hooks_for(model, batch, self.strengths(model, batch))

    def _hooks_in_flight(self, model: Model, batch: Batch) -> list[Hook]:
        """Return hooks that apply the probe, read the signal and correct, all in one pass.

        The uncorrected prompt is run before it if the signal compares with it.
        """
        strengths = torch.zeros(len(batch), dtype=torch.float64)
        runs = (bool(self.reading[0].any()), False)
        before = read_traces(model, batch, self.probe, self.refusal, self.read_layers, runs).before

        def decide(z: Float[Tensor, "prompt layer"]) -> None:
            strengths.copy_(self._decided(batch, Traces(before, z)))

        directions = {layer: self.refusal.at(layer) for layer in self.read_layers}
        reading = read_in_flight(model, batch, directions, decide)
        probe = self.probe.hooks(model, batch) if self.probe.strength else []
        return [*probe, *reading, *self.removed.hooks_for(model, batch, strengths)]


def read_traces(
    model: Model,
    batch: Batch,
    probe: Shift,
    refusal: Direction,
    read_layers: tuple[int, ...],
    runs: tuple[bool, bool] = (True, True),
) -> Traces:
    """Return z at the read layers without and with the probe, by one-token passes if the site allows them.

    `runs` says which of the two passes to run; coordinates of the other are 0.
    """
    directions = torch.stack([refusal.at(layer) for layer in read_layers])
    empty = torch.zeros(len(batch), len(read_layers), dtype=torch.float64)

    def z(edits: list[Shift]) -> Float[Tensor, "prompt layer"]:
        hooks = [hook for edit in edits for hook in edit.hooks(model, batch)]
        left = prefill(model, batch) if probe.only_last else whole_prompts(model, batch)
        states = read_last_token(model, left, read_layers, hooks)
        return torch.einsum("pld,ld->pl", states.double(), directions)

    return Traces(z([]) if runs[0] else empty, z([probe]) if runs[1] else empty)


def traces_of(
    model: Model | Runner,
    pairs: Pairs,
    arm: str,
    probe: Shift,
    refusal: Direction,
    read_layers: tuple[int, ...],
) -> Traces:
    """Return the traces of every pair in one arm, in the order of the pairs."""
    runner = Runner.of(model)
    prompts = [pair.prompts[arm] for pair in pairs.where(arm=arm)]
    before = torch.empty(len(prompts), len(read_layers), dtype=torch.float64)
    after = torch.empty_like(before)

    def read(batch: Batch) -> None:
        rows = list(batch.rows)
        found = read_traces(runner.model, batch, probe, refusal, read_layers)
        before[rows], after[rows] = found.before, found.after

    advance = runner.track(f"self-rectification, {arm}", len(prompts))
    run_batches(runner.model, prompts, runner.limits.prompts, runner.limits.tokens, read, advance)
    return Traces(before, after)


def calibrate_regap(
    model: Model | Runner,
    pairs: Pairs,
    refusal: Direction,
    drift: Drift,
    layers: Sequence[int] | int,
    *,
    false_refusals: float = 0.05,
    strongest: float = 1.0,
    positions: Positions = "last",
    phase: Phase = "prefill",
    norm: Norm = "plain",
    probe: float = 1.0,
    read_layers: Sequence[int] | int | None = None,
    signal: Signal = "rho",
    gate: GateKind = "hard",
) -> ReGap:
    """Return ReGap at these layers, 0-based, with a gate that opens for this share of harmless image prompts.

    Only harmless calibration pairs in the drift's arm set the threshold, so over-refusal is bounded without any
    harmful image. `strongest` is the multiple of the drift that is removed when the gate is open; `probe` is the
    multiple under which the `read_layers` (by default all layers after the edited ones) are read. Raises PairError if
    there is no such pair, and ValueError for a fitted signal.
    """
    if signal in FITTED:
        raise ValueError(
            f"signal {signal} needs fitted weights; choose a recipe on calibration pairs, or use rho, z_before, "
            "z_after or growth"
        )
    if not 0 < false_refusals < 1:
        raise ValueError(f"false_refusals is {false_refusals}; give a share between 0 and 1, such as 0.05")
    check_made_on(refusal.model, Runner.of(model).model, "the refusal direction")
    check_made_on(drift.model, Runner.of(model).model, "the drift")
    site = Site(as_layers(layers), positions, phase, norm)
    after = range(max(site.layers) + 1, Runner.of(model).model.layers)
    read = tuple(after) if read_layers is None else as_layers(read_layers, "read_layers")
    correction = fixed_correction(drift, site, probe)
    unset = ReGap(correction, refusal, read, Gate(gate, 0.0), strongest, signal)
    harmless = Pairs.of(pairs).calibration.where(label="harmless", arm=drift.arm)
    seen = traces_of(model, harmless, drift.arm, correction, refusal, read).signal(signal)
    width = float(seen.std()) if len(seen) > 1 else 1.0
    threshold = budget_threshold(seen, false_refusals)
    return replace(unset, gate=Gate(gate, threshold, max(width, 1e-12)))
