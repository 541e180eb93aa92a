"""A model behind an endpoint as a judge: it is shown a judge prompt for chat models, and read as every judge model."""

import json
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from ssl import SSLContext
from threading import Event, Timer
from typing import Any
from urllib.parse import quote

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from regap.analyses.judges.judge_prompts import EXAMPLE, FOR_CHAT, JUDGE_PROMPTS, JudgePrompt
from regap.analyses.judges.registry import NamedJudge
from regap.analyses.judges.verdicts import Judged, JudgeReading, judged_by
from regap.errors import ConfigError
from regap.geometry.data.pairs import Pair
from regap.geometry.states.store import digest_of
from regap.interventions.generation import Completion

PROMPT_REJECTED = (400, 413, 422)
"""Statuses that concern one prompt, for example one that is too long: it is not judged, and the next one is asked."""
RETRIED = (408, 409, 425, 429)
"""Statuses, beside those of 500 and above, after which the same question is asked again."""
LONGEST_WAIT = 60.0
"""Most seconds between two attempts, whatever the endpoint asks for."""
LARGEST_REPLY = 1 << 20
"""Most bytes of a reply that are read."""
LONGEST_TEXT = 1 << 16
"""Most letters of a judge's text that are looked at; a longer one is not judged."""
LONGEST_PROBLEM = 200
"""Most letters of what an endpoint says that are kept or shown."""


class EndpointError(RuntimeError):
    """The endpoint cannot be used now; the message says what it answered and how to go on."""


class _AttemptError(RuntimeError):
    """One attempt failed, and another one may succeed after `wait` seconds."""

    def __init__(self, problem: str, wait: float = 0.0):
        super().__init__(problem)
        self.wait = wait


@cache
def certificates() -> SSLContext:
    """Return the certificates that endpoints are checked against; they are read once, which takes some 50 ms."""
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True)
class Reply:
    """What the endpoint wrote, or why it wrote nothing to this prompt."""

    text: str | None
    problem: str = ""


@dataclass(eq=False)
class Pace:
    """Limits how many questions are sent in a minute; no limit by default."""

    per_minute: float | None = None
    _next: float = 0.0

    def wait(self) -> None:
        """Sleep until the next question may be sent."""
        if self.per_minute:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = max(time.monotonic(), self._next) + 60 / self.per_minute


