"""What a user writes in a file is what the model is asked, to the character; what is missing is named by its row."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from regap.analyses.judges.registry import JUDGES
from regap.analyses.judges.stored_answers import Answered, judge_stored
from regap.errors import PairError
from regap.geometry.data.pair_files import read_pairs
from regap.geometry.data.pairs import Pair, Pairs, Prompt
from regap.geometry.data.pictures import Picture
from regap.geometry.models.loading import Model, load
from regap.geometry.prompts.chat import render
from regap.interventions.generation import Completion

# Any text without line feeds at its ends, which a person cannot see in a cell, and without halves of characters.
WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40).filter(str.strip)
TRICKY = st.sampled_from(
    ["NaN", "null", "None", "007", "1.0", "1e5", "True", "-0", "=1+1", '"', "a,b", "a;b", "a\tb", "a\nb", "'", "é",
     "ｆ", "1234567890123456789", "N/A", " x ", "{}", "[1]", "\\n", "#", "</script>", "<b>", "{{ 7 }}", "%s"]
)  # fmt: skip
CELL = WORDS | TRICKY
ROWS = st.lists(
    st.fixed_dictionaries({"text": CELL, "answer": CELL, "cluster": CELL, "category": CELL}),
    min_size=1,
    max_size=4,
)
QUICK = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
WRITERS: dict[str, Callable[[list[dict[str, Any]], Path], object]] = {
    ".csv": lambda rows, path: pd.DataFrame(rows).to_csv(path, index=False),
    ".jsonl": lambda rows, path: path.write_text("".join(json.dumps(row) + "\n" for row in rows)),
    ".parquet": lambda rows, path: pd.DataFrame(rows).to_parquet(path),
}


def written(rows: list[dict[str, Any]], suffix: str) -> Pairs:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"pairs{suffix}"
        WRITERS[suffix](rows, path)
        return read_pairs(path)


def named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"pair_id": f"0{place}", "label": "harmful", **row} for place, row in enumerate(rows)]


@pytest.fixture(scope="module")
def organism() -> Model:
    return load("organism")


@pytest.mark.parametrize("suffix", WRITERS)
@QUICK
@given(rows=ROWS)
def test_what_is_written_is_asked_to_the_character(
    suffix: str, rows: list[dict[str, Any]], organism: Model
) -> None:
    for row, pair in zip(rows, written(named(rows), suffix), strict=True):
        prompt = pair.prompts["text"]
        assert prompt.text == pair.request == row["text"]
        assert row["text"].strip() in render(organism, prompt)


@pytest.mark.parametrize("suffix", WRITERS)
@QUICK
@given(rows=ROWS)
def test_ids_answers_and_clusters_are_kept_as_they_are_written(
    suffix: str, rows: list[dict[str, Any]]
) -> None:
    given_ids = [{**row, "pair_id": f"{place}{row['cluster']}"} for place, row in enumerate(rows)]
    for row, pair in zip(given_ids, written(named(given_ids), suffix), strict=True):
        assert (pair.pair_id, pair.answer, pair.cluster, pair.category) == (
            row["pair_id"], row["answer"], row["cluster"], row["category"],
        )  # fmt: skip


@given(numbers=st.lists(st.integers(-(10**30), 10**30) | st.none(), min_size=2, max_size=5))
@settings(QUICK)
def test_whole_numbers_keep_their_digits_whatever_stands_in_other_rows(numbers: list[int | None]) -> None:
    rows = [{"text": "a", "answer": number} for number in numbers]
    found = [pair.answer for pair in written(named(rows), ".jsonl")]
    assert found == [None if number is None else str(number) for number in numbers]


def test_large_whole_numbers_with_gaps_keep_their_digits_in_parquet() -> None:
    cluster = pd.array([2**62 + 1, None, 2**62 + 2], dtype="Int64")
    table = pd.DataFrame(named([{"text": "a"}] * 3)).assign(cluster=cluster)
    with TemporaryDirectory() as folder:
        table.to_parquet(Path(folder) / "pairs.parquet")
        found = [pair.cluster for pair in read_pairs(Path(folder) / "pairs.parquet")]
    assert found == [str(2**62 + 1), "01", str(2**62 + 2)]


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("column", ["pair_id", "label", "text"])
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_what_is_missing_names_its_row(suffix: str, column: str, empty: str | None) -> None:
    rows = named([{"text": "a"}, {"text": "b"}, {"text": "c"}])
    rows[1][column] = empty
    with pytest.raises(PairError, match=rf"row 2.*{column}"):
        written(rows, suffix)


@pytest.mark.parametrize("column", ["text", "answer", "cluster", "category", "pair_id", "label"])
@pytest.mark.parametrize("value", [{"a": 1}, [1, 2], True, [["x"]]])
def test_a_value_that_is_no_text_is_refused_by_row_and_never_asked_as_its_code(
    column: str, value: object
) -> None:
    rows = named([{"text": "a"}, {"text": "b"}])
    rows[1][column] = value
    with pytest.raises(PairError, match=rf"row 2.*{column}"):
        written(rows, ".jsonl")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_an_image_that_is_missing_or_out_of_place_names_its_row(suffix: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for row, told in [
        ({"arm": "picture", "image": None}, "row 2.*no picture"),
        ({"arm": "text", "image": "a.png"}, "row 2.*picture"),
        ({"arm": "picture", "image": "b.png"}, "row 2.*b.png"),
    ]:
        rows = named([{"text": "a", "arm": "text", "image": None}, {"text": "b", **row}])
        WRITERS[suffix](rows, tmp_path / f"pairs{suffix}")
        with pytest.raises(PairError, match=told):
            read_pairs(tmp_path / f"pairs{suffix}")


@pytest.mark.parametrize("turned", range(1, 9))
def test_a_picture_is_seen_as_a_browser_shows_it(turned: int) -> None:
    shown = Image.new("RGB", (24, 16), "white")
    shown.paste("black", (0, 0, 8, 8))  # black at the top left, once it is upright
    exif = Image.Exif()
    exif[0x0112] = turned
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = shown if turned == 1 else shown.transpose(Image.Transpose(undo[turned]))
    kept = io.BytesIO()
    stored.save(kept, "PNG", exif=exif)
    picture = Picture(kept.getvalue())
    seen = picture.open()
    assert picture.size == seen.size == (24, 16)
    assert seen.getpixel((2, 2)) == (0, 0, 0) and seen.getpixel((20, 12)) == (255, 255, 255)


@given(text=CELL)
@settings(QUICK)
def test_what_is_answered_is_what_is_judged(text: str) -> None:
    seen: list[str] = []
    pair = Pair("p", "harmful", "all", "r", "test", {"text": Prompt("r")})
    named_judge = JUDGES["refusal_phrases"]

    def judge(pair: Pair, completion: Completion) -> Any:
        seen.append(completion.text)
        return named_judge.judge(pair, completion)

    answered = Answered("baseline", pair, Completion("p", "text", text, 3, True, 1, pair))
    judge_stored(replace(named_judge, judge=judge), [answered])
    assert seen == [text]
