"""A static copy needs a browser that is there, and says plainly what to install when it is not."""

from pathlib import Path

import plotly.graph_objects as go
import pytest

from regap.figures.print.printing import browser_or_advice, on_paper


def test_without_a_browser_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    with pytest.raises(RuntimeError, match=r"needs a Chrome or Chromium.*BROWSER_PATH"):
        browser_or_advice()


def test_the_browser_named_in_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/some/chrome")
    assert browser_or_advice() == "/some/chrome"


def test_paper_has_no_menus_and_the_figure_keeps_its_own() -> None:
    menu: dict = {"buttons": [{"label": "d", "method": "restyle"}]}
    figure = go.Figure(go.Scatter(y=[1, 2]), {"updatemenus": [menu], "sliders": [{"active": 0}]})
    drawn = on_paper(figure)
    assert not drawn.layout.updatemenus and not drawn.layout.sliders and len(drawn.data) == 1
    assert len(figure.layout.updatemenus) == len(figure.layout.sliders) == 1
