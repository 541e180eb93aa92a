"""Serve the explorer to this machine only, with a policy that allows only its own scripts."""

import logging
import socket
import threading
import webbrowser

from dash import Dash
from flask import Response, abort, cli, request

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
        "img-src 'self' data: blob:; worker-src blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    )

    @app.server.before_request
    def own_name_only() -> None:
        if request.host.rpartition(":")[0] not in NAMES and request.host not in NAMES:
            abort(403)

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
