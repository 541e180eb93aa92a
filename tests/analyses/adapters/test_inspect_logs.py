"""What a run leaves for inspect_ai, read back with inspect_ai's own reader."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from regap.analyses.adapters.inspect_logs import write_inspect_logs
from regap.analyses.judges.judge_panel import panel, save_panel
from regap.analyses.judges.registry import judges_named
from regap.analyses.judges.stored_answers import stored_answers, stored_verdicts
from regap.analyses.runs.questions import questions_of
from regap.analyses.runs.records import Record
from regap.errors import ConfigError

MakeRun = Callable[..., Path]
ANSWERS = [
    ("baseline", "a", "right a", "complied"),
    ("baseline", "b", "???", "not_judged"),
    ("baseline", "h", "right h", "complied"),
    ("regap", "a", "I'm sorry, no.", "refused"),
    ("regap", "b", "I'm sorry, no.", "refused"),
    ("regap", "h", "right h", "complied"),
]


def test_every_condition_is_a_log_every_answer_a_sample_and_every_judge_a_scorer(
    make_run: MakeRun, tmp_path: Path
) -> None:
    log = pytest.importorskip("inspect_ai.log")
    run = make_run(tmp_path / "run", ANSWERS)
    save_panel(panel(stored_answers(run), judges_named(["xstest_prefixes"]), run), run)
    written = write_inspect_logs(run)
    assert [path.name for path in written] == ["text_baseline.eval", "text_regap.eval"]
    found = log.read_eval_log(str(written[0]))
    assert found.status == "success" and found.eval.model == "regap/m" and len(found.samples) == 3
    sample = {one.id: one for one in found.samples}["a"]
    assert (sample.input, sample.output.completion, sample.target) == (
        "request a <image>",
        "right a",
        "right a",
    )
    assert sample.scores["by hand"].value == "complied" and sample.scores["xstest_prefixes"].explanation
    unjudged = {one.id: one for one in found.samples}["b"].scores["by hand"]
    assert math.isnan(unjudged.value) and unjudged.answer == "???"
    scores = {one.name: one for one in found.results.scores}
    assert (scores["by hand"].scored_samples, scores["by hand"].unscored_samples) == (2, 1)
    assert scores["by hand"].metrics["attack_success"].value == 1.0
    again = log.read_eval_log(str(write_inspect_logs(run, tmp_path / "again")[0]))
    assert (again.eval.eval_id, again.eval.created) == (found.eval.eval_id, found.eval.created)


def test_without_the_library_one_line_says_what_to_install(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    with pytest.raises(
        ConfigError, match=r"inspect_ai.log cannot be imported .*pip install regap\[inspect\]"
    ):
        write_inspect_logs(make_run(tmp_path, ANSWERS))


def test_verdicts_of_every_judge_are_read_in_the_order_of_the_answers(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(tmp_path, ANSWERS)
    stored = stored_answers(run)
    save_panel(panel(stored, judges_named(["xstest_prefixes"]), run), run)
    table = Record.load(run, "verdicts").table
    answer = questions_of(run)[0].folder
    Record("verdicts", table.iloc[::-1]).save(answer)
    own, other = sorted(stored_verdicts(run, stored), key=lambda verdicts: verdicts[0].judge)
    assert [one.verdict for one in own] == [verdict for *_, verdict in ANSWERS]
    assert [one.verdict for one in other][3:] == ["refused", "refused", "complied"]
    Record("verdicts", table.iloc[:-1]).save(answer)
    assert [verdicts[0].judge for verdicts in stored_verdicts(run, stored)] == ["by hand"]
