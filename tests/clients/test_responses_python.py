"""The openai package for Python, unmodified, over a real socket: what responses are made of, and what goes wrong."""

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.openai_deeds import PIXEL
from tests.clients.responses_client import APP, ask, client_of, history_of, openai
from tests.support.server import Server, serve

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(APP, "--store", "memory://") as served:
        yield served


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with client_of(server) as made:
        yield made


# --- one response ----------------------------------------------------------------------------------------------------


def test_answer_comes_in_one_piece(client: Any) -> None:
    response = ask(client, "say héllo wörld \u2028", metadata={"topic": "test"}, temperature=0.25)
    assert response.output_text == "héllo wörld \u2028"
    assert (response.status, response.model, response.error) == ("completed", "assistant", None)
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (3, 3, 6)
    assert (response.metadata, response.temperature) == ({"topic": "test"}, 0.25)
    assert response._request_id.startswith("req_")


def test_retrieved_response_is_the_one_that_was_created(client: Any) -> None:
    created = ask(client, "say hi", metadata={"a": "b"}, tools=[WEATHER], instructions="Be brief.", user="ann")
    assert client.responses.retrieve(created.id).to_dict() == created.to_dict()
    assert (created.instructions, created.tools[0].name, created.user) == ("Be brief.", "weather", "ann")


def test_events_come_in_order_and_add_up(client: Any) -> None:
    events = list(ask(client, "say one two", stream=True))
    assert [event.type.removeprefix("response.") for event in events] == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    assert events[-1].response.output_text == "one two"


def test_stream_helper_gives_the_final_response(client: Any) -> None:
    with client.responses.stream(model="assistant", input="say one two three") as stream:
        words = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert words == ["one", " two", " three"]
    assert (final.output_text, final.usage.total_tokens) == ("one two three", 6)


async def test_async_client_streams(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        async with client.responses.stream(model="assistant", input="say one two") as stream:
            words = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        assert "".join(words) == "one two"


def test_other_prefix_is_served_too(server: Server) -> None:
    with client_of(server, "/openai") as client:
        response = ask(client, "say hi")
        assert client.responses.retrieve(response.id).output_text == "hi"


def test_first_chat_answers_where_no_model_is_named(client: Any) -> None:
    assert client.responses.create(input="say hi").model == "assistant"


# --- what it may be made of --------------------------------------------------------------------------------------


def test_reasoning_and_thoughts_are_reasoning_items(client: Any) -> None:
    with client.responses.stream(model="assistant", input="think 42") as stream:
        thought = [event.delta for event in stream if event.type == "response.reasoning_summary_text.delta"]
        final = stream.get_final_response()
    assert ("".join(thought), final.output_text) == ("Hm, so.", "42")
    reasoning, words = ask(client, "step done").output
    assert (reasoning.summary[0].text, words.content[0].text) == ("Searching\nin the index", "done")


def test_client_runs_its_tools_and_the_answer_goes_on(client: Any) -> None:
    with client.responses.stream(model="assistant", input="call Paris Rome", tools=[WEATHER]) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        called = stream.get_final_response()
    assert len(pieces) == 4
    assert [(item.call_id, json.loads(item.arguments)) for item in called.output] == [
        ("call_0", {"city": "Paris"}),
        ("call_1", {"city": "Rome"}),
    ]
    results = [{"type": "function_call_output", "call_id": item.call_id, "output": "sun"} for item in called.output]
    answer = ask(client, results, previous_response_id=called.id, tools=[WEATHER])
    assert answer.output_text == "The tools said: sun, sun"
    assert [item.type for item in client.responses.input_items.list(answer.id)] == ["function_call_output"] * 2
    entries = history_of(client, previous_response_id=answer.id)
    assert [role for role, _ in entries] == ["user", "assistant", "tool", "tool", "assistant"]


def test_client_that_sends_everything_again_gets_the_same(client: Any) -> None:
    called = ask(client, "call Paris", tools=[WEATHER])
    result = {"type": "function_call_output", "call_id": "call_0", "output": "sun"}
    conversation = [{"role": "user", "content": "call Paris"}, *[item.to_dict() for item in called.output], result]
    assert ask(client, conversation, tools=[WEATHER], store=False).output_text == "The tools said: sun"


def test_tools_of_the_server_are_shown_with_their_results(client: Any) -> None:
    with client.responses.stream(model="assistant", input="lookup Paris") as stream:
        kinds = [event.type for event in stream if "mcp_call" in event.type]
        final = stream.get_final_response()
    assert [kind.removeprefix("response.") for kind in kinds] == [
        *("mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done", "mcp_call.completed")
    ]
    used, words = final.output
    assert (used.type, used.name, used.server_label, used.output) == ("mcp_call", "lookup", "chatserve", "21 degrees")
    assert words.content[0].text == "It is warm."


def test_sources_are_annotations_and_files_are_links(client: Any, server: Server) -> None:
    (annotation,) = ask(client, "cite rain").output[0].content[0].annotations
    assert (annotation.type, annotation.url, annotation.title) == ("url_citation", "https://example.com/a", "A")
    with client.responses.stream(model="assistant", input="draw") as stream:
        words, picture = [item.content[0].text for item in stream.get_final_response().output]
    link, _, path = picture.removesuffix(")").partition(server.url)
    assert (words, link) == ("Here you are", "![dot.png](")
    assert server.get(path).content == PIXEL


def test_files_reach_the_chat_as_bytes_or_as_uploads(client: Any, server: Server) -> None:
    encoded = base64.b64encode(PIXEL).decode()
    uploaded = server.post("/files?name=note.txt", content=b"12345", headers={"content-type": "text/plain"}).json()
    content = [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{encoded}", "detail": "auto"},
        {"type": "input_file", "filename": "a.bin", "file_data": f"data:application/octet-stream;base64,{encoded}"},
        {"type": "input_file", "file_id": uploaded["id"]},
    ]
    response = client.responses.create(model="pictures", input=[{"role": "user", "content": content}])
    assert response.output_text == "see image.png:68 a.bin:68 note.txt:5"
    (item,) = client.responses.input_items.list(response.id)
    assert [part.type for part in item.content] == ["input_text", "input_image", "input_file", "input_file"]
    content[1]["image_url"] = "https://example.com/a.png"
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="pictures", input=[{"role": "user", "content": content}])
    assert error.value.param == "input[0].content[1].image_url"


