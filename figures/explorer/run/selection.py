"""The defaults of a query for a run, and the items that it selects."""

import numpy as np

from regap.figures.drawing.style import arm_order
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query
from regap.figures.opened_run import StoredSite


def resolved(query: Query, run: ExploredRun) -> Query:
    """Return the query with the run's own layer and arms in place of missing ones."""
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
    """Return the last layer that was read, 0 if none was."""
    try:
        return run.items.layers[-1]
    except Missing:
        return 0


def edited_layer(run: ExploredRun) -> int:
    """Return the layer of the run's fixed correction, or its reported layer if there is none."""
    site = StoredSite.of(run.summary, "fixed")
    return site.layers[0] if site else run.chosen_layer or 0


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
