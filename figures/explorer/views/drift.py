"""View: whether more drift goes with less separability and more attack success."""

import pandas as pd

from regap.figures import drift_and_separability
from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.explorer.run.query import Query
from regap.figures.explorer.views.view import Shown, View


def show(run: ExploredRun, query: Query) -> Shown:  # noqa: ARG001 - every view is asked alike
    """Drift against d′ and attack success, for each arm, model and bin of prompts."""
    prediction = run.record("prediction")
    correlations = run.record("correlations") if run.has("correlations") else None
    figure = drift_and_separability.draw(prediction, correlations)
    figure.update_layout(title_text="", margin_t=40)
    return Shown(figure, caption=drift_and_separability.caption(prediction, correlations))


def data(run: ExploredRun, query: Query) -> pd.DataFrame:  # noqa: ARG001
    """The table that is drawn."""
    return run.record("prediction").table


VIEW = View(
    "drift",
    "Drift",
    "Drift against separability and attack success",
    (),
    show,
    data,
    "drift_and_separability",
)
