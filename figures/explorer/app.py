"""The explorer as an application: callbacks between the page's address and the views, served to this machine only."""

import logging
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, no_update
from flask import Response, abort, cli, request
from werkzeug.exceptions import HTTPException

from regap.analyses.spoken import in_words_of
from regap.figures.drawing.style import on_paper
from regap.figures.explorer.detail import detail
from regap.figures.explorer.page import controls_of, layout, problem
from regap.figures.explorer.run.explored import ExploredRun, Missing
from regap.figures.explorer.run.query import Query, resolved
from regap.figures.explorer.views import doses, drawn, item_table, plane, separability, trajectories
from regap.figures.explorer.views.live import live_view
from regap.figures.explorer.views.view import Shown, View
from regap.figures.gallery import worded

VIEWS: dict[str, View] = {
    view.name: view
    for view in (
        plane.VIEW,
        separability.VIEW,
        trajectories.VIEW,
        doses.VIEW,
        drawn.DRIFT,
        item_table.VIEW,
        drawn.FIGURES,
        drawn.ABLATION,
    )
}
"""Every view, in the order of the page."""
HIDDEN = {"display": "none"}


def application(runs: Sequence[ExploredRun], live: Any = None) -> Dash:
    """Return the explorer of one run, or of two side by side; `live` is a model to intervene in."""
    views = {**VIEWS, "live": live_view(live)}
    app = Dash(
        __name__,
        title="regap explore",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,
        add_log_handler=False,
    )
    app.layout = layout(runs, list(views.values()))
    _to_controls(app, runs, views)
    _to_address(app, len(runs))
    for place, run in enumerate(runs):
        _to_side(app, place, run, views)
    _to_detail(app, runs)
    return guarded(app)


def _to_controls(app: Dash, runs: Sequence[ExploredRun], views: dict[str, View]) -> None:
    @app.callback(
        Output("controls", "children"),
        Output("hint", "children"),
        Input("arrived", "data"),
        prevent_initial_call=True,
    )
    def controls(address: dict[str, str]) -> tuple[Any, str]:
        query = asked(address, runs[0])
        view = views.get(query.view)
        if view is None:
            return [], f"There is no view {query.view!r}; choose one above."
        return controls_of(view, runs, query), view.hint


def _to_address(app: Dash, sides: int) -> None:
    """Add callbacks that run in the browser, so that a slider changes the address without the server."""
    app.clientside_callback(
        ClientsideFunction("explorer", "arrived"), Output("arrived", "data"), Input("arrived", "id")
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "controlled"),
        Output("address", "data"),
        Input({"type": "control", "name": ALL}, "value"),
        Input("controls", "children"),
        State({"type": "control", "name": ALL}, "id"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "settled"),
        Output("item", "data"),
        Output({"type": "tab", "view": ALL}, "href"),
        Output({"type": "tab", "view": ALL}, "className"),
        Input("address", "data"),
        State("item", "data"),
        State({"type": "tab", "view": ALL}, "id"),
    )
    app.clientside_callback(
        ClientsideFunction("explorer", "ticked"),
        Output("clock", "n_intervals"),
        Input("clock", "n_intervals"),
    )
    for place in range(sides):
        app.clientside_callback(
            ClientsideFunction("explorer", "clicked"),
            Output(f"graph-{place}", "clickData"),
            Input(f"graph-{place}", "clickData"),
            State(f"graph-{place}", "id"),
            prevent_initial_call=True,
        )
        app.clientside_callback(
            ClientsideFunction("explorer", "zoomed"),
            Output(f"graph-{place}", "relayoutData"),
            Input(f"graph-{place}", "relayoutData"),
            prevent_initial_call=True,
        )