def test_answer_that_was_cut_is_incomplete(client: Any) -> None:
    response = ask(client, "cut short")
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    assert [event.type for event in ask(client, "cut short", stream=True)][-1] == "response.incomplete"


def test_fields_reach_the_chat_function(client: Any) -> None:
    told = json.loads(
        ask(
            client, "settings", temperature=0.1, instructions="Be brief.", tools=[WEATHER], extra_body={"x": 1}
        ).output_text
    )
    assert told["temperature"] == 0.1
    assert (told["params"]["instructions"], told["params"]["x"]) == ("Be brief.", 1)
    assert told["tools"][0]["function"]["name"] == "weather"


# --- history -------------------------------------------------------------------------------------------------------


def test_responses_follow_one_another_and_branch(client: Any) -> None:
    first = ask(client, "say a")
    left = ask(client, "say b", previous_response_id=first.id)
    right = ask(client, "say c", previous_response_id=first.id)
    assert [text for _, text in history_of(client, previous_response_id=left.id)] == ["say a", "a", "say b", "b"]
    assert [text for _, text in history_of(client, previous_response_id=right.id)] == ["say a", "a", "say c", "c"]
    assert left.previous_response_id == right.previous_response_id == first.id


def test_instructions_are_for_one_response_only(client: Any) -> None:
    first = ask(client, "say a", instructions="Be brief.")
    assert history_of(client, previous_response_id=first.id) == [["user", "say a"], ["assistant", "a"]]
    told = history_of(client, previous_response_id=first.id, instructions="Be kind.")
    assert told == [["system", "Be kind."], ["user", "say a"], ["assistant", "a"]]


def test_items_before_the_last_message_are_history(client: Any) -> None:
    before = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "say a"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": []}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
    ]
    response = ask(client, [*before, {"role": "user", "content": "history"}])
    expected = [["developer", "Be brief."], ["user", "say a"], ["assistant", "a"]]
    assert json.loads(response.output_text) == expected
    follow_up = history_of(client, previous_response_id=response.id)
    assert follow_up[:3] == expected
    items = client.responses.input_items.list(response.id, order="asc")
    assert [item.role for item in items] == ["developer", "user", "assistant", "user"]
    extended = ask(
        client,
        [{"role": "user", "content": "and"}, {"role": "user", "content": "history"}],
        previous_response_id=response.id,
    )
    assert [text for _, text in json.loads(extended.output_text)][-2:] == [response.output_text, "and"]


