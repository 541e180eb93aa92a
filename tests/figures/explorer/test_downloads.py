"""What is taken out of the explorer, and what it takes in, is bounded and inert."""

import pandas as pd
from dash import Dash, html

from regap.figures.explorer.app import LARGEST_REQUEST, guarded, inert


def test_no_cell_of_a_download_begins_like_a_formula() -> None:
    cells = ["=HYPERLINK(1)", "+1", "-1", "@a", "\tb", "plain", "a=b"]
    table = inert(pd.DataFrame({"text": cells, "n": [-1.5] * 7}))
    assert table["text"].tolist() == ["'=HYPERLINK(1)", "'+1", "'-1", "'@a", "'\tb", "plain", "a=b"]
    assert table["n"].tolist() == [-1.5] * 7


def test_a_large_body_is_refused() -> None:
    app = guarded(Dash("explorer"))
    app.layout = html.Div()
    body = b"x" * (LARGEST_REQUEST + 1)
    answer = app.server.test_client().post(
        "/_dash-update-component", data=body, content_type="application/json", base_url="http://localhost"
    )
    assert answer.status_code == 413
