"""The OpenAI Agents SDK, unmodified, over a real socket: agents whose model is a chat."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.libraries import require
from tests.support.server import Server, serve

agents = require("agents")
openai = require("openai")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/openai_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture(autouse=True)
def without_tracing() -> None:
    agents.set_tracing_disabled(True)


@agents.function_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"fine in {city}"


# --- Chat Completions ------------------------------------------------------------------------------------------------


@pytest.fixture
async def completions(server: Server) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        yield agents.OpenAIChatCompletionsModel(model="assistant", openai_client=client)


async def test_agent_answers_with_chat_completions(completions: Any) -> None:
    agent = agents.Agent(name="Helper", instructions="be brief", model=completions)
    first = await agents.Runner.run(agent, "say one two")
    assert first.final_output == "one two "
    second = await agents.Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": "history"}])
    assert second.final_output == '[["system", "be brief"], ["user", "say one two"], ["assistant", "one two "]]'


async def test_agent_runs_tools_with_chat_completions(completions: Any) -> None:
    agent = agents.Agent(name="Helper", model=completions, tools=[weather])
    ran = await agents.Runner.run(agent, "call Oslo Rome")
    assert ran.final_output == "The tools said: fine in Oslo, fine in Rome"


async def test_agent_streams_with_chat_completions(completions: Any) -> None:
    agent = agents.Agent(name="Helper", model=completions, tools=[weather])
    streamed = agents.Runner.run_streamed(agent, "call Oslo")
    events = [event async for event in streamed.stream_events()]
    deltas = [
        event.data.delta
        for event in events
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(deltas) == streamed.final_output == "The tools said: fine in Oslo"
