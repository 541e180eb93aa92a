"""An endpoint that answers, fails, hangs and lies: what is asked of it, and when it is given up."""

import gzip
import time

import pytest
from served import KEY, TURNS, Served, Step, drips, hangs, hangs_up, says, sends, trickles

from regap.analyses.judges.endpoint_judge import Endpoint, EndpointError, Pace, endpoint_judge
from regap.errors import ConfigError


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


def test_a_redirect_to_what_is_no_address_is_one_line(served: Served) -> None:
    served.steps = [sends(307, b"", Location="http://127.0.0.1:9x/ y")]
    with pytest.raises(EndpointError, match="failed 2 times, at last with ") as one:
        served.endpoint(attempts=2).ask(TURNS, 16)
    assert "\n" not in str(one.value)


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
