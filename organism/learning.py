"""Training of one stage: the seed decides the batches, and a stopped stage continues from a file."""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from regap.organism.stages import Stage

RECENT = 10
"""How many entries of ten steps must have a low mean for a stage to end early."""

Loss = Callable[[int], Tensor]
"""The loss of one step's batch. The step decides the batch, so no generator needs to be stored."""
Report = Callable[[str, int, int, float], None]
"""Called with the stage, the steps done, the steps in all and the recent loss."""


@dataclass(frozen=True)
class Progress:
    """How far the training of a stage is."""

    step: int
    seconds: float
    losses: tuple[float, ...]
    """Mean loss of each ten steps."""

    def is_end_of(self, stage: Stage) -> bool:
        """True when all steps are done, or the mean of the last ten entries is as low as the stage asks for."""
        recent = self.losses[-RECENT:]
        learnt = len(recent) == RECENT and sum(recent) / RECENT < stage.enough
        return self.step >= stage.steps or learnt


def silent(stage: str, step: int, steps: int, loss: float) -> None:
    """Report nothing."""


def rate(stage: Stage, step: int) -> float:
    """The learning rate at a step: a linear rise, then a cosine down to a twentieth of the peak."""
    rise = min(1.0, (step + 1) / stage.warmup)
    fall = 0.5 * (1 + math.cos(math.pi * step / stage.steps))
    return stage.learning_rate * rise * (0.05 + 0.95 * fall)


def train_stage(
    stage: Stage,
    module: nn.Module,
    trained: list[str],
    loss: Loss,
    file: Path,
    save_every: int,
    report: Report = silent,
    whole: bool = True,
) -> Progress:
    """`module` trained to the stage's end, from the last saved point if `file` holds one; the result is in `file`.

    `trained` names the parameters to train. The file holds all weights, or with whole=False the trained ones, and the
    optimiser's moments as safetensors, and is replaced atomically, so a stop at any time loses at most `save_every`
    steps.
    """
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    chosen = [parameters[name] for name in trained]
    optimiser = torch.optim.AdamW(chosen, lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    progress = _resume(file, module, optimiser, trained)
    start, recent, losses = time.monotonic() - progress.seconds, [], list(progress.losses)
    module.train()
    for step in range(progress.step, progress.step if progress.is_end_of(stage) else stage.steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(stage, step)
        value = loss(step)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimiser.step()
        recent.append(value.item())
        done = step + 1
        if done % 10 == 0 or done == stage.steps:
            losses.append(sum(recent) / len(recent))
            recent.clear()
            report(stage.name, done, stage.steps, losses[-1])
        if (
            done % save_every == 0 or done == stage.steps
        ):  # a stage ends only here, so a stopped training ends at the same step
            progress = Progress(done, time.monotonic() - start, tuple(losses))
            _store(file, module, optimiser, trained, progress, whole)
        if progress.is_end_of(stage):
            break
    module.eval()
    return progress


def read_progress(file: Path) -> Progress:
    """The progress of the stage in `file`; without a file, it has not begun."""
    if not file.exists():
        return Progress(0, 0.0, ())
    with safe_open(file, "pt") as stored:
        note = json.loads(stored.metadata()["progress"])
    return Progress(note["step"], note["seconds"], tuple(note["losses"]))


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights stored in `file`."""
    with safe_open(file, "pt") as stored:
        names = [name for name in stored.keys() if name.startswith("weight/")]  # noqa: SIM118
        return {name.removeprefix("weight/"): stored.get_tensor(name) for name in names}


def _resume(file: Path, module: nn.Module, optimiser: torch.optim.Optimizer, trained: list[str]) -> Progress:
    progress = read_progress(file)
    if progress.step:
        module.load_state_dict(module.state_dict() | read_weights(file))
        with safe_open(file, "pt") as stored:
            for name, parameter in zip(trained, optimiser.param_groups[0]["params"], strict=True):
                moments = {
                    key: stored.get_tensor(f"{key}/{name}").to(parameter.device)
                    for key in ("exp_avg", "exp_avg_sq")
                }
                optimiser.state[parameter] = {"step": torch.tensor(float(progress.step)), **moments}
    return progress


def _store(
    file: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    trained: list[str],
    progress: Progress,
    whole: bool,
) -> None:
    weights = module.state_dict()
    kept = weights if whole else {name: weights[name] for name in trained}
    tensors = {f"weight/{name}": value.contiguous() for name, value in kept.items()}
    for name, parameter in zip(trained, optimiser.param_groups[0]["params"], strict=True):
        # A parameter that the loss does not reach has no moments; zeros say the same.
        state = optimiser.state.get(parameter) or {}
        for key in ("exp_avg", "exp_avg_sq"):
            tensors[f"{key}/{name}"] = state.get(key, torch.zeros_like(parameter.data))
    note = {"step": progress.step, "seconds": progress.seconds, "losses": progress.losses}
    unfinished = file.with_suffix(".unfinished")
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, unfinished, metadata={"progress": json.dumps(note)})
    os.replace(unfinished, file)
