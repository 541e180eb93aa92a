"""A judge behind an endpoint: what it writes is read strictly, and nothing is asked twice or told of the key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from served import KEY, Served, Step, says, sends

from regap.analyses.judges.endpoint_judge import EndpointError, EndpointJudge, endpoint_judge
from regap.analyses.judges.judge_panel import panel, save_panel
from regap.analyses.judges.judge_prompts import JUDGE_PROMPTS
from regap.analyses.judges.stored_answers import Answered, judge_stored, stored_answers
from regap.analyses.runs.records import table_path
from regap.commands import command_line


def judge_of(served: Served, prompt: str = "outcome", **settings: Any) -> EndpointJudge:
    return EndpointJudge(f"{prompt}@a-model", JUDGE_PROMPTS[prompt], served.endpoint(**settings))


WRITTEN: dict[str, tuple[Step, str]] = {
    "a verdict": (says("COMPLIED"), "complied"),
    "a verdict with marks": (says(" **Refused.**\n"), "refused"),
    "evaded": (says("EVADED"), "degenerate"),
    "nonsense": (says("The moon is made of cheese."), "not_judged"),
    "both verdicts": (says("REFUSED or COMPLIED"), "not_judged"),
    "a denied verdict": (says("not refused"), "not_judged"),
    "a refusal to judge": (says("I'm sorry, I cannot help with that."), "not_judged"),
    "nothing": (says(""), "not_judged"),
    "no text": (says(None, "content_filter"), "not_judged"),
    "a prompt it does not take": (sends(400, b'{"error": {"message": "too long"}}'), "not_judged"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_what_it_writes_is_read_strictly_and_never_as_safe(
    case: str, served: Served, make_pair: Any, make_completion: Any
) -> None:
    step, verdict = WRITTEN[case]
    served.steps = [step]
    found = judge_of(served)(make_pair("p"), make_completion("p", "Step one."))
    assert found.verdict == verdict and found.reason and len(served.asked) == 1
    said = "\n".join(turn["content"] for turn in served.asked[0]["messages"])
    assert said.count("\na request\n") == 1 and said.count("\nStep one.\n") == 1


def test_a_judge_that_dies_halfway_goes_on_and_asks_nothing_twice(
    served: Served, make_pair: Any, make_completion: Any, tmp_path: Path
) -> None:
    answers = [
        Answered("baseline", make_pair(f"p{place}"), make_completion(f"p{place}", f"answer {place}"))
        for place in range(5)
    ]
    named = endpoint_judge(served.url, "a-model")
    object.__setattr__(named, "judge", judge_of(served, attempts=1))
    served.steps = [says("REFUSED"), says("nonsense"), sends(500, b"")]
    with pytest.raises(EndpointError, match="what was judged is kept"):
        judge_stored(named, answers, tmp_path)
    served.steps += [says("COMPLIED")]
    found = judge_stored(named, answers, tmp_path)
    assert [one.verdict for one in found] == ["refused", "not_judged", *["complied"] * 3]
    shown = ["".join(turn["content"] for turn in one["messages"]) for one in served.asked]
    assert [sum(f"answer {place}\n" in text for text in shown) for place in range(5)] == [1, 1, 2, 1, 1]
    assert judge_stored(named, answers, tmp_path) == found and len(served.asked) == 6


def test_another_address_model_or_prompt_is_another_judge() -> None:
    asked = [
        ("https://host/v1", "a", "outcome"),
        ("https://host/v2", "a", "outcome"),
        ("https://host/v1", "b", "outcome"),
        ("https://host/v1", "a", "strongreject_rubric"),
    ]
    assert len({endpoint_judge(*one).identity for one in asked}) == 4
    assert endpoint_judge("https://host/v1/", "a").identity == endpoint_judge(*asked[0]).identity


def test_the_key_is_read_from_its_variable_and_written_nowhere(
    served: Served, make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_JUDGES_KEY", KEY)
    served.steps = [sends(400, f"you sent {KEY}".encode()), says("REFUSED")]
    run = make_run(tmp_path, [("baseline", "a", "one", "complied"), ("baseline", "b", "two", "complied")])
    named = endpoint_judge(served.url, "a-model", key_variable="A_JUDGES_KEY")
    save_panel(panel(stored_answers(run), [named], run), run)
    assert served.heads[0]["Authorization"] == f"Bearer {KEY}"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 4 and not any(KEY.encode() in path.read_bytes() for path in written)
    assert KEY not in repr(named)


def test_the_command_asks_only_an_endpoint_that_is_named(
    served: Served, make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.steps = [says("REFUSED")]
    run = make_run(tmp_path, [("baseline", "a", "one", "complied"), ("baseline", "b", "two", "complied")])

    def code_of(*arguments: str) -> object:
        monkeypatch.setattr(
            "sys.argv", ["regap", "judge", str(run), "--judge", "xstest_prefixes", *arguments]
        )
        with pytest.raises(SystemExit) as stopped:
            command_line.main()
        return stopped.value.code or 0

    assert code_of() == 0 and not served.asked
    assert code_of("--endpoint", served.url) == 2 and code_of("--endpoint-model", "a-model") == 2
    for _ in range(2):  # the second time, all verdicts are there
        assert code_of("--endpoint", served.url, "--endpoint-model", "a-model") == 0
    assert len(served.asked) == 2
    table = pd.read_parquet(table_path(run, "verdicts"))
    assert table.loc[table["judge"] == "outcome@a-model", "verdict"].tolist() == ["refused", "refused"]


LONG_TALK = {
    "a finish reason": says("", "stop " * 60_000),
    "a text": says("REFUSED " * 50_000),
    "a rejection": sends(400, b'{"error": {"message": "' + b"no " * 100_000 + b'"}}'),
    "control characters": sends(400, b"\x1b[31mred\x00"),
}


@pytest.mark.parametrize("case", LONG_TALK)
def test_of_a_long_talk_a_short_reason_is_kept(
    case: str, served: Served, make_pair: Any, make_completion: Any
) -> None:
    served.steps = [LONG_TALK[case]]
    found = judge_of(served, timeout=5.0)(make_pair("p"), make_completion("p", "Step one."))
    assert found.verdict == "not_judged" and len(found.reason) < 400 and found.reason.isprintable()


ECHOES: dict[str, Step] = {
    "in the verdict": says(f"your key is {KEY}"),
    "in other letters": says(KEY.upper()),
    "in the finish reason": says("", KEY),
    "in a rejection": sends(400, f'{{"error": {{"message": "bad key {KEY}"}}}}'.encode()),
    "behind white space": sends(400, b" " * 1995 + KEY.encode()),
}


@pytest.mark.parametrize("case", ECHOES)
def test_a_key_that_the_endpoint_echoes_is_neither_told_nor_kept(
    case: str, served: Served, make_pair: Any, make_completion: Any, tmp_path: Path
) -> None:
    served.steps = [ECHOES[case]]
    named = endpoint_judge(served.url, "a-model")
    object.__setattr__(named, "judge", judge_of(served, key=KEY))
    answers = [Answered("baseline", make_pair("p"), make_completion("p", "Step one."))]
    (found,) = judge_stored(named, answers, tmp_path)
    assert found.verdict == "not_judged" and KEY[:9] not in found.reason.lower()
    assert all(KEY[:9].encode() not in path.read_bytes().lower() for path in tmp_path.rglob("*.json"))


THINKING = {
    "closed": (says("<think>Is it a refusal? No: COMPLIED?</think>\n\nREFUSED"), "refused"),
    "opened by the template": (says("It declines.</think>REFUSED"), "refused"),
    "unclosed": (says("<think>REFUSED"), "not_judged"),
}


@pytest.mark.parametrize("case", THINKING)
def test_of_a_judge_that_thinks_the_verdict_is_read(
    case: str, served: Served, make_pair: Any, make_completion: Any
) -> None:
    step, verdict = THINKING[case]
    served.steps = [step]
    assert judge_of(served)(make_pair("p"), make_completion("p", "Step one.")).verdict == verdict
    assert served.asked[0]["max_tokens"] > 1000


def test_a_judge_is_shown_what_is_said_and_not_asked_about_thinking_alone(
    served: Served, make_pair: Any, make_completion: Any
) -> None:
    served.steps = [says("REFUSED")]
    judge = judge_of(served)
    assert judge(make_pair("p"), make_completion("p", "<think>I could")).verdict == "not_judged"
    assert not served.asked
    judge(make_pair("p"), make_completion("p", "<think>secret</think>Step one."))
    assert "secret" not in json.dumps(served.asked) and "Step one." in json.dumps(served.asked)
