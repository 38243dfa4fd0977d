"""pydantic-ai's model for Responses, unmodified, over a real socket."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.libraries import require
from tests.support.server import Server, serve

openai = require("openai")
pydantic_ai = require("pydantic_ai")
openai_models = require("pydantic_ai.models.openai")
openai_provider = require("pydantic_ai.providers.openai")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("tests/clients/responses_app.py", "--store", "memory://") as served:
        yield served


@pytest.fixture
async def model(server: Server) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        provider = openai_provider.OpenAIProvider(openai_client=client)
        yield openai_models.OpenAIResponsesModel("assistant", provider=provider)


async def test_agent_goes_on_with_the_history_it_has(model: Any) -> None:
    agent = pydantic_ai.Agent(model, instructions="Be brief.")
    first = await agent.run("say one two")
    assert (first.output, first.usage.output_tokens) == ("one two", 2)
    second = await agent.run("history", message_history=first.all_messages())
    assert second.output == '[["system", "Be brief."], ["user", "say one two"], ["assistant", "one two"]]'


async def test_agent_streams_each_word(model: Any) -> None:
    async with pydantic_ai.Agent(model).run_stream("say one two") as streamed:
        assert [delta async for delta in streamed.stream_text(delta=True, debounce_by=None)] == ["one", " two"]


async def test_agent_runs_tools_of_its_own(model: Any) -> None:
    agent = pydantic_ai.Agent(model)

    @agent.tool_plain
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"fine in {city}"

    assert (await agent.run("call Oslo Rome")).output == "The tools said: fine in Oslo, fine in Rome"
    async with agent.run_stream("call Oslo Rome") as streamed:
        assert await streamed.get_output() == "The tools said: fine in Oslo, fine in Rome"


async def test_reasoning_and_tools_of_the_server_are_parts(model: Any) -> None:
    agent = pydantic_ai.Agent(model)
    assert [part.part_kind for part in (await agent.run("think so")).response.parts] == ["thinking", "text"]
    used = (await agent.run("lookup Paris")).response.parts
    assert (used[1].part_kind, used[1].content["output"], used[2].content) == (
        "builtin-tool-return",
        "21 degrees",
        "It is warm.",
    )


async def test_typed_result_is_read_from_data(model: Any) -> None:
    class Verdict(BaseModel):
        verdict: str
        weight: int

    agent = pydantic_ai.Agent(model, output_type=pydantic_ai.PromptedOutput(Verdict))
    assert (await agent.run("weigh tea")).output == Verdict(verdict="tea", weight=3)


async def test_failure_is_raised_and_the_function_was_run_once(model: Any, server: Server) -> None:
    with pytest.raises(pydantic_ai.ModelHTTPError) as error:
        await pydantic_ai.Agent(model).run("fail at once")
    assert error.value.status_code == 500
    assert server.ask("runs fail at once")["text"] == "1"
