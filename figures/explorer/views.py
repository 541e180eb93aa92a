"""Every view, in the order of the page."""

from regap.figures.explorer import (
    ablation_view,
    doses,
    drift,
    figure_view,
    item_table,
    plane,
    separability,
    trajectories,
)
from regap.figures.explorer.view import View

VIEWS: dict[str, View] = {
    module.VIEW.name: module.VIEW
    for module in (plane, separability, trajectories, doses, drift, item_table, figure_view, ablation_view)
}
