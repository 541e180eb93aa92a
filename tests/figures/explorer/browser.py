"""A real browser without a window, and an explorer for it to look at."""

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from werkzeug.serving import make_server

from regap.figures.explorer.app import HOST, application
from regap.figures.explorer.run.explored import ExploredRun
from regap.figures.print.printing import BROWSERS

FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-first-run")
SIZE: ViewportSize = {"width": 1280, "height": 720}
PATIENCE = 60_000
"""Milliseconds to wait for what should come at once: other work may be going on."""
POINT = """([graph, name, place]) => {
  const plot = document.querySelector(`#${graph} .js-plotly-plot`), layout = plot._fullLayout;
  const trace = plot._fullData.find((each) => each.name === name), box = plot.getBoundingClientRect();
  return [box.x + layout.xaxis._offset + layout.xaxis.d2p(trace.x[place]),
          box.y + layout.yaxis._offset + layout.yaxis.d2p(trace.y[place])];
}"""

GO = """address => {
  history.pushState({}, "", address);
  window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
}"""
SETTLED = """() => {
  const shown = [...document.querySelectorAll("[data-run] code")].map((code) => code.title);
  return shown.length && shown.every((title) => title === location.pathname + location.search);
}"""


def chromium() -> str | None:
    """The browser that is installed; BROWSER_PATH comes first."""
    return os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser that is closed afterwards."""
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield browser
        browser.close()


@contextmanager
def serving(*folders: Path, live: Any = None) -> Iterator[str]:
    """The address of an explorer of these run folders."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = application([ExploredRun(folder) for folder in folders], live)
    server = make_server(HOST, 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://{HOST}:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Visit:
    """One page, and everything that went wrong on it."""

    page: Page
    base: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda told: self._note(told.type, told.text))
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", lambda request: self._note_foreign(request.url))

    def _note(self, kind: str, text: str) -> None:
        # Drawing by the processor alone is slow, and the browser says so; that is no error of the page.
        if kind in ("error", "warning") and "GPU stall" not in text and "GL Driver" not in text:
            self.wrong.append(f"{kind}: {text}")

    def _note_foreign(self, url: str) -> None:
        if not url.startswith((self.base, "data:", "blob:")):
            self.wrong.append(f"request to {url}")

    def open(self, address: str) -> "Visit":
        """Goes to an address: from within the page where it is open already, as the back button would."""
        if self.page.url.startswith(self.base):
            self.page.evaluate(GO, address)
        else:
            self.page.goto(self.base + address)
        self.settled()
        return self

    def settled(self) -> None:
        """Waits until every run shows what the address says."""
        self.page.wait_for_function(SETTLED)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def wait(self, condition: str) -> None:
        self.page.wait_for_function(condition)

    def drawn(self, graph: str = "graph-0") -> "Visit":
        """Waits until a figure has axes that can be seen."""
        self.page.locator(f"#{graph} [class*=xaxislayer] text:visible").first.wait_for()
        return self

    def names(self, graph: str = "graph-0") -> list[str]:
        """The traces of a figure."""
        return self.page.evaluate(
            "graph => document.querySelector(`#${graph} .js-plotly-plot`).data.map(each => each.name)", graph
        )

    def point(self, name: str, place: int, graph: str = "graph-0") -> tuple[float, float]:
        """Where on the page a point of a trace lies."""
        x, y = self.page.evaluate(POINT, [graph, name, place])
        return x, y

    def hover(self, name: str, place: int, graph: str = "graph-0") -> None:
        """Puts the pointer on a point, and waits for its label."""
        x, y = self.point(name, place, graph)
        self.page.mouse.move(x - 30, y - 30)
        self.page.mouse.move(x, y)
        self.page.locator(f"#{graph} .hoverlayer .hovertext").first.wait_for()

    def click(self, name: str, place: int, graph: str = "graph-0") -> None:
        self.hover(name, place, graph)
        self.page.mouse.click(*self.point(name, place, graph))

    def search(self) -> str:
        return self.page.evaluate("location.search")
