"""The report opens offline, keeps data from becoming markup, and survives what is missing or broken."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from regap.analyses.tables.parquet_files import write_sealed_table
from regap.figures.examples import picture
from regap.figures.gallery import NAMES
from regap.figures.report import write_report

PNG = b"\x89PNG\r\n\x1a\n" + bytes(30)


class Loads(HTMLParser):
    """What a page would fetch, and the scripts it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.images: list[str] = []
        self.anchors: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.ids += [named["id"]] if "id" in named else []
        self.anchors += [named["href"]] if tag == "a" else []
        self.images += [named["src"]] if tag == "img" else []
        self.fetched += [named.get("src", "")] if tag in ("script", "iframe") and "src" in named else []
        self.fetched += [named.get("href", "")] if tag == "link" else []


def read(page: str) -> Loads:
    found = Loads()
    found.feed(page)
    return found


@pytest.fixture(scope="module")
def page(planted_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run with hostile text in every place that a user or a model writes."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(planted_run, folder, dirs_exist_ok=True)
    prompts(folder)
    (folder / "config.toml").write_text("</pre><script>alert(3)</script>")
    return write_report(folder).read_text()


def prompts(folder: Path, image: bytes = PNG) -> None:
    pairs = [{"pair_id": f"p{pair}", "arm": arm} for pair in range(4) for arm in ("text", "typographic")]
    rows = [{**pair, "request": "<img src=x onerror=alert(2)>", "image_png": image} for pair in pairs]
    write_sealed_table(folder / "prompts.parquet", pa.Table.from_pandas(pd.DataFrame(rows)))


def test_the_report_is_one_page_that_fetches_nothing(page: str) -> None:
    found = read(page)
    assert found.fetched == []
    assert all(source.startswith("data:image/png;base64,") for source in found.images) and found.images
    assert not re.search(r"@import|url\(\s*['\"]?http", page.split("</style>")[0])
    assert len(page.encode()) < 15_000_000
    assert page.count("plotly.js v") == 1


def test_the_contents_lead_to_every_part(page: str) -> None:
    found = read(page)
    targets = [anchor.removeprefix("#") for anchor in found.anchors]
    assert targets == ["claims", *NAMES, "examples", "method", "provenance"]
    assert set(targets) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_every_figure_has_its_caption_and_the_command_that_redraws_it(page: str) -> None:
    for name in NAMES:
        assert f'id="{name}-figure"' in page
        assert f"regap figures RUN --only {name}" in page


def test_data_never_becomes_markup(page: str) -> None:
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "&lt;script&gt;alert(3)" in page


def test_verdicts_wear_badges_with_criterion_and_evidence(page: str) -> None:
    assert all(f">{verdict}</span>" in page for verdict in ("holds", "does not hold", "unclear"))
    assert page.count("a criterion") == page.count("found so") == 3


def test_the_head_tells_the_numbers_with_their_intervals(page: str) -> None:
    assert (
        "attack success is 50.0% [40.0%, 60.0%] without correction and 50.0% [40.0%, 60.0%] with ReGap."
        in page
    )
    assert "Layer 1, chosen on calibration data" in page


def test_harmful_completions_are_cut_short_and_harmless_ones_longer(page: str) -> None:
    cells = re.findall(r"<td>(&lt;script[^<]*)<span", page)
    assert {len(re.sub("&[a-z]+;", "<", cell)) <= 62 for cell in cells} == {True, False}
    assert all(cell.endswith((" …", " at length")) for cell in cells)


def test_a_picture_that_is_no_png_or_too_large_is_left_out() -> None:
    assert picture(PNG)
    assert [picture(image) for image in (b"GIF89a" + bytes(30), PNG + bytes(300_000), None, "text")] == [
        ""
    ] * 4


def test_a_figure_that_fails_leaves_the_reason_in_its_place(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no <ink>")

    monkeypatch.setattr("regap.figures.plots.outcomes.draw", broken)
    page = write_report(run_folder).read_text()
    assert "No figure: drawing failed: ZeroDivisionError: no &lt;ink&gt;" in page
    assert 'id="dose_response-figure"' in page


def test_an_empty_run_still_has_a_report_that_says_what_is_missing(tmp_path: Path) -> None:
    page = write_report(tmp_path).read_text()
    assert page.count("No figure: the run has no table") == len(NAMES)
    assert "the run has no table of claims" in page
    assert "no completions under two conditions" in page


def test_equal_runs_give_equal_reports(run_folder: Path) -> None:
    assert write_report(run_folder).read_bytes() == write_report(run_folder).read_bytes()
