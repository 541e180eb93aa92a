"""Facts about a benchmark (size, arms, licence, source), and how its files are fetched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from regap.errors import PairError, first_line
from regap.geometry.data.benchmarks.entry import Loader

Purpose = Literal["safety", "harmless", "utility"]
FETCHED = ".fetched"
"""File in a benchmark's folder that marks a complete download; without it, a download is continued."""


@dataclass(frozen=True)
class BenchmarkCard:
    """One benchmark, and the function that reads it."""

    name: str
    """The name in `benchmark(name, ...)` and on the command line."""
    load: Loader = field(repr=False)
    purpose: Purpose
    arms: tuple[str, ...]
    """Arms that the benchmark itself has; `-step*` stands for several."""
    licence: str
    """Licence of the data; `none stated` if the publisher states none."""
    home: str
    """Address of the publisher."""
    files: tuple[str, ...]
    """Patterns of the files that must be there; `|` separates alternatives for one file."""
    rows: tuple[int, ...] = ()
    """Published numbers of pairs, one for each release; if empty, the number is not checked."""
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Published numbers of pairs by category, if all are known."""
    hub: str | None = None
    """Name of the data set on the Hugging Face hub, None if the same files are not there."""
    hub_files: tuple[str, ...] = ("*",)
    """Patterns of the files that are fetched from the hub."""
    style: str = "figstep"
    """Style in which missing typographic images are drawn."""
    bundled: bool = False
    """True if it comes with regap and needs no folder."""
    note: str = ""
    """What a user must know, in one sentence."""

    def folder_in(self, folder: Path) -> Path | None:
        """Return the folder with the benchmark's files: this one or a subfolder of its name; None if neither has
        them."""
        family = self.name.partition("-")[0]
        for place in (folder / self.name, folder / self.name.replace("-", "_"), folder / family, folder):
            if all(_any_file(place, wanted) for wanted in self.files):
                return place
        return None


def _any_file(folder: Path, alternatives: str) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in alternatives.split("|"))


def fetch(card: BenchmarkCard, folder: Path) -> Path:
    """Return the folder, with the benchmark's files downloaded into it; raises PairError if they cannot be downloaded.

    Files that are there already are not fetched again.
    """
    target = folder / card.name
    present = card.folder_in(folder)
    if (target / FETCHED).is_file() or present not in (None, target):
        return folder
    if card.hub is None:
        raise PairError(
            f"benchmark {card.name} cannot be fetched from the hub; get it from {card.home} and name its folder"
        )
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            card.hub, repo_type="dataset", local_dir=target, allow_patterns=list(card.hub_files)
        )
        (target / FETCHED).touch()
    except Exception as error:  # the hub, its transport and the disk each raise their own kind
        reason = first_line(error)[:160]
        raise PairError(
            f"benchmark {card.name}: {card.hub} could not be downloaded ({reason}); check the network, log in if "
            f"the set asks for it, or get it from {card.home}"
        ) from None
    return folder
