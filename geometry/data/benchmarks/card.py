"""What is known of a benchmark: how many rows, which arms, whose licence, where to get it; and how it is fetched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from regap.errors import PairError
from regap.geometry.data.benchmarks.entry import Loader

Purpose = Literal["safety", "harmless", "utility"]
FETCHED = ".fetched"
"""Written into a benchmark's folder once all of it is there, so that an interrupted download goes on."""


@dataclass(frozen=True)
class BenchmarkCard:
    """One benchmark, and the function that reads it."""

    name: str
    """As in `benchmark(name, ...)` and on the command line."""
    load: Loader = field(repr=False)
    purpose: Purpose
    arms: tuple[str, ...]
    """That the benchmark itself has; a `-step*` stands for several."""
    licence: str
    """Of the data; `none stated` where the publisher states none."""
    home: str
    """Address of the publisher."""
    files: tuple[str, ...]
    """Patterns of the files that must be there, alternatives of one file divided by `|`."""
    rows: tuple[int, ...] = ()
    """Published numbers of pairs, one for each release; empty where none is fixed, and then none is checked."""
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Published numbers of pairs by category, where all are known."""
    hub: str | None = None
    """Name on the Hugging Face hub of the same files, None where they are not there."""
    hub_files: tuple[str, ...] = ("*",)
    """Patterns of what is fetched from the hub."""
    style: str = "figstep"
    """In which style missing typographic images are drawn."""
    bundled: bool = False
    """Whether it comes with regap and needs no folder."""
    note: str = ""
    """What a user must know, in one sentence."""

    def folder_in(self, folder: Path) -> Path | None:
        """Return where the benchmark lies: in the folder, or in the one of its name in there; None if nowhere."""
        family = self.name.partition("-")[0]
        for place in (folder / self.name, folder / self.name.replace("-", "_"), folder / family, folder):
            if all(_any_file(place, wanted) for wanted in self.files):
                return place
        return None


def _any_file(folder: Path, alternatives: str) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in alternatives.split("|"))


def fetch(card: BenchmarkCard, folder: Path) -> Path:
    """Return the folder with the benchmark's files, downloaded into it; PairError says what stands against it.

    What was fetched whole, or lies there from elsewhere, is not fetched again.
    """
    target = folder / card.name
    present = card.folder_in(folder)
    if (target / FETCHED).is_file() or present not in (None, target):
        return folder
    if card.hub is None:
        raise PairError(
            f"benchmark {card.name} is not on the hub as it is distributed; get it from {card.home} and name its "
            "folder"
        )
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            card.hub, repo_type="dataset", local_dir=target, allow_patterns=list(card.hub_files)
        )
        (target / FETCHED).touch()
    except Exception as error:  # the hub, its transport and the disk each raise their own kind
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise PairError(
            f"benchmark {card.name}: {card.hub} could not be downloaded ({reason}); check the network, log in if "
            f"the set asks for it, or get it from {card.home}"
        ) from None
    return folder
