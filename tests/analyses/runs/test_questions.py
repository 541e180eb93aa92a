"""A question asked again is answered in the same folder; only its place among the questions may change."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from regap.analyses.runs.questions import questions_of, save_answer, stored_edit
from regap.analyses.runs.records import Record
from regap.errors import ConfigError
from regap.interventions.edits.shift import Shift
from regap.interventions.edits.site import Site

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


def test_corrections_of_an_answer_are_those_that_it_chose_last(tmp_path: Path) -> None:
    shift = Shift(Site((1,)), torch.ones(1, 4), 1.0, "D")
    settings = {"layers": [1]}
    save_answer(tmp_path, "image-tokens", settings, ANSWER, {"one pass, within budgets": (shift, "m")})
    (question,) = questions_of(tmp_path)
    assert list(question.edits) == ["one-pass-within-budgets"]
    save_answer(tmp_path, "image-tokens", settings, ANSWER, {"one pass": (shift.at(2.0), "m")})
    assert list(question.edits) == ["one-pass"] and stored_edit(tmp_path, "one-pass").strength == 2.0
    with pytest.raises(
        ConfigError, match="name is 'one-pass-within-budgets'; the run's corrections are one-pass"
    ):
        stored_edit(tmp_path, "one-pass-within-budgets")
