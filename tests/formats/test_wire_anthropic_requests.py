"""Anthropic Messages without a server: conversations read, errors in the protocol's words, models, tokens."""

import json
from base64 import b64encode
from typing import Any

import pytest

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.streams import StreamReply
from chatserve.contracts.turns import TurnCall
from chatserve.contracts.wire import ChatProfile, JsonReply, KeepFile, RawRequest, StartedTurn, Step, Submit
from chatserve.core.errors import BodyTooLarge, ChatUnknown, IdempotencyConflict, InputsInvalid, QueueFull, ShuttingDown
from chatserve.core.types import DataPart, FilePart, LocalFile, TextPart, ToolCallPart, ToolResultPart
from chatserve.formats.wire.anthropic import Anthropic, create_message, list_models, read_model
from chatserve.formats.wire.anthropic.requests import read_messages
from chatserve.formats.wire.anthropic.token_count import IMAGE_TOKENS, MESSAGE_TOKENS, estimate_tokens
from chatserve.settings import Settings

PNG = b64encode(b"\x89PNG").decode()
CALL = {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "21"}


def profile(name: str = "chat", *inputs: str, takes_files: bool = False) -> ChatProfile:
    return ChatProfile(name, name.capitalize(), "", {}, inputs, takes_files)


def request(body: Any = None, *chats: ChatProfile, **more: Any) -> RawRequest:
    content = b"" if body is None else json.dumps(body).encode()
    served = {chat.name: chat for chat in chats or (profile(),)}
    return RawRequest("POST", "/v1/messages", served, "req_1", 1000.0, body=content, **more)


def asked(body: dict[str, Any], *chats: ChatProfile, **more: Any) -> TurnCall:
    """Return the turn that a request asks for."""
    handling = create_message(request(body, *chats, **more))
    step: Step = next(handling)
    while not isinstance(step, Submit):
        assert isinstance(step, KeepFile)
        step = handling.send(FilePart("f_1", step.name, step.media_type, len(step.content)))
    return step.call


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


# --- what comes in ---------------------------------------------------------------------------------------------------


def test_conversation_before_the_last_message_is_the_history() -> None:
    call = asked({"system": "Be brief.", "messages": [user("one"), assistant(text("two")), user("three")]})
    assert call.text == "three"
    assert call.history == (
        ParsedMessage("system", (TextPart("Be brief."),)),
        ParsedMessage("user", (TextPart("one"),)),
        ParsedMessage("assistant", (TextPart("two"),)),
    )


def test_paragraphs_of_system_blocks_stay_apart() -> None:
    read = read_messages({"system": [text("a"), text("b")], "messages": [user("c")]})
    assert read[0] == ParsedMessage("system", (TextPart("a\n\nb"),))


def test_system_messages_stand_where_they_were_sent() -> None:
    read = read_messages({"messages": [user("a"), {"role": "system", "content": "now in French"}, user("b")]})
    assert [message.role for message in read] == ["user", "system", "user"]


def test_results_of_tools_are_the_turn_when_nothing_was_said_beside_them() -> None:
    failed = {"type": "tool_result", "tool_use_id": "c2", "content": [text("no"), text("way")], "is_error": True}
    call = asked({"messages": [user("hi"), assistant(text("I look."), CALL), user(RESULT, failed)]})
    assert call.text == ""
    assert call.tool_results == (ToolResultPart("c1", "21"), ToolResultPart("c2", "no\nway", is_error=True))
    assert call.history is not None
    asks = (TextPart("I look."), ToolCallPart("c1", "weather", '{"city":"Paris"}'))
    assert call.history[-1] == ParsedMessage("assistant", asks)


def test_results_of_tools_join_the_history_when_something_was_said_beside_them() -> None:
    call = asked({"messages": [user("hi"), assistant(CALL), user(RESULT, text("and tomorrow?"))]})
    assert (call.text, call.tool_results) == ("and tomorrow?", ())
    assert call.history is not None
    assert call.history[-1] == ParsedMessage("tool", (ToolResultPart("c1", "21"),))


