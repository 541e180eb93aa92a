"""The criteria of the claims: what each must show, with a version, read from `criteria.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regap.geometry.states.store import digest_of

FILE = Path(__file__).parent / "criteria.toml"


@dataclass(frozen=True)
class Criterion:
    """What one claim must show, written before any test pair was answered under it. Ours; the claim is the paper's."""

    claim: str
    version: int
    date: str
    """When this version was written."""
    reason: str
    """Why it replaced the version before."""
    estimand: str
    site: str
    arm: str
    units: str
    controls: tuple[str, ...]
    rule: str
    """When the claim holds, in words, with the effect sizes in their places."""
    effects: Mapping[str, float]
    """The effect sizes of the rule, by name."""

    def __post_init__(self) -> None:
        if self.version < 1 or not self.effects or not self.controls:
            raise ValueError(
                f"criterion {self.claim!r} needs a version, effect sizes and controls; complete {FILE.name}"
            )
        object.__setattr__(self, "rule", self.rule.format(**self.effects))
        object.__setattr__(self, "effects", MappingProxyType(dict(self.effects)))

    def effect(self, name: str) -> float:
        """Return one effect size."""
        return self.effects[name]

    def __str__(self) -> str:
        return f"{self.rule} (criterion {self.claim}, version {self.version}, {self.date})"

    @property
    def stored(self) -> dict[str, Any]:
        """All fields in JSON types."""
        return {**vars(self), "effects": dict(self.effects), "controls": list(self.controls)}


@cache
def criteria() -> Mapping[str, Criterion]:
    """Return the criteria by claim, in the order of the file."""
    return read_criteria(FILE)


def read_criteria(path: Path) -> Mapping[str, Criterion]:
    """Return the criteria of a file by name, in its order."""
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: Criterion(claim=name, **{**fields, "controls": tuple(fields["controls"])})
        for name, fields in found.items()
    }


def criteria_digest() -> str:
    """Return a digest of all criteria; runs with the same digest were judged by the same criteria."""
    return digest_of([one.stored for one in criteria().values()])
