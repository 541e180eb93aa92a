"""A loaded model that answers single prompts of a run, without and with an intervention."""

import io
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from regap.analyses.judges.registry import judge_for
from regap.analyses.judges.verdicts import Judge
from regap.analyses.live.question import LiveAnswer, LivePicture, LiveQuestion, LiveState
from regap.analyses.runs.config import RunConfig
from regap.analyses.runs.records import Summary
from regap.analyses.runs.run import open_run
from regap.errors import ConfigError, PackError
from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.directions import Direction
from regap.geometry.drift import Drift
from regap.geometry.forward.hooks import Edit, Hook, hooked
from regap.geometry.forward.image_features import seen_inputs
from regap.geometry.forward.prefix import run
from regap.geometry.forward.runner import Tracker, silent
from regap.geometry.models.loading import Model
from regap.geometry.prompts.batch import Batch, collate, render
from regap.geometry.prompts.patch_grid import patch_grid
from regap.geometry.states.store import read_tensors
from regap.interventions.edits.recipe import DriftPart, parts_of
from regap.interventions.edits.regap import ReGap, calibrate_regap
from regap.interventions.edits.shift import fixed_correction
from regap.interventions.edits.site import Site
from regap.interventions.edits.stored import load_edit
from regap.interventions.generation import generate

PLAIN = ("rho", "z_before", "z_after", "growth")
"""Signals without fitted weights."""


@dataclass(frozen=True, eq=False)
class ChosenReGap:
    """A ReGap, and the origin of its gate in words."""

    edit: ReGap = field(repr=False)
    told: str

    def at(self, strength: float) -> "ChosenReGap":
        """Return the same gate with another strength of the open gate."""
        own = self.edit.strongest
        told = self.told if strength == own else f"{self.told}, at strength {strength:g} in place of {own:g}"
        return ChosenReGap(replace(self.edit, strongest=strength), told)


def kept_by_run(folder: Path, model: Model) -> ReGap | None:
    """Return the run's ReGap from edits/; None if the run has none. Raises PackError for a damaged file."""
    own = folder / "edits" / "regap"
    if not own.is_dir():
        return None
    found = load_edit(own, model.fingerprint)
    if not isinstance(found, ReGap):
        raise PackError("edits/regap does not hold a ReGap; run the command of the run again")
    return found


def is_asked(kept: ReGap, question: LiveQuestion) -> bool:
    """Return True if the question has the layer, positions, part and gate of this ReGap; the strength may differ."""
    removed = kept.removed
    asked = ((question.layer,), question.positions, question.part, question.gate)
    return asked == (removed.site.layers, removed.site.positions, removed.name, kept.gate.kind)


def calibrated_now(
    model: Model,
    calibration: Pairs,
    refusal: Direction,
    part: Drift,
    question: LiveQuestion,
    named: str,
    config: RunConfig,
) -> ChosenReGap:
    """Return ReGap at the question's site, with its gate calibrated on harmless calibration pairs of the run.

    named: the signal of the run's own ReGap; rho replaces a fitted signal.
    """
    signal: Any = named if named in PLAIN else "rho"
    edit = calibrate_regap(
        model,
        calibration,
        refusal,
        part,
        [question.layer],
        positions=question.positions,
        strongest=1.0,
        false_refusals=config.false_refusals,
        signal=signal,
        gate=question.gate,
    )
    count = len(calibration.where(label="harmless", arm=part.arm))
    return ChosenReGap(
        edit, f"a gate on {signal} calibrated now on {count} harmless prompts, not the run's own"
    )


LONGEST = 320
"""Longest side of a stored picture, in pixels."""


def live_picture(model: Model, prompt: Prompt, batch: Batch) -> LivePicture | None:
    """Return the prompt's picture with its patch grid; None for a prompt without one."""
    if prompt.picture is None:
        return None
    grid = patch_grid(model, batch)
    image = framed(prompt.picture.open(), getattr(model.processor, "image_processor", None))
    image.thumbnail((LONGEST, LONGEST))
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return LivePicture(kept.getvalue(), image.width, image.height, grid.rows, grid.columns, grid.problem)


