"""Which items of a run a query asks for, and which of those are drawn when there are too many."""

from functools import lru_cache

import numpy as np

from regap.figures.drawing.style import arm_order
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query

MOST_POINTS = 6000
"""Points drawn at once: more lie on top of one another, and every layer has to be sent to the browser."""


def resolved(query: Query, run: ExploredRun) -> Query:
    """The query with the layer and the arms that the run itself quotes where the address names none."""
    changed = {}
    if query.layer is None:
        chosen = run.chosen_layer
        changed["layer"] = chosen if chosen is not None else last_layer(run)
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
    """The deepest layer that was read, 0 while none was."""
    try:
        return run.items.layers[-1]
    except Missing:
        return 0


def edited_layer(run: ExploredRun) -> int:
    """The layer that the run's fixed correction edits; the layer that it quotes while there is none."""
    site = run.summary.at("fixed", "site")
    digits = "".join(site.split("/")[0].split(",")[0]).strip("layers ") if isinstance(site, str) else ""
    return int(digits) if digits.isdigit() else run.chosen_layer or 0


def as_the_run(query: Query, run: ExploredRun) -> Query | None:
    """The query with ReGap live as the run set it; None where summary.json does not tell of one site and a gate."""
    own = run.summary.at("regap")
    if not isinstance(own, dict) or not isinstance(own.get("gate"), dict):
        return None
    layers, *rest = [part.strip() for part in str(own.get("site")).split("/")]
    layer, strongest = layers.removeprefix("layers "), own.get("strongest")
    if not layer.isdigit() or not rest or not isinstance(strongest, int | float):
        return None
    return query.but(
        method="regap",
        at=int(layer),
        positions=rest[0],
        vector=str(own.get("part", "D")),
        gate=str(own["gate"].get("kind")),
        strength=float(strongest),
    )


def own_arms(run: ExploredRun) -> tuple[str, ...]:
    """Text and the arm that the run corrects; every arm where that is not known."""
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
    """True at the items that the query asks for; Missing says when a filter needs answers that are not there."""
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
    """The pairs whose name or request contains the words, upper and lower case alike."""
    names = run.items.rows["pair_id"].cat.categories
    found = set(names[names.str.contains(words, case=False, regex=False)])
    requests = run.prompts.requests
    if len(requests):
        found |= set(requests.index[requests.fillna("").str.contains(words, case=False, regex=False)])
    return found


@lru_cache(maxsize=4)
def ranks(count: int) -> np.ndarray:
    """A fixed shuffled order of so many items: the first of any of them are a fair sample."""
    return np.random.default_rng(0).permutation(count)


def thinned(places: np.ndarray, groups: np.ndarray, count: int, most: int = MOST_POINTS) -> np.ndarray:
    """At most about `most` of these places, of each group in proportion; the same ones each time.

    places: positions of items, of `count` in all. groups: the group of each place.
    """
    if len(places) <= most:
        return places
    order = ranks(count)[places]
    kept = []
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        share = max(1, most * len(inside) // len(places))
        lowest = np.argpartition(order[inside], min(share, len(inside) - 1))[:share]
        kept.append(places[inside[lowest]])
    return np.sort(np.concatenate(kept))
