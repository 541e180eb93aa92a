"""Fetching a benchmark from the Hugging Face hub, only when that is asked for."""

from pathlib import Path

from regap.errors import PairError
from regap.geometry.data.benchmarks.card import BenchmarkCard

FETCHED = ".fetched"
"""Written into a benchmark's folder once all of it is there, so that an interrupted download goes on."""


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
