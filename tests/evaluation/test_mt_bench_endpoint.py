from __future__ import annotations

import socket
import time

import pytest

from core.errors import RecipeError, ResourceError
from core.evaluation.mt_bench.endpoint import Completion, Endpoint
from tests.evaluation.chat_server import Body, ChatServer, Reply, completion

ASKED = [{"role": "user", "content": "Hello."}]
KEY_VARIABLE = "KEY_OF_A_TEST"
FINE = completion("Good.", prompt_tokens=9, completion_tokens=2)


def endpoint(url: str, retries: int = 3, timeout: float = 30) -> Endpoint:
    return Endpoint(url, "judge", KEY_VARIABLE, retries, timeout, backoff=0.01)


def failing(times: int, reply: Reply):
    return lambda number, body: reply if number < times else FINE


def test_a_request_is_openais_and_its_answer_is_read():
    with ChatServer(lambda number, body: FINE) as server:
        found = endpoint(f"{server.url}/").complete(ASKED, temperature=0, max_tokens=5)
    assert found == Completion("Good.", "stop", 9, 2)
    [request] = server.requests
    assert request == {
        "path": "/v1/chat/completions", "model": "judge", "messages": ASKED, "temperature": 0, "max_tokens": 5
    }  # fmt: skip


@pytest.mark.parametrize("reply", [Reply("", 500), Reply("busy", 503), Reply({"error": "slow down"}, 429)])
def test_a_server_that_recovers_is_asked_until_it_does(reply):
    with ChatServer(failing(3, reply)) as server:
        assert endpoint(server.url).complete(ASKED).text == "Good."
    assert len(server.requests) == 4


def test_retry_after_is_waited_for():
    first: list[float] = []

    def patient(number: int, body: Body) -> Reply:
        first.append(time.monotonic())
        return FINE if time.monotonic() - first[0] > 0.9 else Reply("", 429, {"Retry-After": "1"})

    with ChatServer(patient) as server:
        assert endpoint(server.url, retries=1).complete(ASKED).text == "Good."


def test_a_silent_server_is_asked_again():
    slow = Reply("", seconds=1)
    with ChatServer(failing(1, slow)) as server:
        assert endpoint(server.url, timeout=0.2).complete(ASKED).text == "Good."


def test_a_server_that_stays_away_is_named_with_the_number_of_tries_and_what_it_said():
    with ChatServer(lambda number, body: Reply("<h1>out of\nmemory</h1>", 500)) as server:
        with pytest.raises(ResourceError) as raised:
            endpoint(server.url, retries=2).complete(ASKED)
        assert len(server.requests) == 3
    told = str(raised.value)
    assert told.startswith(f"{server.url}: judge answered 500 in 3 tries (<h1>out of memory</h1>)")
    assert raised.value.exit_code == 3


def test_a_server_that_is_not_there_or_says_nothing_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(ResourceError, match=f"{url}: judge gave no answer in 2 tries .*refused"):
            endpoint(url, retries=1).complete(ASKED)
    with ChatServer(lambda number, body: Reply("", seconds=1)) as server:
        with pytest.raises(ResourceError, match=r"gave no answer in 2 tries .*timed out"):
            endpoint(server.url, retries=1, timeout=0.2).complete(ASKED)
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 301])
def test_a_request_that_is_refused_is_not_tried_again(status):
    refused = Reply({"error": "no such model"}, status, {"Location": "/"})
    said = pytest.raises(ResourceError, match=rf"answered {status} \(.*no such model")
    with ChatServer(lambda number, body: refused) as server, said:
        endpoint(server.url).complete(ASKED)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body", ["", "[]", "<html>Welcome</html>", {"choices": []}, {"choices": [{}]}, {"error": "quota"}, "null"]
)
def test_what_is_no_chat_completion_is_told(body):
    said = pytest.raises(ResourceError, match="something else than a chat completion")
    with ChatServer(lambda number, request: Reply(body)) as server, said:
        endpoint(server.url).complete(ASKED)


def test_no_text_and_no_counts_are_an_empty_answer():
    with ChatServer(lambda number, body: completion(None)) as server:
        assert endpoint(server.url).complete(ASKED) == Completion("", "stop", None, None)


def test_half_a_surrogate_in_an_answer_is_a_question_mark():
    with ChatServer(lambda number, body: Reply('{"choices": [{"message": {"content": "\\ud83d [[7]]"}}]}')) as server:
        answer = endpoint(server.url).complete(ASKED)
    assert answer.text == "? [[7]]"


def test_the_key_is_sent_and_never_told(monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    def repeats(number: int, body: Body) -> Reply:
        return Reply(f"Incorrect API key: s3cret-key{'.' * 267}s3cret-key", 401)  # as told, the last one is cut off

    with ChatServer(repeats) as server:
        with pytest.raises(ResourceError, match=rf"No key was sent: {KEY_VARIABLE} is not set"):
            endpoint(server.url).complete(ASKED)
        monkeypatch.setenv(KEY_VARIABLE, "s3cret-key\n")
        with pytest.raises(ResourceError, match=r"Incorrect API key: \*\*\*") as raised:
            endpoint(server.url).complete(ASKED)
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in repr(endpoint(server.url))
    assert [headers.get("Authorization") for headers in server.headers] == [None, "Bearer s3cret-key"]
    monkeypatch.setenv(KEY_VARIABLE, "s3\ncret")
    with pytest.raises(RecipeError, match=f"^{KEY_VARIABLE}: is no key, which has printable ASCII characters alone$"):
        endpoint(server.url).complete(ASKED)
