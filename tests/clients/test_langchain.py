"""LangChain's ChatOpenAI, unmodified, over a real socket: Chat Completions."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.libraries import require
from tests.support.server import Server, serve

openai = require("openai")
langchain_openai = require("langchain_openai")
langchain_messages = require("langchain_core.messages")
langchain_tools = require("langchain_core.tools")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/openai_app.py", "--store", "memory://") as served:
        yield served


def model(server: Server, **options: Any) -> Any:
    return langchain_openai.ChatOpenAI(base_url=f"{server.url}/v1", api_key="any", model="assistant", **options)


@langchain_tools.tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"fine in {city}"


def test_invoke_returns_words_and_usage(server: Server) -> None:
    answer = model(server).invoke([("system", "be brief"), ("user", "say one two")])
    assert answer.content == "one two "
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata["total_tokens"] == 5


def test_stream_yields_each_word_and_the_usage(server: Server) -> None:
    chunks = list(model(server, stream_usage=True).stream("say one two"))
    assert [chunk.content for chunk in chunks if chunk.content] == ["one ", "two "]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.usage_metadata["total_tokens"] == 5
    assert whole.response_metadata["finish_reason"] == "stop"


async def test_events_of_a_model_are_streamed(server: Server) -> None:
    async with openai.DefaultAsyncHttpxClient() as connections:  # the library's own are never closed
        events = model(server, http_async_client=connections).astream_events("say one two", version="v2")
        words = [
            event["data"]["chunk"].content
            async for event in events
            if event["event"] == "on_chat_model_stream" and event["data"]["chunk"].content
        ]
    assert words == ["one ", "two "]


@pytest.mark.parametrize("streaming", [False, True])
def test_tools_run_in_the_client_and_their_results_come_back(server: Server, streaming: bool) -> None:
    bound = model(server, streaming=streaming).bind_tools([weather])
    messages: list[Any] = [langchain_messages.HumanMessage("call Oslo Rome")]
    called = bound.invoke(messages)
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]
    messages += [called, *(weather.invoke(call) for call in called.tool_calls)]
    assert bound.invoke(messages).content == "The tools said: fine in Oslo, fine in Rome"


def test_tools_of_the_server_are_not_given_to_the_client(server: Server) -> None:
    answer = model(server).bind_tools([weather]).invoke("lookup Oslo")
    assert (answer.content, answer.tool_calls) == ("It is warm.", [])


def test_structured_output_is_read_from_data(server: Server) -> None:
    class Verdict(BaseModel):
        verdict: str
        weight: int

    structured = model(server).with_structured_output(Verdict, method="json_schema")
    assert structured.invoke("weigh tea") == Verdict(verdict="tea", weight=3)


def test_limit_of_tokens_fills_the_input_whatever_the_library_calls_it(server: Server) -> None:
    told = model(server, max_tokens=7, temperature=0.25).invoke("settings").content
    assert '"temperature": 0.25, "max_tokens": 7' in told


def test_conversation_with_a_session_header_is_kept(server: Server) -> None:
    session_id = server.post("/sessions", {}).json()["session_id"]
    kept = model(server, default_headers={"X-Session-Id": session_id})
    first = kept.invoke("say one")
    kept.invoke([("user", "say one"), first, ("user", "say two")])
    items = server.get(f"/sessions/{session_id}/messages").json()["items"]
    assert [item["content"] for item in items] == ["say one", "one ", "say two", "two "]


@pytest.mark.parametrize("streaming", [False, True])
def test_failure_is_raised_and_the_function_was_run_once(server: Server, streaming: bool) -> None:
    message = f"fail later {streaming}"
    with pytest.raises(openai.APIError):
        model(server, streaming=streaming).invoke(message)
    assert '"runs": 1' in server.ask(f"runs {message}")["text"]
