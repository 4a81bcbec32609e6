"""The OpenAI-compatible client against a real HTTP server that plays the API, with its errors, silences and cuts."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from agents.llm import (
    ChatMessage,
    Completion,
    ContextTooLong,
    ModelBusy,
    ModelCutOff,
    ModelGarbled,
    ModelRefused,
    ModelUnavailable,
    OpenAIClient,
    ResilientClient,
    TokenUsage,
    Tool,
    ToolRequest,
)
from messaging.api import BreakerState, CircuitBreaker, CircuitOpen, ConfigurationError, RetryPolicy
from tests.support.model_server import Answer, ModelServer, Request
from tests.support.secret_scan import plant

KEY = plant("the key of a model", "very/secret/0123456789")
ASKED = [ChatMessage("system", "be short"), ChatMessage("user", "hello?")]
CALLS = (("call-1", "look", '{"city": "Київ"}'), ("call-2", "add", '{"x": 1}'))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def client(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIClient:
    monkeypatch.setenv("TEST_MODEL_KEY", KEY)
    return OpenAIClient("tiny", base_url=server.base_url, key_variable="TEST_MODEL_KEY", timeout=10, silence=5)


def ask(client: OpenAIClient | ResilientClient, on_text: Callable[[str], None] | None = None) -> Completion:
    return asyncio.run(client.complete(ASKED, on_text=on_text))


def test_an_answer_and_its_tokens(server: ModelServer, client: OpenAIClient) -> None:
    server.script = [Answer(text="Hi. Grüße!")]
    completion = ask(client)
    assert completion == Completion(ChatMessage("assistant", "Hi. Grüße!"), TokenUsage(11, 7), "stop", "played")
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "be short"}, {"role": "user", "content": "hello?"}],
    }


def test_an_answer_in_pieces(server: ModelServer, client: OpenAIClient) -> None:
    server.script = [Answer(text="Hi. Grüße!")]
    seen: list[str] = []
    completion = ask(client, seen.append)
    assert seen == ["Hi.", "Hi. Gr", "Hi. Grüß", "Hi. Grüße!"] or seen[-1] == "Hi. Grüße!"
    assert completion.message.content == "Hi. Grüße!"
    assert completion.usage == TokenUsage(11, 7)
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_calls(server: ModelServer, client: OpenAIClient, streamed: bool) -> None:
    server.script = [Answer(tool_calls=CALLS)]

    def look(city: str) -> str:
        """Look at a city."""
        return city

    async def run() -> Completion:
        return await client.complete(ASKED, tools=[Tool(look).spec], on_text=print if streamed else None)

    completion = asyncio.run(run())
    assert completion.message.tool_calls == tuple(ToolRequest(*call) for call in CALLS)
    assert completion.finish_reason == "tool_calls"
    (tool,) = server.requests[0].body["tools"]
    assert tool["function"]["name"] == "look"
    assert tool["function"]["parameters"]["properties"] == {"city": {"type": "string"}}


def test_a_conversation_with_tool_results_is_sent_as_servers_want_it(server: ModelServer, client: OpenAIClient) -> None:
    conversation = [
        *ASKED,
        ChatMessage("assistant", tool_calls=(ToolRequest("c", "look", "{}"),)),
        ChatMessage("tool", "rain", tool_call_id="c"),
    ]
    asyncio.run(client.complete(conversation))
    assert server.requests[0].body["messages"][2:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "c"},
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_tokens_that_the_server_does_not_count_are_estimated(
    server: ModelServer, client: OpenAIClient, streamed: bool
) -> None:
    server.script = [Answer(text="x" * 40, usage=False)]
    usage = ask(client, (lambda _: None) if streamed else None).usage
    assert usage == TokenUsage(4, 11, estimated=True)


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, ModelRefused), (401, ModelRefused), (404, ModelRefused), (429, ModelBusy), (500, ModelUnavailable)],
)
def test_what_the_status_means(server: ModelServer, client: OpenAIClient, status: int, error: type[Exception]) -> None:
    server.script = [Answer(status=status, body=b'{"error": {"message": "the reason"}}')]
    with pytest.raises(error, match="the reason"):
        ask(client)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."),
        (400, "prompt is too long: 210000 tokens > 200000 maximum"),
        (400, "the request exceeds the available context size. try increasing the context size"),
        (400, "The input token count (40000) exceeds the maximum number of tokens allowed (32768)."),
        (400, "Requested token count exceeds the model's maximum context window"),
        (413, "Request is too large for this model"),
        (422, "Prompt contains 70000 tokens, too many tokens for this model"),
    ],
)
def test_a_conversation_that_is_too_long_is_told_from_other_refusals(
    server: ModelServer, client: OpenAIClient, status: int, said: str
) -> None:
    server.script = [Answer(status=status, body=json.dumps({"error": {"message": said}}).encode())]
    with pytest.raises(ContextTooLong):
        ask(client)


def test_retry_after_in_seconds_or_as_a_date(server: ModelServer, client: OpenAIClient) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    for value, low, high in (("7", 7, 7), (date, 90, 101), ("1e999", 0, 0), ("soon", 0, 0), ("-5", 0, 0)):
        server.script = [Answer(status=429, headers={"retry-after": value})]
        with pytest.raises(ModelBusy) as caught:
            ask(client)
        assert low <= (caught.value.retry_after or 0) <= high, value


def test_a_server_that_says_nothing(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script = [Answer(gate="never")]
    silent = OpenAIClient("tiny", base_url=server.base_url, key_variable=None, timeout=10, silence=0.2)
    with pytest.raises(ModelUnavailable, match=r"said nothing for 0\.2 s"):
        ask(silent)


def test_a_server_that_stops_in_mid_stream(server: ModelServer) -> None:
    server.script = [Answer(text="a long answer", stall_after=150)]
    short = OpenAIClient("tiny", base_url=server.base_url, key_variable=None, timeout=0.3, silence=5)
    with pytest.raises(ModelUnavailable, match=r"did not finish its answer within 0\.3 s"):
        ask(short, lambda _: None)


@pytest.mark.parametrize("cut_after", [0, 60, 200])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_connection_that_is_cut(server: ModelServer, client: OpenAIClient, cut_after: int, streamed: bool) -> None:
    server.script = [Answer(text="a rather long answer " * 20, cut_after=cut_after)]
    with pytest.raises(ModelCutOff):
        ask(client, (lambda _: None) if streamed else None)


def test_a_stream_that_ends_politely_before_the_answer_does(server: ModelServer, client: OpenAIClient) -> None:
    server.script = lambda request: Answer(
        body=b'data: {"choices": [{"delta": {"content": "half an"}}]}\n\n',
        headers={"content-type": "text/event-stream"},
    )
    with pytest.raises(ModelCutOff, match="after 7 characters"):
        ask(client, lambda _: None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>gateway</html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": 5}}]}',
        b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}',
        b'{"choices": [{"message": {"tool_calls": [{"function": {"name": null}}]}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
    ],
)
def test_an_answer_that_is_none(server: ModelServer, client: OpenAIClient, body: bytes) -> None:
    server.script = [Answer(body=body)]
    with pytest.raises(ModelGarbled):
        ask(client)


def test_a_server_that_is_not_there() -> None:
    gone = OpenAIClient("tiny", base_url="http://127.0.0.1:9/v1", key_variable=None)
    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        ask(gone)


def test_the_key_shows_nowhere(server: ModelServer, client: OpenAIClient, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log at its most talkative, nor in an error that the server filled with it, nor in the object."""
    caplog.set_level(logging.DEBUG)
    server.script = lambda request: Answer(
        status=401, body=f"Incorrect key {request.headers['authorization']}; sk-other-9876543210".encode()
    )
    with pytest.raises(ModelRefused) as caught:
        ask(client)
    told = f"{caught.value!r} {caught.value} {client!r} {vars(client)} {caplog.text}"
    assert "secret" not in told
    assert "9876543210" not in told
    assert "Incorrect key" in str(caught.value)


