"""What keeps the explorer to oneself: this machine's own addresses alone, and no script but its own."""

import logging
import socket
import threading
import webbrowser

from dash import Dash
from flask import Response, abort, cli, request

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""A page elsewhere that points its own name at this machine is refused."""


def guarded(app: Dash) -> Dash:
    """The application with a policy against foreign scripts, and deaf to foreign names."""
    scripts = " ".join(
        ["'self'", *(f"'{digest}'" if "'" not in digest else digest for digest in app.csp_hashes())]
    )
    # WebGL marks are compiled in the browser, which is what 'unsafe-eval' allows; inline scripts stay refused.
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
    """The port wanted if it is free; ValueError if it is not. 0 asks for any free one."""
    with socket.socket() as trial:
        try:
            trial.bind((HOST, wanted))
        except OSError:
            raise ValueError(
                f"port is {wanted}, which is taken; name another with --port, or 0 for any free one"
            ) from None
        return int(trial.getsockname()[1])


def serve(app: Dash, port: int, browser: bool = False) -> None:
    """Answers requests of this machine until it is interrupted; opens the page first if asked to."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    cli.show_server_banner = lambda *_: None
    if browser:
        threading.Timer(0.5, webbrowser.open, [f"http://{HOST}:{port}/"]).start()
    app.server.run(host=HOST, port=port, threaded=True)
