"""A view: its name in the address, its controls, and pure functions from a run and a query."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query


@dataclass(frozen=True, eq=False)
class Shown:
    """What a view shows of one run: a figure, or parts of a page, and a caption."""

    figure: go.Figure | None = None
    parts: list[Any] = field(default_factory=list)
    caption: str = ""
    height: str = "max(400px, calc(100vh - 236px))"
    """Height of the figure: the space between tabs and caption."""


@dataclass(frozen=True)
class View:
    """A view; `show` and `data` raise Missing if the run lacks what they need."""

    name: str
    heading: str
    hint: str
    controls: tuple[str, ...]
    show: Callable[[ExploredRun, Query], Shown]
    data: Callable[[ExploredRun, Query], pd.DataFrame]
    figure: str = ""
    """The same figure in `regap figures`; empty if there is none."""

    def command(self, run: ExploredRun, query: Query) -> str:
        """The command that makes this figure again."""
        folder = shlex.quote(str(run.folder))
        chosen = {"figures": query.figure, "ablation": query.heat}
        name = self.figure or chosen.get(self.name, "")
        return f"regap figures {folder} --only {shlex.quote(name)}" if name else f"regap explore {folder}"


FILTERS = ("arm", "label", "category", "verdict", "only", "search")


def sends(**values: str) -> dict[str, Any]:
    """Return data-* attributes: what a click on an element writes into the address."""
    return {f"data-{name}": value for name, value in values.items()}


def aria(**values: str) -> dict[str, Any]:
    """Return aria-* attributes, which describe an element to screen readers."""
    return {f"aria-{name}": value for name, value in values.items()}
