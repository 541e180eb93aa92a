"""Everything that a run depends on, in one frozen value: flags, environment and TOML alike."""

import json
import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from regap.errors import ConfigError

EXECUTION = frozenset({"device", "device_map", "batch_size", "batch_tokens", "download"})
"""Settings of how a run is executed: numbers depend on them by rounding alone."""
PLACES = frozenset({"out", "model", "pairs", "data", "contrast_data"})
"""Settings of where files lie: what a model and pairs are is told by their digests, wherever they lie."""


class RunConfig(BaseSettings):
    """The settings of a run; flags win over REGAP_* variables, these over the TOML file, unknown keys are errors."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="REGAP_")

    model: str = Field("organism", description="organism, organism:MEMBER, a checkpoint folder or a hub id")
    pairs: str | None = Field(None, description="pairs file; the organism's own pairs if none is named")
    benchmark: str | None = Field(None, description="benchmark that is asked instead of a pairs file")
    data: str | None = Field(None, description="folder in which benchmarks lie, as they are distributed")
    harmless: str | None = Field(
        None, description="harmless source beside the benchmark; everyday where it has no harmless pairs"
    )
    partial: bool = Field(False, description="allow a benchmark of which rows or images are missing")
    contrast: str | None = Field(
        None, description="harmless prompts that look harmful: xstest, another benchmark, or world"
    )
    contrast_data: str | None = Field(
        None, description="folder in which the contrasts lie; that of data by default"
    )
    make: tuple[str, ...] = Field(
        (),
        description="arms to make: typographic, blank, noise, blank-colour; captions by the model: caption",
    )
    style: str | None = Field(
        None, description="of typographic images that are made: figstep, mm-safetybench or plain"
    )
    read_back: bool = Field(
        False, description="ask the model what images say; report outcomes on those it read too"
    )
    out: str = Field("runs/run", description="run folder; a run that was cut off goes on there")
    arms: tuple[str, ...] | None = Field(
        None, description="arms to capture; all that the pairs have by default"
    )
    image_arm: str | None = Field(
        None, description="arm that is corrected; typographic, or the first image arm"
    )
    family: tuple[str, ...] = Field((), description="further models, to compare drift across models")
    limit: int | None = Field(None, ge=4, description="at most this many pairs of each split and label")
    device: str = Field("cpu", description="torch device")
    dtype: str = Field("float32", description="torch number format, or auto")
    device_map: str | None = Field(None, description="split over devices instead: auto, balanced, sequential")
    quantize: Literal["8bit", "4bit"] | None = Field(None, description="weights in fewer bits")
    attention: str | None = Field(
        None, description="attention implementation; the checkpoint's own by default"
    )
    revision: str | None = Field(None, description="revision of a hub id")
    download: bool = Field(
        False, description="allow the network for a model or benchmark that is not at hand"
    )
    batch_size: int | None = Field(
        None, ge=1, description="most prompts that are run together; 64 in a pass and 128 answers by default"
    )
    batch_tokens: int = Field(16384, ge=1, description="most tokens in one forward pass")
    max_new_tokens: int = Field(64, ge=1, description="token budget of an answer")
    strengths: tuple[float, ...] = Field((0.5, 1.0, 1.5, 2.0, 3.0), description="fixed strengths tried")
    false_refusals: float = Field(
        0.05, gt=0, lt=1, description="share of harmless image prompts allowed to be gated"
    )
    signal: Literal[
        "auto", "rho", "z_before", "z_after", "growth", "fitted_before", "fitted_after", "fitted"
    ] = Field("auto", description="what ReGap's gate reads; auto: what calibration pairs choose")
    gate: Literal["hard", "sigmoid", "line"] = Field("hard", description="how ReGap's gate opens")
    dose_pairs: int = Field(100, ge=2, description="test pairs of each label answered for each dose")
    judge: str = Field(
        "auto", description="auto, or the name of a judge of stored answers, such as xstest_prefixes"
    )
    seed: int = Field(0, ge=0, description="seed of resamples and controls")
    resamples: int = Field(1000, ge=100, description="bootstrap resamples")

    def question(self) -> dict[str, Any]:
        """Return the settings that decide numbers, as JSON holds them: equal questions have equal answers.

        The same model and pairs are assumed; their digests stand in a run's provenance.
        """
        return self.model_dump(mode="json", exclude={*EXECUTION, *PLACES})

    @field_validator("strengths")
    @classmethod
    def _strengths_are_positive(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        if not strengths or any(strength <= 0 for strength in strengths) or 1.0 not in strengths:
            raise ValueError("give strengths above 0, 1.0 (the whole drift) among them")
        return tuple(sorted(set(strengths)))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A configuration is what it is given: `read_config` puts file, environment and flags in order."""
        return (init_settings,)


def read_config(path: str | Path | None = None, **flags: Any) -> RunConfig:
    """Return the configuration: defaults, under the TOML file, under REGAP_* variables, under flags that are set.

    Raises ConfigError for an unknown key or a value that cannot be used.
    """
    _check_variables()
    given = _toml(Path(path)) if path else {}
    try:
        environment = EnvSettingsSource(RunConfig)()
    except SettingsError as error:
        raise ConfigError(f"a REGAP_* variable cannot be read: {error}; write lists as JSON") from None
    set_flags = {name: value for name, value in flags.items() if value is not None and value != ()}
    return _validated({**given, **environment, **set_flags})


def changed_config(config: RunConfig, **changes: Any) -> RunConfig:
    """Return the settings with these in place of their own, None changing nothing; ConfigError as above."""
    changed = {name: value for name, value in changes.items() if value is not None}
    return _validated({**config.model_dump(), **changed})


def stored_config(path: Path, **changes: Any) -> RunConfig:
    """Return the settings that a run was made with; no variable changes them, only what is said here.

    Raises ConfigError for a file that cannot be read or used.
    """
    changed = {name: value for name, value in changes.items() if value is not None}
    return _validated({**_toml(path), **changed})


def _check_variables() -> None:
    """A misspelt variable would otherwise be passed over, and the run be another than the one asked for."""
    known = {f"REGAP_{name.upper()}" for name in RunConfig.model_fields}
    for name in os.environ:
        if name.upper().startswith("REGAP_") and name.upper() not in known:
            near = get_close_matches(name.upper(), known, n=1, cutoff=0.8)
            remedy = f"is {near[0]} meant?" if near else f"known are {', '.join(sorted(known))}"
            raise ConfigError(f"variable {name} sets nothing: {remedy}")


def _validated(values: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        known = ", ".join(RunConfig.model_fields)
        remedy = f"known are {known}" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"setting {name} is {first['input']!r}: {remedy}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"config file {path}: {error.strerror}; check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config file {path} is no valid TOML ({error}); correct that line") from None


def as_toml(config: RunConfig) -> str:
    """Return the resolved configuration as TOML; settings that are not set are left out."""
    values = config.model_dump(mode="json")
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in values.items()
        if value is not None
    )
