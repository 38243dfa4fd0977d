"""Anthropic's Python package, unmodified, and pydantic-ai's model on top of it, talking to a served application."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.engine import within
from tests.support.libraries import require
from tests.support.server import Server, serve

anthropic = require("anthropic")

WEATHER = {
    "name": "weather",
    "description": "Tell the weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/anthropic_app.py", "--store", "memory://") as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=server.url, api_key="unused") as client:
        yield client


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def ask(client: Any, *messages: Any, model: str = "assistant", **more: Any) -> Any:
    spoken = [user(each) if isinstance(each, str) else each for each in messages]
    return client.messages.create(model=model, max_tokens=100, messages=spoken, **more)


def report(client: Any, *messages: Any, **more: Any) -> Any:
    return json.loads(ask(client, *messages, **more).content[0].text)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_message_is_answered(client: Any) -> None:
    message = ask(client, "say hello there")
    assert (message.role, message.model, message.stop_reason) == ("assistant", "assistant", "end_turn")
    assert [block.text for block in message.content] == ["hello there "]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 3)
    assert message.id.startswith("msg_")
    assert message._request_id.startswith("req_")


def test_stream_has_the_words_as_they_come(client: Any) -> None:
    with client.messages.stream(model="assistant", max_tokens=9, messages=[user("say one two")]) as stream:
        assert list(stream.text_stream) == ["one ", "two "]
        message = stream.get_final_message()
    assert (message.content[0].text, message.stop_reason) == ("one two ", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 3)


def test_raw_stream_has_the_events_in_order(client: Any) -> None:
    events = [event.type for event in ask(client, "say one two", stream=True)]
    assert events == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_async_client_streams_too(server: Server) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=server.url, api_key="unused") as client,
        client.messages.stream(model="assistant", max_tokens=9, messages=[user("say hi")]) as stream,
    ):
        message = await within(stream.get_final_message())
    assert message.content[0].text == "hi "


def test_function_knows_what_was_said_before(client: Any) -> None:
    first = ask(client, "say hello")
    told = report(client, "say hello", first.to_param(), "history", system="Be brief.")
    assert told == [["system", "Be brief."], ["user", "say hello"], ["assistant", "hello "]]


def test_line_ends_of_other_kinds_arrive_as_they_are(client: Any) -> None:
    words = "a\u2028b\u2029c\u0085d\N{GRINNING FACE}"
    with client.messages.stream(model="assistant", max_tokens=9, messages=[user(f"say {words} x")]) as stream:
        assert stream.get_final_text().split() == [*words.split(), "x"]


def test_thoughts_are_thinking(client: Any) -> None:
    with client.messages.stream(model="assistant", max_tokens=9, messages=[user("think of three words")]) as stream:
        streamed = stream.get_final_message()
    for message in (streamed, ask(client, "think of three words")):
        thinking, text = message.content
        assert (thinking.thinking, thinking.signature) == ("Counting\nso many words", "unsigned")
        assert text.text == "3 words"


def test_files_reach_a_chat_that_takes_them(client: Any) -> None:
    data = b64encode(b"12345").decode()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    message = ask(client, user([image, {"type": "text", "text": "seen"}]), model="reader")
    assert message.content[0].text == "seen: image.png of 5 bytes"


def test_sampling_fields_fill_inputs_or_are_params(client: Any) -> None:
    given = {"temperature": 0.25, "top_k": 3, "thinking": {"type": "adaptive"}}
    expected = {"max_tokens": 100, "temperature": 0.25, "top_k": 3, "thinking": {"type": "adaptive"}}
    assert report(client, "settings", extra_body=given) == expected


# --- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [True, False])
def test_tools_go_round(client: Any, is_streamed: bool) -> None:
    asked = {"model": "assistant", "max_tokens": 9, "tools": [WEATHER], "messages": [user("call Paris Rome")]}
    if is_streamed:
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
    else:
        message = client.messages.create(**asked)
    assert message.stop_reason == "tool_use"
    assert [(call.id, call.name, call.input) for call in message.content] == [
        ("call_Paris", "weather", {"city": "Paris"}),
        ("call_Rome", "weather", {"city": "Rome"}),
    ]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": f"{call.id}!"} for call in message.content]
    answer = ask(client, "call Paris Rome", message.to_param(), user(results), tools=[WEATHER])
    assert answer.content[0].text == "The tools said: call_Paris!, call_Rome!"


def test_tool_runner_of_the_package_goes_round(client: Any) -> None:
    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Tell the weather of a city.

        Args:
            city: where.
        """
        return f"sun in {city}"

    runner = client.beta.messages.tool_runner(
        model="assistant", max_tokens=9, tools=[weather], messages=[user("call Paris")]
    )
    assert runner.until_done().content[0].text == "The tools said: sun in Paris"


def test_function_is_told_of_the_tools(client: Any) -> None:
    (tool,) = report(client, "tools", tools=[WEATHER])
    assert tool["function"]["name"] == "weather"
    assert tool["function"]["parameters"] == WEATHER["input_schema"]


# --- sessions --------------------------------------------------------------------------------------------------------