def _to_side(app: Dash, place: int, run: ExploredRun, views: dict[str, View]) -> None:
    @app.callback(
        Output(f"graph-{place}", "figure"),
        Output(f"graph-{place}", "style"),
        Output(f"parts-{place}", "children"),
        Output(f"caption-{place}", "children"),
        Output(f"command-{place}", "children"),
        Output(f"command-{place}", "title"),
        Input("address", "data"),
    )
    def side(address: dict[str, str] | None) -> tuple[Any, ...]:
        if not address:
            return (no_update,) * 6
        query = asked(address, run)
        view, here = views.get(query.view), address["path"] + address["search"]
        if view is None:
            return go.Figure(), HIDDEN, [], "", "", here
        shown = attempted(lambda: view.show(run, query))
        figure, look = no_update, HIDDEN
        arm = run.summary.text("image_arm")
        caption = in_words_of(arm, shown.caption)
        if shown.figure is not None:
            figure, look = on_paper(worded(shown.figure, arm), query.theme), {"height": shown.height}
            figure.update_layout(height=None, width=None, autosize=True)
        return figure, look, shown.parts, caption, view.command(run, query), here

    @app.callback(
        Output("download", "data", allow_duplicate=True),
        Input(f"save-{place}", "n_clicks"),
        State("address", "data"),
        prevent_initial_call=True,
    )
    def save(clicks: int | None, address: dict[str, str] | None) -> Any:
        if not clicks or not address:
            return no_update
        query = asked(address, run)
        try:
            table = views[query.view].data(run, query)
        except (Missing, KeyError):
            return no_update
        return dcc.send_data_frame(inert(table).to_csv, f"{run.folder.name}-{query.view}.csv", index=False)


def inert(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with an apostrophe before texts that a spreadsheet would take for a formula."""
    texts = table.select_dtypes(exclude="number")
    return table.assign(
        **{name: texts[name].astype(str).str.replace(r"^(?=[=+\-@\t\r])", "'", regex=True) for name in texts}
    )


def _to_detail(app: Dash, runs: Sequence[ExploredRun]) -> None:
    @app.callback(
        Output("detail", "children"),
        Output("detail", "className"),
        Input("item", "data"),
        State("address", "data"),
    )
    def read(item: str | None, address: dict[str, str] | None) -> tuple[Any, str]:
        if not item or not address:
            return [], ""
        first = asked(address, runs[0])
        run = runs[min(first.side, len(runs) - 1)]
        shown = attempted(lambda: Shown(parts=detail(run, asked(address, run))))
        return shown.parts, "open"


def asked(address: dict[str, str], run: ExploredRun) -> Query:
    """The query that an address asks of a run."""
    return resolved(Query.of(address.get("path"), address.get("search")), run)


def attempted(show: Callable[[], Shown]) -> Shown:
    """Return what a view shows, or a message if something is missing or fails."""
    try:
        return show()
    except Missing as error:
        return Shown(parts=[problem(str(error))])
    except Exception as error:
        if ctx and getattr(ctx, "debug", False):
            raise
        return Shown(parts=[problem(f"This could not be drawn: {type(error).__name__}: {error}")])


LARGEST_REQUEST = 2**20
"""Most bytes of a request; larger ones are refused before they are read."""
HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""Requests with other host names are refused, which prevents DNS rebinding."""


def guarded(app: Dash) -> Dash:
    """Return the application with a policy against foreign scripts and a check of the host name."""
    scripts = " ".join(
        ["'self'", *(f"'{digest}'" if "'" not in digest else digest for digest in app.csp_hashes())]
    )
    # WebGL marks are compiled in the browser and need 'unsafe-eval'; inline scripts are still refused.
    policy = (
        f"default-src 'self'; script-src {scripts} 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src data:; worker-src blob:; object-src 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )

    app.server.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST

    @app.server.before_request
    def own_name_only() -> None:
        if request.host.rpartition(":")[0] not in NAMES and request.host not in NAMES:
            abort(403)

    @app.server.errorhandler(Exception)
    def refused(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException):
            return error
        return Response(f"this request cannot be answered ({type(error).__name__})", 400)

    @app.server.after_request
    def with_policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return app


def free_port(wanted: int) -> int:
    """Return the port if it is free, any free port for 0; raises ValueError if it is taken."""
    with socket.socket() as trial:
        try:
            trial.bind((HOST, wanted))
        except OSError:
            raise ValueError(
                f"port is {wanted}, which is taken; choose another with --port, or 0 for any free one"
            ) from None
        return int(trial.getsockname()[1])


def serve(app: Dash, port: int, browser: bool = False) -> None:
    """Serve the explorer on this machine until interrupted; `browser` opens the page."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    cli.show_server_banner = lambda *_: None
    if browser:
        threading.Timer(0.5, webbrowser.open, [f"http://{HOST}:{port}/"]).start()
    app.server.run(host=HOST, port=port, threaded=True)