def framed(image: Image, processor: Any) -> Image:
    """Return the part of the picture that the model sees; some processors crop the centre after a resize."""
    shortest = (getattr(processor, "size", None) or {}).get("shortest_edge")
    if not getattr(processor, "do_center_crop", False) or not shortest:
        return image
    scale = min(image.size) / shortest
    cut = processor.crop_size
    wide, high = (
        min(side, round(cut[name] * scale))
        for side, name in zip(image.size, ("width", "height"), strict=True)
    )
    left, top = (image.width - wide) // 2, (image.height - high) // 2
    return image.crop((left, top, left + wide, top + high))


MOST_KEPT = 256
"""Most answers that are kept, so that an earlier one is shown at once."""


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model with the pairs and directions of one run; it answers one question at a time."""

    model: Model = field(repr=False)
    pairs: Mapping[str, Pair] = field(repr=False)
    config: RunConfig = field(repr=False)
    refusal: Direction = field(repr=False)
    drift: Drift = field(repr=False)
    judge: Judge = field(repr=False)
    summary: Summary = field(repr=False)
    own: ReGap | None = field(default=None, repr=False)
    """The run's ReGap."""
    lock: Any = field(default_factory=threading.Lock, repr=False)
    kept: dict[LiveQuestion, LiveAnswer] = field(default_factory=dict, repr=False)
    gates: dict[tuple[Any, ...], ChosenReGap] = field(default_factory=dict, repr=False)

    @classmethod
    def of_run(
        cls, folder: Path, source: str | None = None, track: Tracker = silent, pairs: str | None = None
    ) -> "LiveModel":
        """Return the model of a finished run, with its pairs and directions; source and pairs: their place now.

        Raises ConfigError if the folder lacks them, or if the model is not that of the run.
        """
        opened = open_run(folder, track, model=source, pairs=pairs)
        config, model, asked = opened.config, opened.runner.model, opened.pairs
        refusal, drift = directions_of(folder)
        by_name = {pair.pair_id: pair for pair in asked}
        judge, summary = judge_for(asked, config.judge), Summary.load(folder)
        own = kept_by_run(folder, model)
        return cls(model, by_name, config, refusal, drift, judge, summary, own)

    def ask(self, question: LiveQuestion) -> LiveAnswer:
        """Return the answer to a question; equal questions are answered once. Raises ValueError if it cannot be
        asked."""
        with self.lock:
            if question not in self.kept:
                if len(self.kept) >= MOST_KEPT:
                    self.kept.clear()
                self.kept[question] = self._answer(question)
            return self.kept[question]

    def _answer(self, question: LiveQuestion) -> LiveAnswer:
        start = time.perf_counter()
        pair = self.pairs.get(question.pair_id)
        if pair is None or question.arm not in pair.prompts:
            raise ConfigError(
                f"item is {question.pair_id!r} in arm {question.arm!r}, which is not in the run; choose another"
            )
        chosen = self._edit(question)
        edit = chosen.edit if isinstance(chosen, ChosenReGap) else chosen
        batch = collate(self.model, [pair.prompts[question.arm]], [0])
        with torch.inference_mode():
            strength = (
                float(edit.strengths(self.model, batch)[0]) if isinstance(edit, ReGap) else question.strength
            )
            states = [self._state(pair, question.arm, batch, edits) for edits in ([], [edit] if edit else [])]
            tokens = self._tokens(batch, question.layer)
        name = self.judge(pair, generated(self, pair, question.arm, [])).judge
        return LiveAnswer(
            name,
            render(self.model, pair.prompts[question.arm]),
            states[0],
            states[1],
            strength if edit else 0.0,
            time.perf_counter() - start,
            *tokens,
            picture=live_picture(self.model, pair.prompts[question.arm], batch),
            signal=edit.signal if isinstance(edit, ReGap) else "",
            gate_told=chosen.told if isinstance(chosen, ChosenReGap) else "",
        )

    def _state(self, pair: Pair, arm: str, batch: Batch, edits: Sequence[Edit]) -> LiveState:
        completion = generated(self, pair, arm, edits)
        judged = self.judge(pair, completion)
        states = run(self.model, batch, self.refusal.layers, edits).states[0].double()
        z, delta = self._coordinates(states)
        return LiveState(completion.text, judged.verdict, judged.reason, z.tolist(), delta.tolist())

    def _coordinates(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and δ of states [layer, d_model]."""
        offset = states - self.drift.text_mean
        delta = (offset * self.drift.vectors).sum(-1) / self.drift.vectors.square().sum(-1)
        return (states * self.refusal.vectors).sum(-1), delta

    def _tokens(self, batch: Batch, layer: int) -> tuple[list[str], list[float], list[float], list[int]]:
        """Return the tokens of the prompt, their z and δ at a layer, and the indices of image patches."""
        states = every_token(self.model, batch, layer)[batch.real[0]].double()
        z, delta = self.refusal.coordinate(states, layer), self.drift.strength_of(states, layer)
        real = batch.real[0]
        ids: list[Any] = batch.inputs["input_ids"][0][real].tolist()
        patches = batch.image[0][real].nonzero()[:, 0].tolist()
        return self.model.tokenizer.convert_ids_to_tokens(ids), z.tolist(), delta.tolist(), patches

    def _edit(self, question: LiveQuestion) -> Any:
        """Return the intervention, None for none; raises ConfigError for a layer that the run does not have."""
        if question.method == "none":
            return None
        if question.layer not in self.refusal.layers:
            raise ConfigError(f"layer is {question.layer}; choose one of {list(self.refusal.layers)}")
        site = Site((question.layer,), question.positions)
        if question.method == "fixed":
            return fixed_correction(self._part(question.part), site, question.strength)
        return self._regap(question)

    def _part(self, part: DriftPart) -> Drift:
        return parts_of(self.drift, self.refusal)[part]

    def _regap(self, question: LiveQuestion) -> ChosenReGap:
        """Return the run's own ReGap if the question asks for it; else one that is calibrated now."""
        if self.own is not None and is_asked(self.own, question):
            return ChosenReGap(self.own, "as the run keeps it").at(question.strength)
        if question.layer >= self.model.layers - 1:
            raise ConfigError(
                f"layer is {question.layer}, the last one: ReGap reads later layers, so choose an earlier one"
            )
        key = (question.layer, question.part, question.positions, question.gate)
        if key not in self.gates:
            self.gates[key] = self._calibrated(question)
        return replace(self.gates[key], edit=replace(self.gates[key].edit, strongest=question.strength))

    def _calibrated(self, question: LiveQuestion) -> ChosenReGap:
        calibration = Pairs(tuple(self.pairs.values())).where(split="calibration", arm=self.drift.arm)
        named = self.summary.at("regap", "signal") or self.config.signal
        part = self._part(question.part)
        return calibrated_now(self.model, calibration, self.refusal, part, question, str(named), self.config)


def generated(live: LiveModel, pair: Pair, arm: str, edits: Sequence[Edit]) -> Any:
    """Return the completion of one prompt under the edits."""
    return generate(live.model, Pairs((pair,)), arm, edits, max_new_tokens=live.config.max_new_tokens)[0]


def directions_of(folder: Path) -> tuple[Direction, Drift]:
    """Return the refusal direction of a run, and the drift of its corrected arm."""
    path = folder / "directions.safetensors"
    if not path.is_file():
        raise ConfigError(
            f"run folder {folder} has no directions.safetensors; run its `regap run` command again"
        )
    tensors = {name: tensor.double() for name, tensor in read_tensors(path)[0].items()}
    arm = Summary.load(folder).text("image_arm") or "typographic"
    if f"drift.{arm}" not in tensors:
        raise ConfigError(f"run folder {folder} has no drift of arm {arm!r}; run its command again")
    layers = tuple(range(len(tensors["refusal"])))
    units = tensors["refusal"] / tensors["refusal"].norm(dim=-1, keepdim=True)
    refusal = Direction(units, tensors["thresholds"], layers, "text")
    return refusal, Drift(tensors[f"drift.{arm}"], tensors[f"text_mean.{arm}"], layers, arm)


def every_token(model: Model, batch: Batch, layer: int) -> Tensor:
    """Return the output of a block at every token of the first prompt, [token, d_model], float32 on the CPU."""
    kept: list[Tensor] = []

    def keep(residual: Tensor) -> None:
        kept.append(residual[0].detach().to("cpu", torch.float32))

    with hooked(model, [Hook(model.hook_name(layer), keep)]):
        model.hf(**seen_inputs(model, batch), use_cache=False, logits_to_keep=1)
    return kept[0]
