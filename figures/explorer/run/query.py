"""The query of a view, which is its address; its defaults for a run, and the items that it selects."""

from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np

from regap.figures.drawing.style import arm_order
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.opened_run import StoredSite

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


def resolved(query: Query, run: ExploredRun) -> Query:
    """Return the query with the run's own layer and arms in place of missing ones."""
    changed = {}
    if query.layer is None:
        changed["layer"] = last_layer(run) if run.summary.layer is None else run.summary.layer
    if query.at is None:
        changed["at"] = edited_layer(run)
    if not query.arm:
        changed["arm"] = own_arms(run)
    if not query.item_arm:
        changed["item_arm"] = next((arm for arm in query.arm or changed["arm"] if arm != "text"), "text")
    if not query.heat:
        changed["heat"] = "sweep" if run.has("sweep") and not run.has("ablation") else "ablation"
    return query.but(**changed)


def last_layer(run: ExploredRun) -> int:
    """Return the last layer that was read, 0 if none was."""
    try:
        return run.items.layers[-1]
    except Missing:
        return 0


def edited_layer(run: ExploredRun) -> int:
    """Return the layer of the run's fixed correction, or its reported layer if there is none."""
    site = StoredSite.of(run.summary, "fixed")
    return site.layers[0] if site else run.summary.layer or 0


def as_the_run(query: Query, run: ExploredRun) -> Query | None:
    """Return the query with the run's own ReGap; None if summary.json has no ReGap at a single layer with a gate."""
    own, site = run.summary.at("regap"), StoredSite.of(run.summary, "regap")
    if site is None or len(site.layers) != 1 or not isinstance(own.get("gate"), dict):
        return None
    strongest = own.get("strongest")
    if not isinstance(strongest, int | float):
        return None
    return query.but(
        method="regap",
        at=site.layers[0],
        positions=site.positions,
        vector=str(own.get("part", "D")),
        gate=str(own["gate"].get("kind")),
        strength=float(strongest),
    )


def own_arms(run: ExploredRun) -> tuple[str, ...]:
    """Return text and the corrected arm; all arms if that is not known."""
    arms = known_arms(run)
    image = run.summary.text("image_arm") or "typographic"
    return ("text", image) if {"text", image} <= set(arms) else arms


def known_arms(run: ExploredRun) -> tuple[str, ...]:
    """The arms of the run, from the first table that has any."""
    try:
        return tuple(sorted(run.items.rows["arm"].cat.categories, key=arm_order))
    except Missing:
        pass
    for name in ("separability", "outcomes", "completions"):
        try:
            return tuple(sorted(set(run.record(name).table["arm"]), key=arm_order))
        except Missing:
            continue
    return ()


def chosen(run: ExploredRun, query: Query) -> np.ndarray:
    """Return True for items that the query selects; raises Missing if a filter needs answers and there are none."""
    rows = run.items.rows
    mask = (rows["condition"] == query.condition).to_numpy() & rows["arm"].isin(query.arm).to_numpy()
    for name in ("label", "category"):
        if getattr(query, name):
            mask &= (rows[name] == getattr(query, name)).to_numpy()
    if query.search:
        mask &= rows["pair_id"].isin(matching(run, query.search)).to_numpy()
    if query.verdict or query.only:
        facts = run.item_facts
        if facts is None:
            raise Missing(f"The run {run.folder.name} has no answers yet, so no verdicts to filter by.")
        if query.verdict:
            mask &= (facts["verdict"] == query.verdict).to_numpy()
        for flag in ("disagree", "flipped"):
            if flag in query.only:
                mask &= facts[flag].to_numpy()
    return mask


def matching(run: ExploredRun, words: str) -> set[str]:
    """Return the pairs whose name or request contains the words, ignoring case."""
    names = run.items.rows["pair_id"].cat.categories
    found = set(names[names.str.contains(words, case=False, regex=False)])
    requests = run.prompts.requests
    if len(requests):
        found |= set(requests.index[requests.fillna("").str.contains(words, case=False, regex=False)])
    return found
