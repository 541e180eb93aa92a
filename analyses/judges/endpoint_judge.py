"""A model behind an endpoint as a judge: it is shown a judge prompt for chat models, and read as every judge model."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from regap.analyses.judges.judge_prompts import EXAMPLE, FOR_CHAT, JUDGE_PROMPTS, JudgePrompt
from regap.analyses.judges.registry import NamedJudge
from regap.analyses.judges.verdicts import Judged
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
LARGEST_REPLY = 1 << 22
"""Most bytes of a reply that are read."""


class EndpointError(RuntimeError):
    """The endpoint cannot be used now; the message says what it answered and how to go on."""


class _AttemptError(RuntimeError):
    """One attempt failed, and another one may succeed after `wait` seconds."""

    def __init__(self, problem: str, wait: float = 0.0):
        super().__init__(problem)
        self.wait = wait


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

    Raises ConfigError for an unusable address or key, and for a key that would cross a network unencrypted.
    """

    url: str
    """Such as https://HOST/v1; questions are sent to `/chat/completions` below it."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as a bearer token, and nowhere else; empty for none."""
    timeout: float = 60.0
    """Seconds until an attempt counts as failed."""
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
            with httpx.Client(timeout=self.timeout, follow_redirects=False) as client:
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
        until = time.monotonic() + self.timeout
        address = f"{self.url.rstrip('/')}/chat/completions"
        try:
            with client.stream("POST", address, content=asked, headers=headers) as response:
                body = self._read(response, until)
            return _reply(json.loads(body)) if response.is_success else self._refused(response, body)
        except (httpx.HTTPError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise _AttemptError(self._without_key(f"{type(error).__name__}: {error}")) from None

    def _read(self, response: httpx.Response, until: float) -> bytes:
        """Return the body; the timeout of httpx holds for one read only, so a slow trickle is stopped here."""
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if time.monotonic() > until or len(body) > LARGEST_REPLY:
                raise TimeoutError(f"no whole reply in {self.timeout:g} seconds and {LARGEST_REPLY} bytes")
        return body

    def _refused(self, response: httpx.Response, body: bytes) -> Reply:
        """Return a reply without text where the prompt was rejected; raise for every other status."""
        told = body[:2000].decode("utf-8", "replace")
        with suppress(ValueError, KeyError, TypeError):
            told = str(json.loads(told)["error"]["message"])
        status = response.status_code
        problem = self._without_key(f"{status} {response.reason_phrase}: {told}")
        if status in PROMPT_REJECTED:
            return Reply(None, f"the endpoint does not take this prompt ({problem})")
        if status in RETRIED or status >= 500:
            raise _AttemptError(problem, _retry_after(response))
        raise EndpointError(f"endpoint {self.url} says {problem}; check address, model and key")

    def _without_key(self, message: str) -> str:
        """Return a message in one line and without the key, which an endpoint may repeat."""
        return " ".join((message.replace(self.key, "[key]") if self.key else message).split())[:200]


def _reply(content: Any) -> Reply:
    choice = content["choices"][0]
    text = choice["message"]["content"]
    if isinstance(text, str) and text.strip():
        return Reply(text)
    return Reply(None, f"the endpoint wrote nothing (it stopped for {choice.get('finish_reason')!r})")


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

        Raises EndpointError if the endpoint cannot be used at all: then no verdict is kept.
        """
        reply = self.endpoint.ask(self.prompt.asks(pair, completion.text).turns, self.prompt.budget)
        if reply.text is None:
            return Judged(pair, completion, self.name, "not_judged", reply.problem)
        read = self.prompt.reads(pair, completion.text, reply.text)
        return Judged(pair, completion, self.name, read.verdict, read.reason)


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
    asked = [chosen.asks(EXAMPLE, "an answer").turns, chosen.budget]
    identity = digest_of(["endpoint", url.rstrip("/"), model, asked])
    judge = EndpointJudge(name, chosen, endpoint)
    return NamedJudge(name, judge, identity, f"{model} at {url}", chosen.defects, portion=1)