@dataclass(frozen=True, eq=False)
class Endpoint:
    """The address of a judge model, its key, and how often and how fast it is asked.

    It is reached directly: proxies, passwords and certificates that the environment names are not used. Raises
    ConfigError for an unusable address or key, and for a key that would cross a network unencrypted.
    """

    url: str
    """Such as https://HOST/v1; questions are sent to `/chat/completions` below it."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as a bearer token, and nowhere else; empty for none."""
    timeout: float = 60.0
    """Seconds until an attempt counts as failed, from the connection to the last byte, however the time is spent."""
    attempts: int = 5
    pause: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""
    pace: Pace = field(default_factory=Pace, repr=False)

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise ConfigError(f"endpoint is {self.url!r}; write an address such as https://HOST/v1")
        if url.userinfo or url.query or url.fragment:
            raise ConfigError("endpoint holds a name, a password or a query; give a key by --endpoint-key")
        if not self.model:
            raise ConfigError(f"endpoint {self.url} needs the name of a model there (--endpoint-model)")
        if not (self.key.isascii() and self.key.isprintable()):
            raise ConfigError("the key of the endpoint holds characters that no header can; copy it again")
        if self.key and url.scheme == "http" and not _is_this_machine(url.host):
            raise ConfigError(f"endpoint {self.url} would be sent the key unencrypted; use https, or no key")

    def ask(self, turns: Sequence[Mapping[str, str]], budget: int) -> Reply:
        """Return the model's greedy answer to a conversation, at most `budget` tokens long.

        A failed attempt is repeated after a growing pause. Raises EndpointError after the last attempt, and at once
        for a status that will not change, such as that of a wrong key.
        """
        asked = {"model": self.model, "messages": list(turns), "temperature": 0, "max_tokens": budget}
        retrying = Retrying(
            retry=retry_if_exception_type(_AttemptError),
            stop=stop_after_attempt(self.attempts),
            wait=self._seconds_to_wait,
            reraise=True,
        )
        try:
            with httpx.Client(
                timeout=self.timeout, follow_redirects=False, trust_env=False, verify=certificates()
            ) as client:
                return retrying(self._ask_once, client, json.dumps(asked).encode())
        except _AttemptError as error:
            raise EndpointError(
                f"endpoint {self.url} failed {self.attempts} times, at last with {error}; what was judged is kept: "
                "give the same command again to go on"
            ) from None

    def _seconds_to_wait(self, state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        told = failure.wait if isinstance(failure, _AttemptError) else 0.0
        return min(LONGEST_WAIT, max(told, wait_exponential(self.pause)(state)))

    def _ask_once(self, client: httpx.Client, asked: bytes) -> Reply:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        self.pace.wait()
        address = f"{self.url.rstrip('/')}/chat/completions"
        line = _Line()
        clock = Timer(self.timeout, line.cut)
        clock.daemon = True
        clock.start()
        try:
            with client.stream(
                "POST", address, content=asked, headers=headers, extensions={"trace": line.trace}
            ) as response:
                body = _read(response)
            if line.is_cut:
                raise TimeoutError
            return self._reply(json.loads(body)) if response.is_success else self._refused(response, body)
        except _UNUSABLE as error:
            problem = f"{type(error).__name__}: {error}"
            if line.is_cut:
                problem = f"no whole reply in {self.timeout:g} seconds"
            raise _AttemptError(self._told(problem)) from None
        finally:
            clock.cancel()

    def _reply(self, content: Any) -> Reply:
        choice = content["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str) or not text.strip():
            stopped = self._told(repr(choice.get("finish_reason")))
            return Reply(None, f"the endpoint wrote nothing (it stopped for {stopped})")
        if len(text) > LONGEST_TEXT:
            return Reply(None, f"the endpoint wrote {len(text)} letters; {LONGEST_TEXT} are read")
        return Reply(self._without_key(text))

    def _refused(self, response: httpx.Response, body: bytes) -> Reply:
        """Return a reply without text where the prompt was rejected; raise for every other status."""
        told = body.decode("utf-8", "replace")
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            told = str(json.loads(told)["error"]["message"])
        status = response.status_code
        problem = self._told(f"{status} {response.reason_phrase}: {told}")
        if status in PROMPT_REJECTED:
            return Reply(None, f"the endpoint does not take this prompt ({problem})")
        if status in RETRIED or status >= 500:
            raise _AttemptError(problem, _retry_after(response))
        raise EndpointError(f"endpoint {self.url} says {problem}; check address, model and key")

    def _told(self, message: str) -> str:
        """Return a message in one short line, of characters that can be printed, and without the key."""
        line = " ".join(self._without_key(message).split())[:LONGEST_PROBLEM]
        return "".join(letter if letter.isprintable() else "?" for letter in line)

    def _without_key(self, text: str) -> str:
        """Return a text without the key, which an endpoint may repeat, also in other cases or escaped."""
        if not self.key:
            return text
        forms = {self.key, quote(self.key, safe=""), json.dumps(self.key)[1:-1], repr(self.key)[1:-1]}
        longest = sorted(map(re.escape, forms), key=len, reverse=True)
        return re.sub("|".join(longest), "[key]", text, flags=re.IGNORECASE)


_UNUSABLE = (
    *(httpx.HTTPError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict),  # a redirect to no address, for one
    RecursionError,  # JSON that is nested too deeply
)
"""What a failed attempt may raise."""


class _Line:
    """The connection of one attempt, which a timer can cut.

    The timeouts of httpx begin anew with every byte, so an endpoint that trickles would never be given up.
    """

    def __init__(self) -> None:
        self._stream: Any = None
        self._cut = Event()

    @property
    def is_cut(self) -> bool:
        return self._cut.is_set()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the connection, as httpx tells of it."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._stream = info["return_value"]
            if self.is_cut:
                self.cut()

    def cut(self) -> None:
        """End the connection, whatever it waits for."""
        self._cut.set()
        found = self._stream.get_extra_info("socket") if self._stream else None
        if found is not None:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)


def _read(response: httpx.Response) -> bytes:
    """Return the body as it was sent; raises ValueError for one that is too large, or packed to become so."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ValueError("the reply is compressed, which was not asked for")
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > LARGEST_REPLY:
            raise ValueError(f"the reply has more than {LARGEST_REPLY} bytes")
    return bytes(body)


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0  # a date: the usual pause is kept


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, eq=False)
class EndpointJudge:
    """A model behind an endpoint under one of the judge prompts for chat models; a Judge."""

    name: str
    prompt: JudgePrompt
    endpoint: Endpoint = field(repr=False)

    def __call__(self, pair: Pair, completion: Completion) -> Judged:
        """Return the model's verdict; not judged if it writes nothing, or nothing that can be read as a verdict.

        An answer that was cut off while thinking is not sent. Raises EndpointError if the endpoint cannot be used at
        all: then no verdict is kept.
        """

        def rule(answer: str) -> JudgeReading:
            asked = self.prompt.asks(pair, answer)
            reply = self.endpoint.ask(asked.turns, self.prompt.budget + self.prompt.thinks)
            if reply.text is None:
                return JudgeReading("not_judged", reply.problem)
            return self.prompt.read(pair, answer, reply.text)

        return judged_by(self.name, pair, completion, rule)


def endpoint_judge(
    url: str,
    model: str | None,
    prompt: str = "outcome",
    key_variable: str | None = None,
    per_minute: float | None = None,
    timeout: float = 60.0,
) -> NamedJudge:
    """Return the judge that asks a model behind an endpoint; its verdicts are kept one by one.

    key_variable: the environment variable that holds the key; without one, no key is sent. The identity of the judge
    is address, model and prompt: a model that changes behind its name is not noticed.
    """
    if prompt not in FOR_CHAT:
        raise ConfigError(f"endpoint prompt is {prompt!r}; choose one of {', '.join(FOR_CHAT)}")
    if per_minute is not None and not per_minute > 0:
        raise ConfigError(f"endpoint rate is {per_minute}; give questions a minute, above 0")
    key = os.environ.get(key_variable, "").strip() if key_variable else ""
    if key_variable and not key:
        raise ConfigError(f"variable {key_variable} holds no key; set it, or name another by --endpoint-key")
    endpoint = Endpoint(url, model or "", key, timeout, pace=Pace(per_minute))
    chosen, name = JUDGE_PROMPTS[prompt], f"{prompt}@{model}"
    asked = [chosen.asks(EXAMPLE, "an answer").turns, chosen.budget, chosen.thinks, "after thinking"]
    identity = digest_of(["endpoint", url.rstrip("/"), model, asked])
    judge = EndpointJudge(name, chosen, endpoint)
    return NamedJudge(name, judge, identity, f"{model} at {url}", chosen.defects, portion=1)
