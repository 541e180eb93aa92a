"""An OpenAI-compatible endpoint that the user names: asked patiently, and told no key but in its head."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from regap.errors import ConfigError

NOT_TAKEN = (400, 413, 422)
"""Statuses that speak of one prompt, as one too long: asking again changes nothing, the next prompt may do."""
AGAIN = (408, 409, 425, 429)
"""Statuses, beside those of 500 and above, after which the same question may be answered."""
LONGEST_WAIT = 60.0
"""Seconds before another attempt, whatever the endpoint asks for."""
LARGEST = 1 << 22
"""Bytes of a reply that are read."""


class EndpointError(RuntimeError):
    """The endpoint cannot be asked now; the message says what it did and how to go on."""


@dataclass(frozen=True)
class Reply:
    """What the endpoint wrote, or why it wrote nothing to this prompt."""

    text: str | None
    problem: str = ""


@dataclass(eq=False)
class Pace:
    """Lets at most so many questions pass in a minute; any number where none is given."""

    per_minute: float | None = None
    _next: float = 0.0

    def wait(self) -> None:
        """Return when the next question may be asked."""
        if self.per_minute:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = max(time.monotonic(), self._next) + 60 / self.per_minute


@dataclass(frozen=True, eq=False)
class Endpoint:
    """Where a judge model is served, and how patiently it is asked.

    Raises ConfigError for an address that is none, and for a key that would cross a network unencrypted.
    """

    url: str
    """Such as https://HOST/v1; `/chat/completions` is asked there."""
    model: str
    key: str = field(default="", repr=False)
    """Sent as a bearer token, and nowhere else; empty for none."""
    timeout: float = 60.0
    """Seconds until a question counts as failed."""
    attempts: int = 5
    pause: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""
    pace: Pace = field(default_factory=Pace, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"endpoint is {self.url!r}; write an address such as https://HOST/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError("endpoint holds a name, a password or a query; give a key by --endpoint-key")
        if not self.model:
            raise ConfigError(f"endpoint {self.url} needs the name of a model there (--endpoint-model)")
        if self.key and parts.scheme == "http" and not _is_here(parts.hostname):
            raise ConfigError(f"endpoint {self.url} would be sent the key unencrypted; use https, or no key")

    def ask(self, turns: Sequence[Mapping[str, str]], budget: int) -> Reply:
        """Return what the model writes to these turns, greedily, in at most `budget` tokens.

        Failures are tried again, each time later; EndpointError after the last attempt, and at once where the
        endpoint says that it never will answer, as without the right key.
        """
        asked = {"model": self.model, "messages": list(turns), "temperature": 0, "max_tokens": budget}
        problem, wait = "", self.pause
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(min(wait, LONGEST_WAIT))
                wait *= 2
            self.pace.wait()
            try:
                return _reply(json.loads(self._post(asked)))
            except urllib.error.HTTPError as error:
                problem = self._told(error)
                if error.code in NOT_TAKEN:
                    return Reply(None, f"the endpoint does not take this prompt ({problem})")
                if error.code not in AGAIN and error.code < 500:
                    raise EndpointError(
                        f"endpoint {self.url} says {problem}; check address, model and key"
                    ) from None
                wait = max(wait, _asked_to_wait(error))
            except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
                problem = self._hidden(f"{type(error).__name__}: {error}")
        raise EndpointError(
            f"endpoint {self.url} failed {self.attempts} times, at last with {problem}; what was judged is kept: "
            "give the same command again to go on"
        )

    def _post(self, asked: Mapping[str, Any]) -> bytes:
        head = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            head["Authorization"] = f"Bearer {self.key}"
        address = f"{self.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, json.dumps(asked).encode(), head, method="POST")
        until = time.monotonic() + self.timeout
        found = b""
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=self.timeout) as response:
            while chunk := response.read1(1 << 16):
                found += chunk
                if time.monotonic() > until or len(found) > LARGEST:
                    raise TimeoutError(f"no whole reply in {self.timeout:g} seconds and {LARGEST} bytes")
        return found

    def _told(self, error: urllib.error.HTTPError) -> str:
        try:
            body = error.read(2000).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            body = ""
        with suppress(ValueError, KeyError, TypeError):
            body = str(json.loads(body)["error"]["message"])
        return self._hidden(f"{error.code} {error.reason}: {' '.join(body.split())}")

    def _hidden(self, message: str) -> str:
        """Return a message without the key, which an endpoint may repeat."""
        return (message.replace(self.key, "[key]") if self.key else message)[:200]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key, and harmful text, to a place that nobody named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _reply(content: Any) -> Reply:
    choice = content["choices"][0]
    text = choice["message"]["content"]
    if isinstance(text, str) and text.strip():
        return Reply(text)
    return Reply(None, f"the endpoint wrote nothing (it stopped for {choice.get('finish_reason')!r})")


def _asked_to_wait(error: urllib.error.HTTPError) -> float:
    try:
        return max(0.0, float(error.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0  # a date: waiting as if it had asked for nothing will do


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
