"""The OpenAI Agents SDK with its default model, which speaks Responses; unmodified, over a real socket."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.libraries import require
from tests.support.server import Server, serve

agents = require("agents")
openai = require("openai")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/responses_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Any]:
    agents.set_tracing_disabled(True)
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as made:
        yield made


@pytest.fixture
def model(client: Any) -> Any:
    return agents.OpenAIResponsesModel("assistant", client)


@agents.function_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"fine in {city}"


async def test_agent_answers_and_goes_on_with_all_it_has(model: Any) -> None:
    agent = agents.Agent(name="Helper", instructions="Be brief.", model=model)
    first = await agents.Runner.run(agent, "say one two")
    assert first.final_output == "one two"
    second = await agents.Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "history"}])
    assert second.final_output == '[["system", "Be brief."], ["user", "say one two"], ["assistant", "one two"]]'


async def test_agent_goes_on_behind_the_previous_response(model: Any) -> None:
    agent = agents.Agent(name="Helper", model=model)
    first = await agents.Runner.run(agent, "say one two")
    second = await agents.Runner.run(agent, "history", previous_response_id=first.last_response_id)
    assert second.final_output == '[["user", "say one two"], ["assistant", "one two"]]'


async def test_agent_runs_its_tools_whole_and_streamed(model: Any) -> None:
    agent = agents.Agent(name="Helper", model=model, tools=[weather])
    ran = await agents.Runner.run(agent, "call Oslo Rome")
    assert ran.final_output == "The tools said: fine in Oslo, fine in Rome"
    streamed = agents.Runner.run_streamed(agent, "call Oslo")
    kinds = {event.type async for event in streamed.stream_events()}
    assert (streamed.final_output, "run_item_stream_event" in kinds) == ("The tools said: fine in Oslo", True)


@pytest.mark.parametrize("form", ["dict", "item", "message", "chunks", "events"])
async def test_agent_runs_its_custom_tool_whole_and_streamed(model: Any, form: str) -> None:
    inputs: list[str] = []

    async def run(_context: Any, text: str) -> str:
        inputs.append(text)
        return f"ran {text}"

    sql = agents.CustomTool(name="sql", description="Ask the database", on_invoke_tool=run)
    agent = agents.Agent(name="Helper", model=model, tools=[sql])
    ran = await agents.Runner.run(agent, f"custom {form} select 1; {{")
    assert ran.final_output == "The tools said: ran select 1; {"
    streamed = agents.Runner.run_streamed(agent, f"custom {form} select 2")
    kinds = [event.data.type async for event in streamed.stream_events() if event.type == "raw_response_event"]
    assert (streamed.final_output, inputs) == ("The tools said: ran select 2", ["select 1; {", "select 2"])
    assert {"response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"} <= set(kinds)


async def test_agent_sees_reasoning_and_tools_of_the_server(model: Any) -> None:
    agent = agents.Agent(name="Helper", model=model)
    thought = await agents.Runner.run(agent, "think 42")
    assert ([item.type for item in thought.new_items], thought.final_output) == (
        ["reasoning_item", "message_output_item"],
        "42",
    )
    used = await agents.Runner.run(agent, "lookup Paris")
    assert ([item.raw_item.type for item in used.new_items], used.final_output) == (
        ["mcp_call", "message"],
        "It is warm.",
    )


async def test_session_of_the_sdk_is_a_conversation_here(client: Any, model: Any) -> None:
    session = agents.OpenAIConversationsSession(openai_client=client)
    agent = agents.Agent(name="Helper", model=model)
    await agents.Runner.run(agent, "say a", session=session)
    second = await agents.Runner.run(agent, "history", session=session)
    assert second.final_output == '[["user", "say a"], ["assistant", "a"]]'
    assert [item["role"] for item in await session.get_items()] == ["user", "assistant"] * 2
    await session.pop_item()
    assert len(await session.get_items()) == 3
    await session.clear_session()
