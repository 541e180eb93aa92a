"""View: a table of items, with filters and pages."""

from typing import Any

import numpy as np
import pandas as pd
from dash import html

from regap.figures.drawing import style
from regap.figures.examples import HARMFUL_LETTERS, HARMLESS_LETTERS, REQUEST_LETTERS, shortened
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query, chosen
from regap.figures.explorer.views.view import FILTERS, Shown, View, sends

ROWS_A_PAGE = 25
HEADINGS = ("item", "arm", "class", "category", "request", "verdict", "answer", "z", "δ", "")


def show(run: ExploredRun, query: Query) -> Shown:
    """Return one page of the selected items; their text is never markup."""
    places = found(run, query)
    pages = max(1, -(-len(places) // ROWS_A_PAGE))
    page = min(query.page, pages - 1)
    rows = page_of(run, query, places[page * ROWS_A_PAGE : (page + 1) * ROWS_A_PAGE])
    table = html.Table(
        [
            html.Thead(html.Tr([html.Th(heading, scope="col") for heading in HEADINGS])),
            html.Tbody([table_row(row, query) for row in rows.to_dict("records")]),
        ],
        className="items",
    )
    return Shown(parts=[pager(page, pages, len(places)), html.Div(table, className="wide")], caption="")


def found(run: ExploredRun, query: Query) -> np.ndarray:
    """The positions of the items asked for, test prompts first; Missing if there are none."""
    places = np.flatnonzero(chosen(run, query))
    places = places[np.argsort(run.items.rows["split"].iloc[places] != "test", kind="stable")]
    if not len(places):
        raise Missing("No item matches these filters; widen them, or choose another arm or condition.")
    return places


def page_of(run: ExploredRun, query: Query, places: np.ndarray) -> pd.DataFrame:
    """Return the columns of the table for these items."""
    items, answers, facts = run.items, run.answers, run.item_facts
    rows = items.rows.iloc[places].astype(str)
    at = items.place(query.layer or 0)
    rows = rows.assign(z=items.refusal[at][places], delta=items.drift[at][places])
    rows["request"] = rows["pair_id"].map(run.prompts.requests) if len(run.prompts.requests) else ""
    rows = rows.fillna({"request": ""})
    if answers is None or facts is None:
        return rows.assign(verdict="", text="", disagree=False, flipped=False)
    rows = rows.assign(**{name: facts[name].iloc[places].to_numpy() for name in facts if name not in rows})
    said = answers.completions
    said = said[said["pair_id"].isin(rows["pair_id"])]
    return rows.merge(said, on=["pair_id", "arm", "condition"], how="left").fillna({"text": ""})


def table_row(row: dict[Any, Any], query: Query) -> html.Tr:
    """One item; its name is a button that opens it."""
    letters = HARMFUL_LETTERS if row["label"] == "harmful" else HARMLESS_LETTERS
    marks = [word for word in ("flipped", "disagree") if row[word]]
    open_it = html.Button(
        shortened(row["pair_id"], 40),
        type="button",
        className="plain",
        **sends(item=row["pair_id"], arm=row["arm"], side="here"),
    )
    cells = [
        open_it,
        style.ARMS[row["arm"]][0] if row["arm"] in style.ARMS else row["arm"],
        row["label"],
        row["category"],
        shortened(row["request"], REQUEST_LETTERS),
        html.Span(row["verdict"].replace("_", " ") or "–", className=f"verdict {row['verdict']}"),
        shortened(row["text"], letters),
        f"{row['z']:.3g}",
        f"{row['delta']:.3g}",
        ", ".join(marks),
    ]
    chosen_one = row["pair_id"] == query.item and row["arm"] == query.item_arm
    return html.Tr([html.Td(cell, dir="auto") for cell in cells], className="chosen" if chosen_one else "")


def pager(page: int, pages: int, items: int) -> html.Div:
    """Return the number of items, and buttons to the previous and next page."""
    buttons = [
        html.Button(
            name,
            type="button",
            disabled=not 0 <= to < pages,
            **sends(set="page", value=str(to)),
        )
        for name, to in (("‹ previous", page - 1), ("next ›", page + 1))
    ]
    return html.Div(
        [html.Span(f"{items:,} items, page {page + 1} of {pages:,}"), *buttons], className="pager"
    )


def data(run: ExploredRun, query: Query) -> pd.DataFrame:
    """Return all selected items with verdicts and answers; answers are not shortened."""
    return page_of(run, query, found(run, query))


VIEW = View(
    "items",
    "Items",
    "All items: filter, then click one to read it",
    ("condition", *FILTERS, "layer"),
    show,
    data,
)
