"""A local endpoint for tests: it answers, fails, hangs, drips and trickles, and keeps what it was asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from regap.analyses.judges.endpoint_judge import Endpoint

KEY = "sk-very-secret"
TURNS = [{"role": "user", "content": "hello"}]
Step = Callable[[BaseHTTPRequestHandler], None]


def sends(status: int, body: bytes, **headers: str) -> Step:
    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return step


def says(text: str | None, finish: str = "stop") -> Step:
    choice = {"message": {"content": text}, "finish_reason": finish}
    return sends(200, json.dumps({"choices": [choice]}).encode())


def hangs(seconds: float) -> Step:
    return lambda _: time.sleep(seconds)


def drips(seconds: float) -> Step:
    """Sends a byte now and then, so that no single read takes long."""

    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    return step


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def trickles(start: bytes, again: bytes) -> Step:
    """Sends a start, and then the same bytes again and again, for five seconds at most."""

    def step(handler: BaseHTTPRequestHandler) -> None:
        until = time.monotonic() + 5
        with suppress(OSError):
            handler.wfile.write(start)
            while time.monotonic() < until:
                handler.wfile.write(again)
                handler.wfile.flush()
                time.sleep(0.02)
        handler.close_connection = True

    return step


@dataclass
class Served:
    """What a local server does at each question, the last step again and again, and what it was asked."""

    steps: list[Step] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    proxied: list[str] = field(default_factory=list)
    url: str = ""

    def endpoint(self, **settings: Any) -> Endpoint:
        return Endpoint(self.url, "a-model", pause=0.01, **{"timeout": 0.5, **settings})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    known = Served()

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known.proxied.append(self.path)
            self.send_error(502)

        do_CONNECT = do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            step = known.steps[min(len(known.asked), len(known.steps) - 1)]
            known.asked.append(json.loads(body))
            known.heads.append(dict(self.headers))
            known.paths.append(self.path)
            step(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield known
    assert not known.proxied, "a question went to the proxy that the environment names"
    for one in (server, proxy):
        one.shutdown()
        one.server_close()
    thread.join()
