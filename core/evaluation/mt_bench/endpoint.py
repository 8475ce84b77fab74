"""One answer of an OpenAI-compatible chat endpoint, tried again where the server, not the request, is to blame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from core.errors import RecipeError, ResourceError, first_line

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529)
LONGEST_WAIT = 120  # seconds, between two tries
QUOTED = 300  # characters of what a server says, in an error

Message = dict[str, str]  # role and content


@dataclass(frozen=True)
class Completion:
    """What an endpoint answered; empty where it answered with no text."""

    text: str
    finish_reason: str | None  # "length" where max_tokens cut it off
    prompt_tokens: int | None  # as the endpoint counts them; None where it does not
    completion_tokens: int | None


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible endpoint. Its key is read when it is needed, and is kept nowhere."""

    url: str  # up to /v1
    model: str
    key_variable: str  # environment variable; without it, requests carry no key
    retries: int = 6
    timeout: float = 300.0  # seconds without a byte
    backoff: float = 1.0  # seconds; try n waits backoff * 2^(n - 1), the first none, or what Retry-After says

    def complete(self, messages: Sequence[Message], **settings: Any) -> Completion:
        """The answer to a dialogue. settings: temperature, max_tokens, seed, as OpenAI names them.

        Raises ResourceError, which names the endpoint, where it gives none after all retries, refuses the request, or
        answers in another form, and RecipeError for a key that no request can carry.
        """
        body = {"model": self.model, "messages": list(messages), **settings}
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=self._retry()))
            try:
                response = session.post(
                    f"{self.url.rstrip('/')}/chat/completions",
                    json=body,
                    auth=_Key(self._key()),
                    timeout=self.timeout,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                raise self._failed(f"gave no answer in {self.retries + 1} tries ({_cause(error)})") from error
        if response.status_code != 200:
            tries = f" in {self.retries + 1} tries" if response.status_code in RETRIED else ""
            raise self._failed(f"answered {response.status_code}{tries} ({self._quoted(response)})")
        return self._completion(response)

    def _retry(self) -> Retry:
        return Retry(
            total=self.retries,
            allowed_methods=None,  # POST too
            status_forcelist=RETRIED,
            backoff_factor=self.backoff,
            backoff_jitter=self.backoff / 4,
            backoff_max=LONGEST_WAIT,
            retry_after_max=LONGEST_WAIT,
            raise_on_status=False,
        )

    def _key(self) -> str | None:
        key = os.environ.get(self.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise RecipeError(f"{self.key_variable}: is no key, which has printable ASCII characters alone")
        return key or None

    def _completion(self, response: requests.Response) -> Completion:
        try:
            answer = response.json()
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            text, reason = choice["message"].get("content"), choice.get("finish_reason")
            counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._failed(
                f"answered with something else than a chat completion ({self._quoted(response)})"
            ) from error
        tokens = [count if isinstance(count, int) else None for count in counts]
        whole = text.encode(errors="replace").decode() if isinstance(text, str) else ""  # half a surrogate is no text
        return Completion(whole, reason, *tokens)

    def _failed(self, told: str) -> ResourceError:
        key = "" if self._key() else f" No key was sent: {self.key_variable} is not set."
        return ResourceError(
            f"{self.url}: {self.model} {told}.{key} What was answered is kept: the same command asks for the rest."
        )

    def _quoted(self, response: requests.Response) -> str:
        """What a server says, without the key that it may repeat."""
        text, key = response.text, self._key()
        text = text.replace(key, "***") if key else text
        return " ".join(text.split())[:QUOTED] or response.reason or "nothing"


class _Key(AuthBase):
    """A bearer token. An auth of our own also keeps requests from sending a .netrc's in its place."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _cause(error: Exception) -> str:
    """What a failed request comes down to; its libraries nest it."""
    inner: Any = error.args[0] if error.args else error
    reason = getattr(inner, "reason", None) or inner
    return first_line(reason if isinstance(reason, Exception) else error)