def test_result_with_more_than_text_keeps_its_blocks() -> None:
    blocks = [text("see"), {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}]
    call = asked({"messages": [user({"type": "tool_result", "tool_use_id": "c1", "content": blocks})]})
    assert call.tool_results[0].output == blocks


def test_result_without_content_is_empty_text() -> None:
    call = asked({"messages": [user({"type": "tool_result", "tool_use_id": "c1"})]})
    assert call.tool_results == (ToolResultPart("c1", ""),)


@pytest.mark.parametrize(
    "echoed",
    [
        {"type": "thinking", "thinking": "hm", "signature": "unsigned"},
        {"type": "redacted_thinking", "data": "x"},
    ],
)
def test_reasoning_that_clients_give_back_is_left_out(echoed: dict[str, Any]) -> None:
    read = read_messages({"messages": [user("a"), assistant(echoed, text("b")), assistant(echoed)]})
    assert read[1:] == (ParsedMessage("assistant", (TextPart("b"),)),)


@pytest.mark.parametrize(
    ("echoed", "part"),
    [
        (
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
            ToolCallPart("s1", "web_search", "{}", "server"),
        ),
        ({"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}, ToolResultPart("s1", [])),
        (
            {"type": "mcp_tool_use", "id": "m1", "name": "f", "server_name": "s", "input": {"a": 1}},
            ToolCallPart("m1", "f", '{"a":1}', "server"),
        ),
        (
            {"type": "mcp_tool_result", "tool_use_id": "m1", "is_error": True, "content": "no"},
            ToolResultPart("m1", "no", is_error=True),
        ),
        ({"type": "web_search_tool_result"}, DataPart({"type": "web_search_tool_result"}, "web_search_tool_result")),
        (
            {"type": "container_upload", "file_id": "x"},
            DataPart({"type": "container_upload", "file_id": "x"}, "container_upload"),
        ),
    ],
)
def test_tools_that_the_provider_ran_are_kept(echoed: dict[str, Any], part: Any) -> None:
    read = read_messages({"messages": [user("a"), assistant(echoed, text("b")), user("c")]})
    assert read[1] == ParsedMessage("assistant", (part, TextPart("b")))


@pytest.mark.parametrize(
    ("block", "name", "media_type", "content"),
    [
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            "image.png",
            "image/png",
            b"\x89PNG",
        ),
        (
            {"type": "image", "source": {"type": "url", "url": f"data:image/png;base64,{PNG}"}},
            "image.png",
            "image/png",
            b"\x89PNG",
        ),
        (
            {"type": "document", "title": "A.pdf", "source": {"type": "base64", "media_type": "x/y", "data": PNG}},
            "A.pdf",
            "x/y",
            b"\x89PNG",
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hé"}},
            "document.txt",
            "text/plain",
            "hé".encode(),
        ),
        (
            {"type": "document", "title": "Notes", "source": {"type": "content", "content": [text("a"), text("b")]}},
            "Notes",
            "text/plain",
            b"a\n\nb",
        ),
    ],
)
def test_files_are_read_from_the_request(block: dict[str, Any], name: str, media_type: str, content: bytes) -> None:
    (read,) = read_messages({"messages": [user(block, text("what is it?"))]})
    assert read.content == (TextPart("what is it?"), LocalFile(content, name, media_type))


def test_files_of_the_last_message_reach_a_chat_that_takes_them() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    call = asked({"messages": [user(image, text("what?"))]}, profile(takes_files=True))
    assert (call.text, call.files) == ("what?", (FilePart("f_1", "image.png", "image/png", 4),))


def test_user_said_what_the_store_keeps_of_it() -> None:
    """Words in one piece and before files; else every turn would seem to change the conversation."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    file = LocalFile(b"\x89PNG", "image.png", "image/png")
    read = read_messages({"messages": [user(text("a"), image, text("b")), user(image), user("")]})
    assert [message.content for message in read] == [(TextPart("a\nb"), file), (file,), (TextPart(""),)]


def test_null_for_an_input_is_not_given() -> None:
    call = asked({"messages": [user("hi")], "temperature": None, "top_p": None}, profile("chat", "temperature"))
    assert (call.inputs, call.params) == ({}, {"top_p": None})


def test_search_results_are_text() -> None:
    found = {"type": "search_result", "title": "Rain", "source": "https://a.example", "content": [text("It rains.")]}
    (read,) = read_messages({"messages": [user(found)]})
    assert read.content == (TextPart("Rain\nhttps://a.example\nIt rains."),)


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        (None, "messages"),
        ([{"role": "robot", "content": "x"}], "messages.0"),
        (["hi"], "messages.0"),
        ([user("a"), {"role": "user"}], "messages.1.content"),
        ([user(5)], "messages.0.content.0"),
        ([user({"type": "text"})], "messages.0.content.0"),
        ([user({"type": "container_upload", "file_id": "x"})], "container_upload"),
        ([user({"type": "image"})], "messages.0.content.0.source"),
        ([user({"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}})], "not fetched"),
        ([user({"type": "image", "source": {"type": "file", "file_id": "file_1"}})], "'file'"),
        ([user({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "?"}})], "base64"),
        ([user("a"), assistant({"type": "tool_use", "name": "x"})], "messages.1.content.0.id"),
        ([user({"type": "tool_result"})], "tool_use_id"),
        ([], "at least one"),
    ],
)
def test_what_cannot_be_read_is_named(messages: Any, named: str) -> None:
    with pytest.raises(InputsInvalid, match=named):
        asked({"messages": messages})


def test_fields_fill_inputs_or_are_params() -> None:
    body = {"max_tokens": 5, "temperature": 0.1, "thinking": {"type": "adaptive"}, "messages": [user("hi")], "odd": 1}
    call = asked(body, profile("chat", "temperature", "messages"))
    assert call.inputs == {"temperature": 0.1}
    assert call.params == {"max_tokens": 5, "thinking": {"type": "adaptive"}, "odd": 1}


def test_tools_come_in_the_one_shape_there_is_for_tools() -> None:
    schema = {"type": "object", "properties": {}}
    tools = [{"name": "f", "description": "F", "input_schema": schema}, {"type": "bash_20250124", "name": "bash"}]
    call = asked({"messages": [user("hi")], "tools": tools})
    assert call.tools == ({"type": "function", "function": {"name": "f", "description": "F", "parameters": schema}},)
    assert call.params == {"tools": tools[1:]}


@pytest.mark.parametrize("tools", ["f", [1]])
def test_tools_that_are_no_list_of_objects_are_refused(tools: Any) -> None:
    with pytest.raises(InputsInvalid, match="tools"):
        asked({"messages": [user("hi")], "tools": tools})


@pytest.mark.parametrize(
    ("headers", "metadata", "key"),
    [
        ({"x-session-id": "a"}, {"session_id": "b"}, "a"),
        ({}, {"session_id": "b"}, "b"),
        ({}, {"user_id": "b"}, None),
        ({}, {"session_id": 5}, None),
        ({}, None, None),
    ],
)
def test_session_is_named_by_header_or_metadata_never_by_the_user(headers: Any, metadata: Any, key: str | None) -> None:
    call = asked({"messages": [user("hi")], "metadata": metadata}, headers=headers)
    assert (call.session_key, call.is_kept) == (key, key is not None)
    assert call.history == ()
    assert call.on_disconnect == "stop"


def test_missing_model_is_the_default_chat() -> None:
    assert asked({"messages": [user("hi")]}, profile("first"), profile("second")).chat == "first"


@pytest.mark.parametrize("model", ["other", 5, ["chat"]])
def test_unknown_model_is_no_chat(model: Any) -> None:
    with pytest.raises(ChatUnknown, match="there is no chat"):
        asked({"model": model, "messages": [user("hi")]})


# --- errors, models, tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry"),
    [
        (InputsInvalid("bad", errors=[]), 400, "invalid_request_error", "false"),
        (IdempotencyConflict("bad"), 400, "invalid_request_error", "false"),
        (ChatUnknown("bad"), 404, "not_found_error", "false"),
        (BodyTooLarge("bad"), 413, "request_too_large", "false"),
        (QueueFull("bad"), 429, "rate_limit_error", "true"),
        (ShuttingDown("bad"), 503, "overloaded_error", "true"),
    ],
)
def test_refusal_has_the_protocols_type_and_says_whether_to_retry(
    error: Any, status: int, kind: str, retry: str
) -> None:
    reply = Anthropic(Settings()).refuse(error, request())
    assert isinstance(reply, JsonReply)
    assert (reply.status_code, reply.body["error"]["type"]) == (status, kind)
    assert reply.body["error"]["details"] == {"error_code": error.code}
    assert (reply.headers["request-id"], reply.headers["x-should-retry"]) == ("req_1", retry)
    assert error.headers.items() <= reply.headers.items()


def test_stream_carries_the_request_id() -> None:
    handling = create_message(request({"messages": [user("hi")], "stream": True}))
    next(handling)
    with pytest.raises(StopIteration) as end:
        handling.send(StartedTurn("t_1", "s_1", 1000.0))
    assert isinstance(end.value.value, StreamReply)
    assert end.value.value.headers == {"request-id": "req_1"}


def reply_of(handling: Any) -> Any:
    with pytest.raises(StopIteration) as end:
        next(handling)
    return end.value.value.body


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ({}, "abcd", False),
        ({"limit": "2"}, "ab", True),
        ({"limit": "2", "after_id": "b"}, "cd", False),
        ({"limit": "2", "before_id": "d"}, "bc", True),
        ({"before_id": "b"}, "a", False),
        ({"after_id": "d"}, "", False),
    ],
)
def test_models_come_in_pages(query: dict[str, str], ids: str, has_more: bool) -> None:
    page = reply_of(list_models(request(None, *map(profile, "abcd"), query=query)))
    assert ["".join(model["id"] for model in page["data"]), page["has_more"]] == [ids, has_more]
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize("query", [{"limit": "0"}, {"limit": "x"}, {"limit": "1001"}, {"after_id": "z"}])
def test_bad_page_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InputsInvalid):
        reply_of(list_models(request(None, query=query)))


def test_model_is_a_chat() -> None:
    model = reply_of(read_model(request(None, path_params={"model": "chat"}, started_at=0.0)))
    assert (model["id"], model["display_name"], model["created_at"]) == ("chat", "Chat", "1970-01-01T00:00:00.000Z")
    with pytest.raises(ChatUnknown):
        reply_of(read_model(request(None, path_params={"model": "other"})))


def test_tokens_are_estimated_from_bytes_messages_and_pictures() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG * 1000}}
    body: dict[str, Any] = {"messages": [user("x" * 40)]}
    assert estimate_tokens(body) == 10 + MESSAGE_TOKENS
    assert estimate_tokens(body | {"system": "y" * 8}) == 12 + MESSAGE_TOKENS
    assert estimate_tokens({"messages": [user(image)]}) == IMAGE_TOKENS + MESSAGE_TOKENS
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 400}}
    assert estimate_tokens({"messages": [user(pdf)]}) == 75 + MESSAGE_TOKENS
    assert estimate_tokens({"messages": [assistant(CALL)]}) == -(-(len("weather") + len('{"city":"Paris"}')) // 4) + 4
    assert estimate_tokens(body | {"tools": [{"name": "f", "input_schema": {}}]}) > 15
