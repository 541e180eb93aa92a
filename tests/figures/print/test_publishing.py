"""What is printed comes in the formats asked for, with its caption, its tables, and where it is from."""

import hashlib
import io
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from regap.analyses.runs.records import RunRecords
from regap.figures.gallery import NAMES, FigureOptions, draw_all, write_figures
from regap.figures.print import printing as export
from regap.figures.print.printing import Page
from regap.figures.print.publishing import checked_formats, publish, publish_together, run_names, with_origin

SVG = b'<?xml version="1.0"?><svg width="3"><g/></svg>'


def png(width: int = 4, height: int = 3) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def without_browser(monkeypatch: pytest.MonkeyPatch) -> list[Page]:
    """Files without a browser: what would be drawn is kept."""
    asked: list[Page] = []

    def made(pages: Sequence[Page], png_scale: float = 2) -> list[bytes]:
        asked.extend(pages)
        return [{".svg": SVG, ".png": png(), ".pdf": b"%PDF"}[page.kind] for page in pages]

    monkeypatch.setattr("regap.figures.print.publishing.export_all", made)
    return asked


def test_every_figure_comes_in_every_format_with_its_caption(
    run_folder: Path, without_browser: list[Page]
) -> None:
    written = publish(run_folder, ("pdf", "svg", "png"))
    names = {path.name for path in written}
    assert {f"{name}.{kind}" for name in NAMES for kind in ("pdf", "svg", "png", "txt")} <= names
    assert {"table_claims.tex", "table_claims.md", "table_outcomes.tex"} <= names
    assert {path.parent for path in written} == {run_folder / "figures" / "paper"}
    assert len(without_browser) == 3 * len(NAMES)


def test_each_file_says_which_table_it_was_drawn_from(run_folder: Path, without_browser: list[Page]) -> None:
    publish(run_folder, ("svg", "png"), only="separability_by_layer", out=run_folder / "out")
    content = (run_folder / "tables" / "separability.parquet").read_bytes()
    origin = f"separability sha256:{hashlib.sha256(content).hexdigest()}"
    out = run_folder / "out"
    assert origin in (out / "separability_by_layer.txt").read_text()
    assert f"<metadata>{origin}</metadata><g/>" in (out / "separability_by_layer.svg").read_text()
    with Image.open(out / "separability_by_layer.png") as image:
        assert image.info["Source"] == origin and image.getpixel((0, 0)) == (255, 0, 0)
    assert {path.suffix for path in out.iterdir()} == {".txt", ".svg", ".png"}


def test_figures_for_the_browser_carry_the_digest_too(run_folder: Path) -> None:
    digest = hashlib.sha256((run_folder / "tables" / "separability.parquet").read_bytes()).hexdigest()
    write_figures(run_folder, only="separability_by_layer")
    assert digest in (run_folder / "figures" / "separability_by_layer.html").read_text()
    tables = {one.drawing.name: set(one.tables) for one in draw_all(RunRecords.load(run_folder))}
    assert tables["self_rectification"] == {"self_rectification", "detectors"}


def test_captions_tell_the_choice_on_paper_and_the_number_of_prompts(
    run_folder: Path, without_browser: list[Page]
) -> None:
    publish(run_folder, ("pdf",))
    text = " ".join((run_folder / "figures/paper/separability_by_layer.txt").read_text().split())
    assert "Shown: d′; no correction." in text and "n = 40 prompts" in text


def test_several_figures_are_printed_by_short_names_in_a_width_of_their_own(
    run_folder: Path, without_browser: list[Page]
) -> None:
    chosen = FigureOptions(layer=2, arms=("text",))
    written = publish(run_folder, ("pdf",), only=("plane", "separability"), options=chosen, width=120)
    assert [path.stem for path in written[2:]] == ["refusal_drift_plane", "separability_by_layer"]
    assert {round(page.width * 25.4 / 96) for page in without_browser} == {120}
    assert "at layer 2" in " ".join(written[0].read_text().split())
    with pytest.raises(ValueError, match="width=3 is not between 30 and 1000"):
        publish(run_folder, ("pdf",), width=3)


def test_text_of_the_data_stays_text_inside_an_svg() -> None:
    found = with_origin(SVG, ".svg", "</metadata><script>x</script>")
    assert b"<script>" not in found and found.startswith(b'<?xml version="1.0"?><svg width="3"><metadata>')


def test_without_a_browser_captions_and_tables_are_written_and_the_error_says_what_to_install(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    with pytest.raises(RuntimeError, match="needs a Chrome or Chromium"):
        publish(run_folder, ("pdf",))
    folder = run_folder / "figures" / "paper"
    assert (folder / "table_outcomes.tex").is_file() and (folder / "dose_response.txt").is_file()
    assert not list(folder.glob("*.pdf"))


@pytest.mark.parametrize("formats", [("gif",), (), ("pdf", "exe")])
def test_a_format_that_is_not_known_is_refused_before_anything_is_written(
    run_folder: Path, formats: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=r"is not known; choose from pdf, svg, png"):
        publish(run_folder, formats)
    assert not (run_folder / "figures").exists()
    assert checked_formats((" PDF", ".pdf", "svg")) == (".pdf", ".svg")


def test_a_figure_asked_for_by_name_that_cannot_be_drawn_is_an_error(run_folder: Path) -> None:
    (run_folder / "tables" / "strength.parquet").unlink()
    with pytest.raises(ValueError, match="only='dose_response'"):
        publish(run_folder, ("pdf",), only="dose_response")


def test_several_runs_become_one_figure(
    run_folder: Path, tmp_path_factory: pytest.TempPathFactory, without_browser: list[Page]
) -> None:
    other = shutil.copytree(run_folder, tmp_path_factory.mktemp("other") / "second")
    written = publish_together([run_folder, other], ("pdf",), "paper", other / "out")
    assert [path.name for path in written] == ["across_runs.txt", "across_runs.pdf"]
    text = written[0].read_text()
    assert "second/separability sha256:" in text and len(re.findall("sha256:", text)) == 2


def test_runs_are_named_by_as_much_of_their_path_as_tells_them_apart(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert list(run_names(paths)) == ["a/run", "b/run"]
    assert list(run_names([tmp_path / "a", tmp_path / "b"])) == ["a", "b"]
    with pytest.raises(ValueError, match="is named twice"):
        run_names([paths[0], paths[0]])


@pytest.mark.skipif(
    not (export.BROWSERS and any(map(shutil.which, export.BROWSERS))), reason="no Chrome or Chromium is here"
)
def test_a_browser_draws_it_at_its_size_with_fonts_inside(run_folder: Path) -> None:
    publish(run_folder, ("pdf", "png"), only="separability_by_layer", out=run_folder / "out")
    pdf = (run_folder / "out" / "separability_by_layer.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert box and float(box.group(1)) / 72 * 25.4 == pytest.approx(85, abs=0.5)
    assert b"/FontFile2" in pdf
    with Image.open(run_folder / "out" / "separability_by_layer.png") as image:
        assert image.width == pytest.approx(85 / 25.4 * 300, abs=4)
        assert len(image.convert("L").getcolors() or []) > 20
