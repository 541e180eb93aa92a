"""All settings of a run, in one frozen value; this is the only place where settings are defined."""

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from regap.analyses.runs.written_settings import MOST_LAYERS, read_layers
from regap.errors import ConfigError, first_line, one_line
from regap.geometry.data.outside_files import Unreadable, bytes_of, text_of
from regap.geometry.prompts.positions import Position
from regap.subjects import is_english

EXECUTION = frozenset({"device", "device_map", "batch_size", "batch_tokens", "download"})
"""Settings of how a run is executed; results depend on them only by rounding."""
PLACES = frozenset({"out", "model", "pairs", "data", "contrast_data"})
"""Settings that are paths; a run identifies its model and pairs by digests, not by their place."""
ENGLISH_HARMFUL, ENGLISH_HARMLESS, ENGLISH_STYLE = "english", "english-everyday", "grid"
"""The benchmarks that the English subject is asked if no pairs are named, and the only style that it learnt to read."""
LARGEST_SEED = 2**32 - 1
"""Every generator of random numbers takes seeds up to this one."""
MOST = 1_000_000
"""Largest value of settings that count something."""
LARGEST_FILE = 2**24
"""Most bytes of a file of settings."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class RunConfig(BaseModel):
    """The settings of a run, exactly as given; no file or variable is read.

    Names and descriptions of the fields are also those of the command line's flags.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "organism",
        description="organism, english, organism:MEMBER, english:MEMBER, a checkpoint folder or a hub id.",
    )
    family: tuple[str, ...] = Field(
        (), description="Another model to measure; drift is compared across models."
    )
    pairs: str | None = Field(
        None,
        description="CSV, JSONL or parquet file with one row per pair and arm; by default the organism's pairs, or our "
        "English requests for english.",
    )
    columns: tuple[str, ...] = Field(
        (),
        description="Column of the pairs file as FILE=REGAP, such as prompt=text; FILE= leaves it out.",
    )
    labels: tuple[str, ...] = Field(
        (), description="Label of the pairs file as FILE=REGAP, such as unsafe=harmful."
    )
    splits: tuple[str, ...] = Field(
        (), description="Split of the pairs file as FILE=REGAP, such as train=calibration."
    )
    arm_names: tuple[str, ...] = Field(
        (), description="Arm of the pairs file as FILE=REGAP, such as ocr=typographic."
    )
    benchmark: str | None = Field(
        None, description="Benchmark to use in place of a pairs file; `regap benchmarks` lists them."
    )
    data: str | None = Field(None, description="Folder of the benchmark's files as they are distributed.")
    harmless: str | None = Field(
        None,
        description="Harmless prompts to add to the benchmark; everyday requests by default if it has none.",
    )
    partial: bool = Field(
        False,
        description="Accept a benchmark with missing rows or images, and requests that do not fit in a picture.",
    )
    contrast: str | None = Field(
        None, description="Harmless prompts that look harmful: xstest, another benchmark, or world."
    )
    contrast_data: str | None = Field(
        None, description="Folder of the contrast's files; that of --data by default."
    )
    make: tuple[str, ...] = Field(
        (),
        description="Arm to make: typographic, blank, noise, blank-colour, speech, speech_noise (both spoken by "
        "espeak-ng) or caption (written by the model).",
    )
    style: str | None = Field(
        None,
        description="Style of made typographic images: figstep, mm-safetybench, plain, grid or grid-varied.",
    )
    voice: str = Field("en-us", description="Voice of made speech, as `espeak-ng --voices` names it.")
    system: str | None = Field(None, description="System message for every prompt without one.")
    read_back: bool = Field(
        False,
        description="Also ask the model for the words in each image or sound; report outcomes on those that it read.",
    )
    out: str = Field("runs/run", description="Run folder; an interrupted run continues there.")
    arms: tuple[str, ...] | None = Field(None, description="Arm to use; all arms of the pairs by default.")
    image_arm: str | None = Field(
        None,
        description="Arm to correct; by default typographic, or else the first arm with pictures or speech.",
    )
    layers: tuple[int, ...] = Field(
        (), description="Blocks at which a correction may act, such as 3-7,10; all but the last by default."
    )
    position: str = Field(
        "last",
        description="Tokens whose states are read: last, after_instruction, image, audio, request, user or template; "
        "one of them, such as image[0]; or image:attention, image:norm, image:blank or image:ink.",
    )
    limit: int | None = Field(None, ge=4, le=MOST, description="Most pairs of each split and label.")
    device: str = Field("cpu", description="Torch device, such as cpu or cuda.")
    dtype: str = Field("float32", description="float32, bfloat16, float16 or auto.")
    device_map: str | None = Field(
        None, description="Split the model over devices: auto, balanced or sequential."
    )
    quantize: Literal["8bit", "4bit"] | None = Field(
        None, description="Load weights in 8bit or 4bit; needs the extra `quantized`."
    )
    attention: str | None = Field(
        None, description="sdpa, eager or flash_attention_2; the model's own by default."
    )
    template: tuple[str, ...] = Field(
        (),
        description="Option of the chat template as NAME=VALUE, such as enable_thinking=false or date=2026-01-31.",
    )
    revision: str | None = Field(None, description="Revision of a hub id.")
    download: bool = Field(False, description="Allow the download of a missing model or benchmark.")
    batch_size: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Most prompts in a batch; by default 64 in a pass and 128 in answers.",
    )
    batch_tokens: int = Field(
        16384,
        ge=1,
        le=2**40,
        description="Most tokens in one forward pass; batches are split if the memory runs out.",
    )
    max_new_tokens: int = Field(64, ge=1, le=MOST, description="Most tokens of an answer.")
    decoding: str = Field(
        "greedy",
        description="How answers are written: greedy, checkpoint (its own settings), or a temperature such as 0.7.",
    )
    strengths: tuple[float, ...] = Field(
        (0.5, 1.0, 1.5, 2.0, 3.0), description="Multiples of the drift to try, including 1, such as 0.5,1,2."
    )
    false_refusals: float = Field(
        0.05, gt=0, lt=1, description="Largest share of harmless images that may be refused."
    )
    confidence: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Keep false refusals within their share with this confidence; half of the harmless calibration "
        "requests then set the threshold and choose nothing.",
    )
    signal: Literal[
        "auto", "rho", "z_before", "z_after", "growth", "fitted_before", "fitted_after", "fitted"
    ] = Field("auto", description="Signal of ReGap's gate; auto: chosen on calibration pairs.")
    gate: Literal["hard", "sigmoid", "line"] = Field("hard", description="Shape of ReGap's gate.")
    dose_pairs: int = Field(
        100, ge=2, le=MOST, description="Test pairs of each label that are answered at each dose."
    )
    judge: str = Field("auto", description="Judge of answers: auto, or a name such as xstest_prefixes.")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of resamples and controls.")
    resamples: int = Field(1000, ge=100, le=MOST, description="Bootstrap resamples.")

    def question(self) -> dict[str, Any]:
        """Return the settings that decide results, in JSON types; runs with equal questions have equal results.

        Model and pairs are not included; a run's provenance has their digests.
        """
        return self.model_dump(mode="json", exclude={*EXECUTION, *PLACES})

    @model_validator(mode="before")
    @classmethod
    def _english_is_asked_english(cls, given: Any) -> Any:
        """Fill in what the English subject is asked by default; a run then keeps it, wherever its model is later."""
        if not isinstance(given, Mapping) or not is_english(str(given.get("model") or "")):
            return given
        filled = dict(given)
        if not filled.get("pairs") and not filled.get("benchmark"):
            filled |= {"benchmark": ENGLISH_HARMFUL, "harmless": filled.get("harmless") or ENGLISH_HARMLESS}
        filled["style"] = filled.get("style") or ENGLISH_STYLE
        return filled

    @field_validator("position")
    @classmethod
    def _position_is_known(cls, given: str) -> str:
        if Position.of(given) == Position("all"):
            raise ValueError("give a role such as image; states of every token are kept in Python only")
        return given

    @field_validator("strengths", mode="before")
    @classmethod
    def _strengths_in_text(cls, given: object) -> object:
        return given.split(",") if isinstance(given, str) else given

    @field_validator("strengths")
    @classmethod
    def _strengths_are_positive(cls, strengths: tuple[float, ...]) -> tuple[float, ...]:
        usable = all(0 < strength < math.inf for strength in strengths)
        if not strengths or not usable or 1.0 not in strengths:
            raise ValueError("give finite strengths above 0, including 1.0 (the whole drift)")
        return tuple(sorted(set(strengths)))

    @field_validator("decoding")
    @classmethod
    def _decoding_is_known(cls, given: str) -> str:
        try:
            known = given in ("greedy", "checkpoint") or 0 < float(given) < float("inf")
        except ValueError:
            known = False
        if not known:
            raise ValueError("write greedy, checkpoint, or a temperature above 0 such as 0.7")
        return given

    @field_validator("layers", mode="before")
    @classmethod
    def _layers_in_text(cls, given: object) -> object:
        return read_layers(given) if isinstance(given, str) else given

    @field_validator("template")
    @classmethod
    def _options_are_named(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if any("=" not in one for one in given):
            raise ValueError("write each as NAME=VALUE")
        return given

    @field_validator("layers")
    @classmethod
    def _layers_exist(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= layer < MOST_LAYERS for layer in layers):
            raise ValueError(f"give numbers of blocks from 0 to {MOST_LAYERS - 1:,}, such as 3-7,10")
        return layers

    @field_validator("*", mode="before")
    @classmethod
    def _is_text(cls, given: object) -> object:
        for one in given if isinstance(given, list | tuple) else (given,):
            if isinstance(one, str) and ("\0" in one or _SURROGATE.search(one)):
                raise ValueError("write it without control characters")
        return given

    @field_validator("columns", "labels", "splits", "arm_names")
    @classmethod
    def _names_are_mapped(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if any("=" not in one for one in given):
            raise ValueError("write each as FILE=REGAP")
        return given


def read_config(path: str | Path | None = None, **flags: Any) -> RunConfig:
    """Return the settings; flags take precedence over REGAP_* variables, and these over the TOML file.

    Raises ConfigError for an unknown key or variable, or a value that cannot be used.
    """
    _check_variables()
    file = _toml(path) if path else {}

    class Given(RunConfig, BaseSettings):
        model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="REGAP_")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Return the sources, highest precedence first."""
            return (init_settings, env_settings, InitSettingsSource(settings_cls, file))

    set_flags = {name: value for name, value in flags.items() if value is not None and value != ()}
    try:
        return RunConfig(**vars(_validated(Given, set_flags)))
    except SettingsError as error:
        raise ConfigError(
            f"a REGAP_* variable cannot be read: {first_line(error)}; write lists as JSON"
        ) from None


def changed_config(config: RunConfig, **changes: Any) -> RunConfig:
    """Return the settings with these changes; None changes nothing. Raises ConfigError for an unusable value."""
    changed = {name: value for name, value in changes.items() if value is not None}
    return _validated(RunConfig, {**config.model_dump(), **changed})


def stored_config(path: Path, **changes: Any) -> RunConfig:
    """Return the settings that a run was made with, with these changes; variables are not read.

    Raises ConfigError for a file that cannot be read or used.
    """
    changed = {name: value for name, value in changes.items() if value is not None}
    return _validated(RunConfig, {**_toml(path), **changed})


def _check_variables() -> None:
    """Raise ConfigError for an unknown REGAP_* variable, which may be misspelt."""
    known = {f"REGAP_{name.upper()}" for name in RunConfig.model_fields}
    for name in os.environ:
        if name.upper().startswith("REGAP_") and name.upper() not in known:
            near = get_close_matches(name.upper(), known, n=1, cutoff=0.8)
            remedy = f"did you mean {near[0]}?" if near else f"use one of {', '.join(sorted(known))}"
            raise ConfigError(f"variable {name} is not a setting: {remedy}")


def _validated(kind: type[RunConfig], values: Mapping[str, Any]) -> RunConfig:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = one_line(".".join(str(part) for part in first["loc"]), 60)
        known = ", ".join(RunConfig.model_fields)
        remedy = (
            f"use one of {known}"
            if first["type"] == "extra_forbidden"
            else first["msg"].removeprefix("Value error, ")
        )
        raise ConfigError(f"setting {name} is {_told(first['input'])}: {remedy}") from None


def _told(value: object) -> str:
    try:
        return one_line(repr(value), 120)
    except (ValueError, RecursionError):  # a number of thousands of digits, or a deeply nested list
        return "a value"


def _toml(path: str | Path) -> dict[str, Any]:
    """Return the values of a TOML file; raises ConfigError if it is not there or not TOML."""
    try:
        return tomllib.loads(text_of(bytes_of(Path(path), LARGEST_FILE)))
    except Unreadable as error:
        raise ConfigError(f"config file {path}: {error}") from None
    except RecursionError:
        raise ConfigError(f"config file {path} is not valid TOML (nested too deeply); correct it") from None
    except ValueError as error:
        raise ConfigError(
            f"config file {path} is not valid TOML ({first_line(error)}); correct that line"
        ) from None


def as_toml(config: RunConfig) -> str:
    """Return the settings as TOML; those that are None are left out."""
    values = config.model_dump(mode="json")
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f")
        for name, value in values.items()
        if value is not None
    )
