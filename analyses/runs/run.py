"""A run: a folder with its settings, its model and its pairs, started or opened again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from regap.analyses.judges.registry import judge_for
from regap.analyses.runs.calibrated import Calibrated, calibrate
from regap.analyses.runs.config import EXECUTION, PLACES, RunConfig
from regap.analyses.runs.folder import (
    begin_folder,
    check_out,
    check_pairs,
    check_question,
    provenance_of,
    settings_of_run,
    write_directions,
)
from regap.analyses.runs.measured import Measured, measure_model
from regap.analyses.runs.pairs import AskedPairs, asked_of, with_captions
from regap.analyses.runs.written_settings import template_of
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pairs
from regap.geometry.forward.runner import Limits, Runner, Tracker, silent
from regap.geometry.models.loading import Model, load
from regap.geometry.sole_writer import sole_writer


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder with its settings; model, pairs and states are loaded when they are first used.

    Raises ConfigError if model or pairs are no longer those of the run.
    """

    folder: Path
    config: RunConfig
    track: Tracker = field(default=silent, repr=False)
    check: Callable[[Model], None] | None = field(default=None, repr=False)
    """Called with the model before it is run; may raise."""

    @cached_property
    def runner(self) -> Runner:
        """The model, with the folder as its store."""
        runner = runner_of(self.config, self.config.model, self.folder, self.track)
        if provenance_of(self.folder).get("fingerprint") != runner.model.fingerprint:
            raise ConfigError(
                f"run folder {self.folder} belongs to another model than the present {self.config.model}; "
                "name the model that it was made with (--model), or run it again"
            )
        if self.check:
            self.check(runner.model)
        return runner

    @cached_property
    def asked(self) -> AskedPairs:
        """The pairs and the contrasts, with the captions that the run made."""
        asked = captioned(self.runner, self.config, asked_of(self.config))
        check_pairs(self.folder, asked.everything)
        return asked

    @property
    def pairs(self) -> Pairs:
        """The pairs that the run measures."""
        return self.asked.pairs

    @cached_property
    def measured(self) -> Measured:
        """The model measured on its pairs; stored states are not computed again."""
        return measure_model(self.runner, self.pairs, self.config)

    @cached_property
    def calibrated(self) -> Calibrated:
        """The measured model with the corrections chosen on its calibration pairs."""
        return calibrate(self.measured)

    def write_directions(self) -> None:
        """Write the refusal direction and the drifts to directions.safetensors."""
        write_directions(self.folder, self.measured.refusal, self.measured.drifts, self.runner.model)


def start_run(
    config: RunConfig,
    track: Tracker = silent,
    *,
    force: bool = False,
    check: Callable[[Model], None] | None = None,
    asked: AskedPairs | None = None,
) -> Run:
    """Return a run with these settings and begin its folder; stored results of the same question are used again.

    check: called with the model before it is run. asked: the pairs, if they are known already. Raises ConfigError if
    the folder holds another run, unless `force` moves that to before-N inside the folder; PairError if a split lacks a
    label.
    """
    folder = Path(config.out)
    check_out(folder)
    asked = asked or asked_of(config)
    judge_for(asked.pairs, config.judge)
    runner = runner_of(config, config.model, folder, track)
    if check:
        check(runner.model)
    with sole_writer(folder):
        check_question(folder, config, runner.model, force=force)
        asked = captioned(runner, config, asked)
        begin_folder(folder, config, runner.model, asked.everything, force=force)
    run = Run(folder, config, track)
    vars(run).update(runner=runner, asked=asked)  # they are loaded already
    return run


def open_run(
    folder: Path | str,
    track: Tracker = silent,
    *,
    check: Callable[[Model], None] | None = None,
    **changes: Any,
) -> Run:
    """Return the run in a folder; its model and pairs are loaded when they are first used.

    check: called with the model before it is run. changes: new places of model, pairs or data (model, pairs, data,
    contrast_data), or new execution settings (device, batch_size and so on); None changes nothing. Raises ConfigError
    if the folder is not a run, and for any other setting, since the run fixes it.
    """
    path = Path(folder)
    for name, value in changes.items():
        if value is not None and name not in (PLACES | EXECUTION) - {"out"}:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} is fixed by the run folder {path}; leave one of the two out")
    return Run(path, settings_of_run(path, **changes), track, check)


def captioned(runner: Runner, config: RunConfig, asked: AskedPairs) -> AskedPairs:
    """Return the pairs with the model's captions, if the settings ask for them."""
    if "caption" not in config.make:
        return asked
    return asked.again(with_captions(runner.within("answers"), asked.everything))


def runner_of(config: RunConfig, source: str, store: Path | None = None, track: Tracker = silent) -> Runner:
    """Return a model loaded with these settings, and with their limits."""
    model = load(
        source,
        device=config.device,
        dtype=config.dtype,
        device_map=config.device_map,
        quantize=config.quantize,
        attention=config.attention,
        template=template_of(config.template),
        revision=config.revision if source == config.model else None,
        download=config.download,
    )
    return Runner(model, limits_of(config), store, track)


def limits_of(config: RunConfig) -> Limits:
    """Return the limits; a given batch size applies to passes and answers."""
    defaults = Limits()
    return Limits(
        config.batch_size or defaults.prompts, config.batch_size or defaults.answers, config.batch_tokens
    )
