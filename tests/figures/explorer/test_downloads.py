"""What is taken out of the explorer, and what it takes in, is bounded and inert."""

import pandas as pd
import pytest
from dash import Dash, html
from flask.testing import FlaskClient

from regap.figures.explorer.app import LARGEST_REQUEST, guarded, inert


def test_no_cell_of_a_download_begins_like_a_formula() -> None:
    cells = ["=HYPERLINK(1)", "+1", "-1", "@a", "\tb", "plain", "a=b"]
    table = inert(pd.DataFrame({"text": cells, "n": [-1.5] * 7}))
    assert table["text"].tolist() == ["'=HYPERLINK(1)", "'+1", "'-1", "'@a", "'\tb", "plain", "a=b"]
    assert table["n"].tolist() == [-1.5] * 7


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    app = guarded(Dash("explorer"))
    app.layout = html.Div()
    return app.server.test_client()


def posted(client: FlaskClient, body: bytes) -> tuple[int, str]:
    answer = client.post(
        "/_dash-update-component", data=body, content_type="application/json", base_url="http://localhost"
    )
    return answer.status_code, answer.get_data(as_text=True)


def test_a_large_body_is_refused(client: FlaskClient) -> None:
    assert posted(client, b"x" * (LARGEST_REQUEST + 1))[0] == 413


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"output": "a.b"}', b'{"output": 3, "inputs": "x"}'])
def test_a_malformed_request_is_refused_in_a_line_without_a_traceback(
    client: FlaskClient, body: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    code, told = posted(client, body)
    assert code in (400, 415) and "Traceback" not in told + "".join(capfd.readouterr())