def test_a_missing_or_impossible_key_is_a_clear_error(client: OpenAIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "  ", "sk-a\nb", "ключ"):
        monkeypatch.setenv("TEST_MODEL_KEY", value)
        with pytest.raises(ConfigurationError, match="TEST_MODEL_KEY") as caught:
            ask(client)
        assert "sk-a" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host/v1", "https://user:pass@host/v1", "https://host/v1?key=secret", "host"])
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OpenAIClient("tiny", base_url=url)
    assert "secret" not in str(caught.value)
    assert "pass@" not in str(caught.value)


class Pauses:
    """Stands in for sleeping."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def test_short_troubles_are_overcome(server: ModelServer, client: OpenAIClient) -> None:
    server.script = [
        Answer(status=500),
        Answer(status=429, headers={"retry-after": "3"}),
        Answer(text="cut", cut_after=10),
        Answer(text="fine"),
    ]
    pauses = Pauses()
    resilient = ResilientClient(client, retry=RetryPolicy(max_attempts=4, base=0.5, cap=8.0), sleep=pauses)
    assert ask(resilient).message.content == "fine"
    assert len(pauses.seconds) == 3
    assert 3.0 <= pauses.seconds[1] <= 8.0, "Retry-After is respected"


def test_a_long_retry_after_is_left_to_the_durable_retry(server: ModelServer, client: OpenAIClient) -> None:
    server.script = [Answer(status=429, headers={"retry-after": "60"})]
    pauses = Pauses()
    with pytest.raises(ModelBusy) as caught:
        ask(ResilientClient(client, sleep=pauses))
    assert caught.value.retry_after == 60.0
    assert pauses.seconds == []


def test_a_refused_request_is_not_repeated_and_says_nothing_against_the_server(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script = [Answer(status=400)]
    resilient = ResilientClient(client, breaker=CircuitBreaker("model", failures=1), sleep=Pauses())
    with pytest.raises(ModelRefused):
        ask(resilient)
    assert len(server.requests) == 1
    assert resilient.breaker.state is BreakerState.CLOSED


def test_a_server_that_keeps_failing_is_left_alone_until_a_probe_succeeds(
    server: ModelServer, client: OpenAIClient
) -> None:
    now = 0.0
    breaker = CircuitBreaker("model", failures=3, reset_after=30.0, clock=lambda: now)
    resilient = ResilientClient(
        client, breaker=breaker, retry=RetryPolicy(max_attempts=2, base=1, cap=1), sleep=Pauses()
    )
    server.script = [Answer(status=500)]
    with pytest.raises(ModelUnavailable):
        ask(resilient)
    with pytest.raises(CircuitOpen) as caught:
        ask(resilient)
    assert len(server.requests) == 3
    assert caught.value.retry_after == 30.0
    now = 30.0
    server.script = lambda request: Answer(text="back")
    assert ask(resilient).message.content == "back"
    assert breaker.state is BreakerState.CLOSED


def test_many_requests_at_once_on_one_client(server: ModelServer, client: OpenAIClient) -> None:
    def echo(request: Request) -> Answer:
        return Answer(text=request.body["messages"][0]["content"])

    server.script = echo

    async def run() -> list[str]:
        asked = [client.complete([ChatMessage("user", f"number {number}")]) for number in range(50)]
        return [completion.message.content for completion in await asyncio.gather(*asked)]

    assert asyncio.run(run()) == [f"number {number}" for number in range(50)]
