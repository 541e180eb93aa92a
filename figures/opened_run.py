"""A run opened from Python: its tables as DataFrames, its figures by name, its report; no model is loaded."""

import re
from dataclasses import dataclass

from regap.analyses.runs.records import Summary


@dataclass(frozen=True)
class StoredSite:
    """Where a correction of a run edits: layers and token positions."""

    layers: tuple[int, ...]
    positions: str

    @classmethod
    def of(cls, summary: Summary, correction: str) -> "StoredSite | None":
        """The site of `fixed` or `regap` in summary.json; None when it is not there."""
        found = summary.at(correction, "site")
        if isinstance(found, str):
            layers, *rest = found.split("/")
            numbers = tuple(int(number) for number in re.findall(r"\d+", layers))
            return cls(numbers, rest[0].strip()) if numbers and rest else None
        if not isinstance(found, dict) or not found.get("layers"):
            return None
        return cls(tuple(int(layer) for layer in found["layers"]), str(found.get("positions", "last")))


def edited_layers(summary: Summary) -> tuple[int, ...]:
    """The layers that the run's corrections edit, in order; empty when summary.json does not say."""
    sites = [StoredSite.of(summary, correction) for correction in ("fixed", "regap")]
    return tuple(sorted({layer for site in sites if site for layer in site.layers}))
