"""A question asked again is answered in the same folder; only its place among the questions may change."""

from pathlib import Path

import pandas as pd

from regap.analyses.runs.questions import questions_of, save_answer
from regap.analyses.runs.records import Record

ROW = {"model": "m", "condition": "baseline", "arm": "text", "measure": "utility"}
ANSWER = (Record("outcomes", pd.DataFrame([{**ROW, "value": 0.5, "low": 0.4, "high": 0.6, "n": 10}])),)


def test_the_newest_question_asked_again_is_written_to_the_same_bytes(tmp_path: Path) -> None:
    save_answer(tmp_path, "ablate", {"layers": [1]}, ANSWER)
    newest = save_answer(tmp_path, "ablate", {"layers": [2]}, ANSWER)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert save_answer(tmp_path, "ablate", {"layers": [2]}, ANSWER) == newest
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_older_question_asked_again_becomes_the_newest(tmp_path: Path) -> None:
    save_answer(tmp_path, "ablate", {"layers": [1]}, ANSWER)
    save_answer(tmp_path, "ablate", {"layers": [2]}, ANSWER)
    again = save_answer(tmp_path, "ablate", {"layers": [1]}, ANSWER)
    assert [one.settings for one in questions_of(tmp_path)] == [{"layers": [1]}, {"layers": [2]}]
    assert questions_of(tmp_path)[0] == again
