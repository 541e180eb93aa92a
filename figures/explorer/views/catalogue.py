"""Every view, in the order of the page."""

from regap.figures.explorer.views import ablation as ablation_view
from regap.figures.explorer.views import doses, drift, item_table, plane, separability, trajectories
from regap.figures.explorer.views import figure as figure_view
from regap.figures.explorer.views.view import View

VIEWS: dict[str, View] = {
    module.VIEW.name: module.VIEW
    for module in (plane, separability, trajectories, doses, drift, item_table, figure_view, ablation_view)
}
