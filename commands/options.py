"""Flags that several commands share, and where commands print."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from regap.analyses.runs.config import RunConfig
    from regap.analyses.runs.run import Run as OpenedRun
    from regap.geometry.forward.runner import Tracker

screen = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Model = Annotated[
    str | None, typer.Option(help="organism, organism:MEMBER, a checkpoint folder or a hub id.")
]
PairsFile = Annotated[
    Path | None, typer.Option("--pairs", help="CSV, JSONL or parquet: one row per pair and arm.")
]
Benchmark = Annotated[
    str | None, typer.Option(help="Benchmark to ask instead of a pairs file; `regap benchmarks` lists them.")
]
Data = Annotated[Path | None, typer.Option(help="Folder in which the benchmark lies, as it is distributed.")]
Harmless = Annotated[
    str | None,
    typer.Option(help="Harmless source beside the benchmark; regap's own everyday requests if needed."),
]
Partial = Annotated[
    bool | None, typer.Option("--partial", help="Allow a benchmark of which rows or images are missing.")
]
Make = Annotated[
    list[str] | None,
    typer.Option(help="Arm to make: typographic, blank, noise, blank-colour or caption; repeat for more."),
]
Style = Annotated[
    str | None, typer.Option(help="Of typographic images that are made: figstep, mm-safetybench or plain.")
]
Contrast = Annotated[
    str | None,
    typer.Option(
        help="Harmless prompts that look harmful: xstest, another benchmark, or the organism's world."
    ),
]
ContrastData = Annotated[
    Path | None, typer.Option(help="Folder in which the contrasts lie, if not that of data.")
]
ReadBack = Annotated[
    bool | None,
    typer.Option("--read-back", help="Ask the model what images say; report outcomes on those it read too."),
]
Family = Annotated[
    list[str] | None,
    typer.Option(help="Further model to do the same on; repeat for more, each with its name."),
]
Out = Annotated[Path | None, typer.Option(help="Run folder; an interrupted run goes on there.")]
Arms = Annotated[list[str] | None, typer.Option("--arm", help="Arm to use; repeat for more. All by default.")]
ImageArm = Annotated[str | None, typer.Option(help="Arm that is corrected; typographic by default.")]
Limit = Annotated[int | None, typer.Option(help="At most this many pairs of each split and label.")]
Device = Annotated[str | None, typer.Option(help="Torch device, such as cpu or cuda.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or auto.")]
DeviceMap = Annotated[
    str | None, typer.Option(help="Split the model over devices: auto, balanced or sequential.")
]
Quantize = Annotated[str | None, typer.Option(help="8bit or 4bit weights; needs the extra `quantized`.")]
Attention = Annotated[
    str | None, typer.Option(help="sdpa, eager or flash_attention_2; the model's own by default.")
]
Revision = Annotated[str | None, typer.Option(help="Revision of a hub id.")]
Download = Annotated[
    bool | None,
    typer.Option("--download", help="Allow the network for a model or benchmark that is not at hand."),
]
BatchSize = Annotated[int | None, typer.Option(help="Most prompts in one forward pass.")]
BatchTokens = Annotated[
    int | None,
    typer.Option(help="Most tokens in one forward pass; less by itself when memory runs out."),
]
Budget = Annotated[
    float | None, typer.Option("--false-refusals", help="Share of harmless images that may be gated.")
]
MaxNewTokens = Annotated[int | None, typer.Option(help="Token budget of an answer.")]
Seed = Annotated[int | None, typer.Option(help="Seed of resamples and controls.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings; flags win over it.")
]
Run = Annotated[Path, typer.Argument(help="A run folder.")]
Again = Annotated[
    Path | None,
    typer.Argument(help="A finished run folder, taken up with its settings; none for a run of its own."),
]


def run_of(
    folder: Path | None,
    flags: dict[str, Any],
    track: "Tracker",
    check: "Callable[[Any], None] | None" = None,
) -> "OpenedRun":
    """Return the run in the folder, found and executed as the flags say, or a new one that the flags ask for."""
    from regap.analyses.runs.run import open_run, start_run

    if folder is None:
        return start_run(settings_of(flags), track, check=check)
    given = {name: str(value) if isinstance(value, Path) else value for name, value in flags.items()}
    return open_run(folder, track, check=check, **given)


def check_run(folder: Path) -> None:
    """Raise ValueError for a folder that holds nothing of a run, so that nothing is written into a stranger's."""
    known = ("config.toml", "provenance.json", "summary.json", "tables")
    if not any((folder / name).exists() for name in known):
        raise ValueError(f"run folder {folder} holds no run; name a folder that `regap run` made")


FLAGS: dict[str, Any] = {
    "model": Model,
    "family": Family,
    "pairs": PairsFile,
    "benchmark": Benchmark,
    "data": Data,
    "harmless": Harmless,
    "partial": Partial,
    "contrast": Contrast,
    "contrast_data": ContrastData,
    "make": Make,
    "style": Style,
    "read_back": ReadBack,
    "out": Out,
    "arm": Arms,
    "image_arm": ImageArm,
    "limit": Limit,
    "device": Device,
    "dtype": Dtype,
    "device_map": DeviceMap,
    "quantize": Quantize,
    "attention": Attention,
    "revision": Revision,
    "download": Download,
    "batch_size": BatchSize,
    "batch_tokens": BatchTokens,
    "max_new_tokens": MaxNewTokens,
    "false_refusals": Budget,
    "seed": Seed,
    "config": ConfigFile,
}
"""Every flag that sets a setting, in the order of help."""
LOADING = ("device", "dtype", "device_map", "quantize", "attention", "revision", "download")
"""How a model is loaded."""
ASKING = ("pairs", "benchmark", "data", "harmless", "partial", "make", "style", "limit")
"""What is asked."""
CAPTURING = ("model", *ASKING, "out", *LOADING, "batch_size", "batch_tokens", "config")
"""What every command takes that reads residual streams."""


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these flags, after its own parameters; it is handed them by name, None where they are not set."""

    def extended(command: Callable[..., None]) -> Callable[..., None]:
        own = [each for each in signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
        flags = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=FLAGS[name])
            for name in FLAGS
            if name in names
        ]
        command.__signature__ = Signature([*own, *flags])  # type: ignore[attr-defined] - typer reads it
        return command

    return extended


@contextmanager
def progress() -> "Iterator[Tracker]":
    """Show a bar for each step on the error stream while it runs."""
    from regap.analyses.runs.progress import progress_bars

    with progress_bars(errors) as track:
        yield track


def settings_of(flags: dict[str, Any]) -> "RunConfig":
    """Return the configuration that a command's own parameters ask for; those that are no settings are passed over."""
    from regap.analyses.runs.config import RunConfig, read_config

    set_flags = {name: value for name, value in flags.items() if name in RunConfig.model_fields}
    set_flags |= {"arms": tuple(flags.get("arm") or ()), "make": tuple(flags["make"] or ())}
    as_text = {name: str(value) if isinstance(value, Path) else value for name, value in set_flags.items()}
    return read_config(flags["config"], **as_text)
