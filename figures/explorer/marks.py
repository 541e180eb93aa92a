"""Marks that several views share: clouds of items, their density, and the item that was chosen."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.ndimage import gaussian_filter

from regap.figures.drawing import style
from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.run.selection import thinned

CELLS = 64
LONGEST_NAME = 60
SYMBOLS = {"harmful": "circle", "harmless": "x-thin"}


def shown_name(text: object) -> str:
    """A name as it may stand in a hover label: short, and never markup."""
    words = str(text)
    return style.shown(words if len(words) <= LONGEST_NAME else words[:LONGEST_NAME] + " …")


def groups_of(rows: pd.DataFrame) -> np.ndarray:
    """One number for each arm and label."""
    return rows["arm"].cat.codes.to_numpy(np.int64) * 2 + (rows["label"] == "harmful").to_numpy()


def clouds(
    run: ExploredRun, places: np.ndarray, x: np.ndarray, y: np.ndarray, **common: Any
) -> list[go.Scattergl]:
    """The items at these places as points, one trace per arm and label; x and y are of all items."""
    rows = run.items.rows
    kept = thinned(places, groups_of(rows.iloc[places]), len(rows))
    return [cloud(part, x, y, arm, label, **common) for arm, label, part in split(rows.iloc[kept])]


def split(rows: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """(arm, label, rows), arms in their usual order."""
    arms = sorted(rows["arm"].unique(), key=style.arm_order)
    parts = [
        (arm, label, rows[(rows["arm"] == arm) & (rows["label"] == label)])
        for arm in arms
        for label in style.LABELS
    ]
    return [part for part in parts if len(part[2])]


def cloud(
    rows: pd.DataFrame, x: np.ndarray, y: np.ndarray, arm: str, label: str, **common: Any
) -> go.Scattergl:
    """The items of one arm and label; a click on one chooses it."""
    colour = style.arm_colours(run_arms(rows))[arm]
    at = rows.index.to_numpy()
    edge = {"width": 1.3 if label == "harmless" else 0, "color": style.clear(colour, 0.8)}
    return go.Scattergl(
        x=x[at],
        y=y[at],
        mode="markers",
        marker={"symbol": SYMBOLS[label], "size": 6, "color": style.clear(colour, 0.55), "line": edge},
        name=f"{style.arm_label(arm)}, {label}",
        text=[f"{shown_name(pair)} · {shown_name(kind)}" for pair, kind in names(rows)],
        customdata=rows["pair_id"].astype(object).to_numpy(),
        meta={"select": "item", "arm": arm},
        hovertemplate=f"<b>%{{text}}</b><br>{style.arm_label(arm)}, {label}<br>"
        "δ %{x:.3g} · z %{y:.3g}<extra></extra>",
        **common,
    )


def names(rows: pd.DataFrame) -> np.ndarray:
    """Pair and category of each row."""
    return np.stack([rows["pair_id"].astype(object), rows["category"].astype(object)], 1)


def run_arms(rows: pd.DataFrame) -> list[str]:
    """Every arm of the run, so that an arm has one colour whichever are shown."""
    return list(rows["arm"].cat.categories)


def density(
    rows: pd.DataFrame,
    places: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    span: tuple[float, ...],
    **common: Any,
) -> list[go.Contour]:
    """Contours of the smoothed density of all items at these places, harmful solid and harmless dotted."""
    colours = style.arm_colours(run_arms(rows))
    x0, x1, y0, y1 = span
    found = []
    for arm, label, part in split(rows.iloc[places]):
        if len(part) < 20:
            continue
        at = part.index.to_numpy()
        counts, xs, ys = np.histogram2d(x[at], y[at], CELLS, [[x0, x1], [y0, y1]])
        smooth = gaussian_filter(counts, 1.4).T
        top = float(smooth.max()) or 1.0
        found.append(
            go.Contour(
                z=(smooth / top).astype(np.float32),
                x=(xs[:-1] + xs[1:]) / 2,
                y=(ys[:-1] + ys[1:]) / 2,
                contours={"coloring": "none", "start": 0.2, "end": 0.8, "size": 0.3},
                line={
                    "color": style.clear(colours[arm], 0.9),
                    "width": 1.4,
                    "dash": "solid" if label == "harmful" else "dot",
                },
                showscale=False,
                showlegend=False,
                hoverinfo="skip",
                **common,
            )
        )
    return found


def marked(run: ExploredRun, query: Query, x: np.ndarray, y: np.ndarray, **common: Any) -> list[go.Scattergl]:
    """A ring round the chosen item, where it is among the arms that are shown."""
    if not query.item:
        return []
    rows = run.items.of(query.item)
    rows = rows[(rows["condition"] == query.condition) & rows["arm"].isin(query.arm)]
    at = rows.index.to_numpy()
    if not len(at):
        return []
    sizes = [18 if arm == query.item_arm else 12 for arm in rows["arm"]]
    ring = {"symbol": "circle-open", "size": sizes, "color": style.INK, "line": {"width": 2.4}}
    return [
        go.Scattergl(
            x=x[at],
            y=y[at],
            mode="markers",
            marker=ring,
            name="chosen",
            hoverinfo="skip",
            showlegend=False,
            **common,
        )
    ]


def span_of(*values: np.ndarray) -> tuple[float, float]:
    """From the least to the greatest value, with a twentieth to spare on either side."""
    finite = np.concatenate([each[np.isfinite(each)] for each in values])
    if not len(finite):
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    spare = 0.05 * (high - low) or 0.5
    return low - spare, high + spare