def test_session_is_kept_under_its_key(client: Any, server: Server) -> None:
    keyed = {"extra_headers": {"X-Session-Id": "conversation-7"}}
    session_id = report(client, "session", **keyed)
    again = report(client, "session", extra_body={"metadata": {"session_id": "conversation-7"}})
    assert session_id == again
    kept = server.get(f"/sessions/{session_id}/messages").json()["items"]
    assert [message["content"] for message in kept] == ["session", json.dumps(session_id)]


def test_nothing_is_kept_without_a_key(client: Any) -> None:
    assert report(client, "session", metadata={"user_id": "somebody"}) is None


def test_client_that_leaves_stops_its_turn(client: Any) -> None:
    with client.messages.stream(model="assistant", max_tokens=9, messages=[user("wait for me")]) as stream:
        assert next(iter(stream.text_stream)) == "I wait"
    for _ in range(200):
        if report(client, "runs wait for me") == [1, 1]:
            return
    pytest.fail("the function still runs")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        (409, "ConflictError", "conflict_error"),
        (422, "UnprocessableEntityError", "invalid_request_error"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (503, "ServiceUnavailableError", "overloaded_error"),
        (504, "GatewayTimeoutError", "timeout_error"),
    ],
)
def test_failed_turn_is_the_error_of_its_status_and_ran_once(client: Any, status: int, error: str, kind: str) -> None:
    with pytest.raises(getattr(anthropic, error)) as failed:
        ask(client, f"fail now {status}")
    assert failed.value.status_code == status
    assert (failed.value.type, failed.value.error_code) == (kind, "library_closed")
    assert failed.value.api_message == "The library is closed."
    assert failed.value.request_id == failed.value.body["request_id"]
    assert report(client, f"runs fail now {status}") == [1, 1]


@pytest.mark.parametrize("when", ["now", "later"])
def test_failure_in_a_stream_is_raised_there_and_ran_once(client: Any, when: str) -> None:
    asked = f"fail {when} in a stream 500"
    with (
        pytest.raises(anthropic.APIStatusError) as failed,
        client.messages.stream(model="assistant", max_tokens=9, messages=[user(asked)]) as stream,
    ):
        stream.get_final_message()
    assert (failed.value.type, failed.value.error_code) == ("api_error", "library_closed")
    assert report(client, f"runs {asked}") == [1, 1]


def test_unknown_model_is_not_found(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as failed:
        ask(client, "hi", model="claude-9")
    assert (failed.value.type, failed.value.error_code) == ("not_found_error", "chat_unknown")


def test_bad_message_is_a_bad_request(client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.content\.0"):
        ask(client, user([{"type": "container_upload", "file_id": "x"}]))


def test_wrong_input_is_a_bad_request(client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        ask(client, "settings", extra_body={"temperature": "hot"})


# --- models and tokens -----------------------------------------------------------------------------------------------


def test_chats_are_models(client: Any) -> None:
    models = list(client.models.list(limit=1))
    assert [(model.id, model.display_name, model.lifecycle) for model in models] == [
        ("assistant", "Assistant", "active"),
        ("reader", "Reader", "active"),
    ]
    model = client.models.retrieve("reader")
    assert (model.type, model.id, model.created_at.year > 2000) == ("model", "reader", True)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-9")


def test_tokens_are_counted_without_running_anything(client: Any) -> None:
    counted = client.messages.count_tokens(
        model="assistant", messages=[user("count " + "word " * 100)], tools=[WEATHER]
    )
    assert 100 < counted.input_tokens < 250
    assert report(client, "runs count " + "word " * 100)[0] == 0


@pytest.mark.parametrize("version", ["2023-06-01", "2026-10-21"])
def test_both_versions_of_the_api_are_answered_alike(server: Server, version: str) -> None:
    headers = {"anthropic-version": version, "x-api-key": "unused"}
    body = {"model": "assistant", "messages": [user("say hi")]}
    assert server.post("/v1/messages", body, headers=headers).json()["content"][0]["text"] == "hi "
    assert server.get("/v1/models", headers=headers).json()["data"][0]["display_name"] == "Assistant"


# --- pydantic-ai -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def pydantic_agent(server: Server, **options: Any) -> AsyncIterator[Any]:
    require("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    async with anthropic.AsyncAnthropic(base_url=server.url, api_key="unused") as client:
        yield Agent(AnthropicModel("assistant", provider=AnthropicProvider(anthropic_client=client)), **options)


async def test_pydantic_ai_takes_several_turns(server: Server) -> None:
    async with pydantic_agent(server, system_prompt="Be brief.") as agent:
        first = await within(agent.run("say hello"))
        second = await within(agent.run("history", message_history=first.all_messages()))
    assert first.output.strip() == "hello"
    assert (first.usage.input_tokens, first.usage.output_tokens) == (12, 3)
    assert json.loads(second.output) == [["system", "Be brief."], ["user", "say hello"], ["assistant", "hello "]]


async def test_pydantic_ai_streams(server: Server) -> None:
    async with pydantic_agent(server) as agent, agent.run_stream("say one two") as run:
        assert [piece async for piece in run.stream_text(delta=True, debounce_by=None)] == ["one ", "two "]


async def test_pydantic_ai_runs_its_tools(server: Server) -> None:
    def weather(city: str) -> str:
        return f"sun in {city}"

    async with pydantic_agent(server, tools=[weather]) as agent:
        run = await within(agent.run("call Paris Rome"))
    assert run.output == "The tools said: sun in Paris, sun in Rome"
