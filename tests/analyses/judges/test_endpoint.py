"""An endpoint that answers, fails, hangs and lies: what is asked of it, what is read, what is never asked twice."""

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from regap.analyses.judges.endpoint_judge import Endpoint, EndpointError, EndpointJudge, Pace, endpoint_judge
from regap.analyses.judges.judge_panel import panel, save_panel
from regap.analyses.judges.judge_prompts import JUDGE_PROMPTS
from regap.analyses.judges.stored_answers import Answered, judge_stored, stored_answers
from regap.analyses.runs.records import table_path
from regap.commands import command_line
from regap.errors import ConfigError

KEY = "sk-very-secret"
TURNS = [{"role": "user", "content": "hello"}]
Step = Callable[[BaseHTTPRequestHandler], None]


def sends(status: int, body: bytes, **headers: str) -> Step:
    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return step


def says(text: str | None, finish: str = "stop") -> Step:
    choice = {"message": {"content": text}, "finish_reason": finish}
    return sends(200, json.dumps({"choices": [choice]}).encode())


def hangs(seconds: float) -> Step:
    return lambda _: time.sleep(seconds)


def drips(seconds: float) -> Step:
    """Sends a byte now and then, so that no single read takes long."""

    def step(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.02)

    return step


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


@dataclass
class Served:
    """What a local server does at each question, the last step again and again, and what it was asked."""

    steps: list[Step] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    proxied: list[str] = field(default_factory=list)
    url: str = ""

    def endpoint(self, **settings: Any) -> Endpoint:
        return Endpoint(self.url, "a-model", pause=0.01, **{"timeout": 0.5, **settings})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    known = Served()

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known.proxied.append(self.path)
            self.send_error(502)

        do_CONNECT = do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_address[1]}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            step = known.steps[min(len(known.asked), len(known.steps) - 1)]
            known.asked.append(json.loads(body))
            known.heads.append(dict(self.headers))
            known.paths.append(self.path)
            step(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    known.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield known
    assert not known.proxied, "a question went to the proxy that the environment names"
    for one in (server, proxy):
        one.shutdown()
        one.server_close()
    thread.join()


def test_it_is_asked_as_its_interface_says_and_the_key_is_in_the_head_alone(served: Served) -> None:
    served.steps = [says("yes")]
    assert served.endpoint(key=KEY).ask(TURNS, 16).text == "yes"
    assert served.asked == [{"model": "a-model", "messages": TURNS, "temperature": 0, "max_tokens": 16}]
    assert served.paths == ["/v1/chat/completions"] and served.heads[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(served.endpoint(key=KEY))
    served.endpoint().ask(TURNS, 16)
    assert "Authorization" not in served.heads[1]


FAILURES: dict[str, Step] = {
    "too many questions": sends(429, b"{}"),
    "too many questions, wait a little": sends(429, b"{}", Retry_After="0.02"),
    "too many questions, wait until a date": sends(429, b"{}", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
    "server error": sends(500, b"no JSON at all"),
    "overloaded": sends(529, b""),
    "a hang": hangs(1.0),
    "a drip": drips(1.0),
    "a hang-up": hangs_up,
    "truncated JSON": sends(200, b'{"choices": [{"message": {"con'),
    "no JSON": sends(200, b"<html>hello</html>"),
    "no choices": sends(200, b'{"choices": []}'),
    "another shape": sends(200, b'["refused"]'),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_after_a_failure_the_same_question_is_asked_again(failure: str, served: Served) -> None:
    served.steps = [FAILURES[failure], FAILURES[failure], says("REFUSED")]
    assert served.endpoint(timeout=0.2).ask(TURNS, 16).text == "REFUSED"
    assert len(served.asked) == 3 and served.asked[0] == served.asked[2]


def test_an_endpoint_that_keeps_failing_is_given_up_in_one_line_without_the_key(served: Served) -> None:
    served.steps = [sends(503, f'{{"error": {{"message": "bad {KEY}\\nsorry"}}}}'.encode())]
    with pytest.raises(
        EndpointError, match=r"failed 3 times, at last with 503 .*bad \[key\] sorry.*same command"
    ) as one:
        served.endpoint(key=KEY, attempts=3).ask(TURNS, 16)
    assert len(served.asked) == 3 and KEY not in str(one.value) and "\n" not in str(one.value)


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_what_asking_again_cannot_mend_stops_at_once_and_no_redirect_is_followed(
    status: int, served: Served
) -> None:
    served.steps = [sends(status, b'{"error": {"message": "no"}}', Location=served.url)]
    with pytest.raises(EndpointError, match=f"says {status} .*check address, model and key"):
        served.endpoint(key=KEY).ask(TURNS, 16)
    assert len(served.asked) == 1


def test_nobody_there_is_one_line(served: Served) -> None:
    with pytest.raises(EndpointError, match="failed 2 times"):
        Endpoint("http://127.0.0.1:9/v1", "a-model", pause=0.01, attempts=2).ask(TURNS, 16)


def test_questions_keep_to_the_pace(served: Served) -> None:
    served.steps = [says("yes")]
    endpoint = served.endpoint(pace=Pace(per_minute=600.0))
    start = time.monotonic()
    for _ in range(4):
        endpoint.ask(TURNS, 16)
    assert time.monotonic() - start >= 0.3


ADDRESSES = {
    "no address": ("localhost:8000", "", "write an address such as"),
    "no host": ("https://exa mple:port/v1", "", "write an address such as"),
    "another scheme": ("file:///etc/passwd", "", "write an address such as"),
    "a password": ("https://me:secret@host/v1", "", "holds a name, a password or a query"),
    "a key in the query": ("https://host/v1?key=secret", "", "holds a name, a password or a query"),
    "a key in clear": ("http://host/v1", KEY, "would be sent the key unencrypted"),
}


@pytest.mark.parametrize("key", ["sk-\nsecret", "sk-gehëim", "sk-secret\x7f"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ConfigError, match="holds characters that no header can; copy it again") as error:
        Endpoint("https://host/v1", "a-model", key)
    assert "sk-" not in str(error.value)


def test_the_endpoint_says_how_long_to_wait_up_to_a_minute(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waited.append)
    served.steps = [
        *(sends(429, b"{}", Retry_After=seconds) for seconds in ("7", "9999", "-3")),
        says("REFUSED"),
    ]
    assert served.endpoint().ask(TURNS, 16).text == "REFUSED"
    assert waited == [7.0, 60.0, 0.04]


@pytest.mark.parametrize("case", ADDRESSES)
def test_an_address_that_will_not_do_is_refused_and_its_secrets_are_not_repeated(case: str) -> None:
    url, key, remedy = ADDRESSES[case]
    with pytest.raises(ConfigError, match=remedy) as error:
        Endpoint(url, "a-model", key)
    assert "secret" not in str(error.value)


SETTINGS = {
    "no model": ({"model": None}, "needs the name of a model there"),
    "an unknown prompt": ({"prompt": "harmbench"}, "choose one of strongreject_rubric, outcome"),
    "an empty variable": ({"key_variable": "NOT_SET_ANYWHERE"}, "variable NOT_SET_ANYWHERE holds no key"),
    "no pace": ({"per_minute": 0.0}, "give questions a minute, above 0"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_will_not_do_are_named(case: str) -> None:
    settings, remedy = SETTINGS[case]
    with pytest.raises(ConfigError, match=remedy):
        endpoint_judge("https://host/v1", **{"model": "a-model", **settings})


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


def trickles(start: bytes, again: bytes) -> Step:
    """Sends a start, and then the same bytes again and again, for five seconds at most."""

    def step(handler: BaseHTTPRequestHandler) -> None:
        until = time.monotonic() + 5
        with suppress(OSError):
            handler.wfile.write(start)
            while time.monotonic() < until:
                handler.wfile.write(again)
                handler.wfile.flush()
                time.sleep(0.02)
        handler.close_connection = True

    return step


SLOW: dict[str, Step] = {
    "slow headers": trickles(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "a slow status line": trickles(b"HTTP/1.1 200 ", b"O"),
    "a slow body": trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
    "slow chunks": trickles(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "endless 100 Continue": trickles(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("case", SLOW)
def test_an_attempt_ends_in_time_however_the_endpoint_spends_it(case: str, served: Served) -> None:
    served.steps = [SLOW[case]]
    start = time.monotonic()
    with pytest.raises(EndpointError, match=r"at last with no whole reply in 0\.3 seconds"):
        served.endpoint(timeout=0.3, attempts=2).ask(TURNS, 16)
    assert time.monotonic() - start < 2.0


LARGE = {
    "a large body": sends(200, b'{"choices": [' + b" " * (2 << 20) + b"]}"),
    "a compressed body": sends(200, gzip.compress(b" " * (8 << 20)), Content_Encoding="gzip"),
    "deep nesting": sends(200, b"[" * 200_000),
    "a large error": sends(500, b"x" * (2 << 20)),
    "large headers": sends(200, b"{}", X_Large="y" * 300_000),
}


@pytest.mark.parametrize("case", LARGE)
def test_a_reply_that_is_too_large_is_a_failure_told_in_a_short_line(case: str, served: Served) -> None:
    served.steps = [LARGE[case]]
    with pytest.raises(EndpointError, match="failed 1 times") as one:
        served.endpoint(timeout=5.0, attempts=1).ask(TURNS, 16)
    assert len(str(one.value)) < 600 and str(one.value).isprintable()


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
