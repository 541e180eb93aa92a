"""The query of a view, which is its address, so that every view can be shared."""

from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

FIRST_VIEW = "plane"
LONGEST = 200_000
"""Most characters of an address that are read."""


@dataclass(frozen=True)
class Query:
    """All settings of a view; empty means all, or the run's own choice."""

    view: str = FIRST_VIEW
    layer: int | None = None
    arm: tuple[str, ...] = ()
    condition: str = "baseline"
    label: str = ""
    category: str = ""
    verdict: str = ""
    only: tuple[str, ...] = ()
    """disagree: judges differ; flipped: the correction changed the verdict."""
    search: str = ""
    measure: str = "d_prime"
    direction: str = "refusal"
    vector: str = "D"
    strength: float = 1.0
    density: tuple[str, ...] = ("on",)
    figure: str = "outcomes"
    page: int = 0
    zoom: tuple[float, ...] = ()
    """x0, x1, y0, y1 of the visible part of the plane."""
    item: str = ""
    item_arm: str = ""
    side: int = 0
    """The run that the item was chosen in."""
    theme: str = "light"
    method: str = "fixed"
    at: int | None = None
    """The layer of the live edit."""
    positions: str = "last"
    gate: str = "hard"
    along: str = "refusal"
    """The colour of tokens and patches: `refusal` for z, `drift` for δ."""
    heat: str = ""
    """The heat maps: ablation or sweep; empty: those that the run has."""
    asked: str = ""
    """The folder of the question whose heat maps are shown; empty: the newest."""

    @classmethod
    def of(cls, path: str | None, search: str | None) -> "Query":
        """Return the query in an address; unknown or malformed parts keep their defaults."""
        found = parse_qs((search or "")[:LONGEST].lstrip("?"), keep_blank_values=True)
        given = {
            field.name: read
            for field in fields(cls)
            if field.name in found and (read := parsed(field.name, found[field.name])) is not None
        }
        return cls(**{**given, "view": (path or "").strip("/") or FIRST_VIEW})

    def but(self, **changed: Any) -> "Query":
        """The same query with some of it changed."""
        return replace(self, **changed)

    def address(self) -> str:
        """Return path and search of this query, with the fields that differ from the defaults."""
        plain = Query()
        given = {
            field.name: value if isinstance(value, tuple) else [value]
            for field in fields(self)
            if field.name != "view" and (value := getattr(self, field.name)) != getattr(plain, field.name)
        }
        pairs = [(name, one) for name, values in given.items() for one in values or ("",)]
        return f"/{self.view}" + (f"?{urlencode(pairs)}" if pairs else "")


WHOLE = ("layer", "page", "side", "at")
FILTERED = ("label", "category", "verdict", "asked")
MANY = ("arm", "only", "density", "zoom")


def parsed(name: str, values: list[str]) -> Any:
    """Return the values of one field, converted to its type; None if they are malformed."""
    try:
        if name in WHOLE:
            return max(0, int(values[0]))
        if name == "strength":
            number = float(values[0])
            return number if abs(number) <= 100 else None
        if name == "zoom":
            numbers = tuple(float(value) for value in values if value)
            return numbers if len(numbers) == 4 and all(abs(each) < 1e12 for each in numbers) else None
    except ValueError:
        return None
    if name in MANY:
        return tuple(value for value in values if value)
    return "" if name in FILTERED and values[0] == "any" else values[0]