def test_items_may_be_referred_to_by_id(client: Any) -> None:
    first = ask(client, "say a")
    reference = {"type": "item_reference", "id": first.output[0].id}
    asked = [{"role": "user", "content": "say a"}, reference, {"role": "user", "content": "history"}]
    assert json.loads(ask(client, asked).output_text) == [["user", "say a"], ["assistant", "a"]]
    assert len(json.loads(ask(client, asked[1:], previous_response_id=first.id).output_text)) == 2
    with pytest.raises(openai.BadRequestError, match="no item 'msg_none'"):
        ask(client, [{"type": "item_reference", "id": "msg_none"}, {"role": "user", "content": "hi"}])


def test_response_that_is_not_stored_is_not_found_later(client: Any) -> None:
    first = ask(client, "say a")
    second = ask(client, "history", previous_response_id=first.id, store=False)
    assert json.loads(second.output_text) == [["user", "say a"], ["assistant", "a"]]
    assert not second.to_dict()["store"]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "say b", previous_response_id=second.id)
    assert error.value.code == "previous_response_not_found"


# --- errors --------------------------------------------------------------------------------------------------------


def runs(client: Any, message: str) -> int:
    return int(ask(client, f"runs {message}").output_text)


def test_failed_answer_is_an_error_and_is_not_asked_again(client: Any) -> None:
    with pytest.raises(openai.InternalServerError) as error:
        ask(client, "fail now")
    assert error.value.code == "chat_function_failed"
    assert "secret" not in str(error.value)
    assert error.value.body["error_id"].startswith("e_")
    assert runs(client, "fail now") == 1
    with pytest.raises(openai.PermissionDeniedError, match="not today") as refused:
        ask(client, "refuse")
    assert refused.value.code == "closed"
    assert runs(client, "refuse") == 1


def test_failure_within_a_stream_ends_it_with_its_error(client: Any) -> None:
    *_, last = ask(client, "fail later", stream=True)
    assert (last.type, last.response.error.code) == ("response.failed", "chat_function_failed")
    assert last.response.output_text == "So far so good"
    assert client.responses.retrieve(last.response.id).error.code == "chat_function_failed"
    with client.responses.stream(model="assistant", input="fail later again") as stream, pytest.raises(RuntimeError):
        stream.get_final_response()
    assert runs(client, "fail later again") == 1


def test_unknown_model_is_not_found(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as error:
        client.responses.create(model="gpt-none", input="hi")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_unknown_responses_are_not_found(client: Any) -> None:
    for call in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(openai.NotFoundError) as error:
            call("resp_none")
        assert error.value.code == "response_not_found"
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "hi", previous_response_id="resp_none")
    assert (error.value.code, error.value.param) == ("previous_response_not_found", "previous_response_id")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "robot", "content": "hi"}]}, "input[0].role"),
        ({"input": "hi", "temperature": "hot"}, "temperature"),
        ({"input": "hi", "tools": "all"}, "tools"),
        ({"input": "hi", "conversation": "a", "previous_response_id": "resp_b"}, "previous_response_id"),
    ],
)
def test_wrong_field_is_named(client: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model="assistant", **body)
    assert (error.value.param, error.value.type) == (param, "invalid_request_error")


def test_request_sent_twice_under_one_key_is_answered_once(client: Any) -> None:
    key = {"idempotency-key": os.urandom(8).hex()}
    first = ask(client, "say once", extra_headers=key)
    again = ask(client, "say once", extra_headers=key)
    assert (again.id, runs(client, "say once")) == (first.id, 1)


NAMESPACED = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers",
    "tools": [{"type": "function", "name": "find", "parameters": {"type": "object", "properties": {}}}],
}


def test_tool_of_a_namespace_is_called_with_its_namespace(client: Any) -> None:
    with client.responses.stream(model="assistant", input="call Oslo", tools=[NAMESPACED]) as stream:
        added = [event.item for event in stream if event.type == "response.output_item.added"]
        streamed = stream.get_final_response()
    stored = client.responses.retrieve(streamed.id)
    for called in (added[0], streamed.output[0], stored.output[0]):
        assert (called.type, called.namespace, called.name) == ("function_call", "crm", "find")
    result = {"type": "function_call_output", "call_id": stored.output[0].call_id, "output": "found"}
    options: dict[str, Any] = {"model": "assistant", "tools": [NAMESPACED]}
    after = client.responses.create(**options, previous_response_id=stored.id, input=[result])
    assert after.output_text == "The tools said: found"
    whole = [{"role": "user", "content": "call Oslo"}, stored.output[0].model_dump(exclude_none=True), result]
    assert client.responses.create(**options, input=whole, store=False).output_text == "The tools said: found"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_limit_of_tokens_has_three_names(client: Any, name: str) -> None:
    asked = client.responses.create(model="limited", input="hi", extra_body={name: 7})
    assert asked.output_text == "7"
