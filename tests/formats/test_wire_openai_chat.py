"""Chat Completions: what requests are read as, and what a turn is told as, streamed, whole, live and replayed."""

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatserve.answers.draft import MessageDraft
from chatserve.contracts.formats import AnswerView, ParsedMessage
from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.turns import TurnRecord
from chatserve.contracts.wire import ChatProfile, FindFiles, JsonReply, KeepFile, RawRequest, StartedTurn, Submit, Wait
from chatserve.core.errors import (
    BodyInvalid,
    ChatserveError,
    ChatUnknown,
    FileUnknown,
    InputsInvalid,
    QueueFull,
    RequestError,
    SessionUnknown,
    ShuttingDown,
    StoreError,
)
from chatserve.core.events import Delta, Done, Event, Failed, NumberedEvent, Snapshot, StatusReported, TurnAccepted
from chatserve.core.types import (
    FilePart,
    LocalFile,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    TurnError,
    Usage,
)
from chatserve.formats.wire.openai_chat import OpenAIChat
from chatserve.formats.wire.openai_chat.completions import Completion, CompletionEncoder, describe
from chatserve.formats.wire.openai_chat.messages import read_messages
from chatserve.formats.wire.openai_chat.requests import CompletionRequest, read_request
from chatserve.settings import Settings
from tests.formats.answers import DELTAS, SNAPSHOTS, normalize_all

PLAIN = ChatProfile("plain", "Plain", "", {}, ("temperature", "max_tokens", "stream", "style"), takes_files=False)
FILES = ChatProfile("files", "Files", "", {}, (), takes_files=True)
CHATS = {"plain": PLAIN, "files": FILES}
TURN = Turn("t_abc", "s_1", "plain", "running", "m_0", 1000.5)
COMPLETION = Completion("t_abc", 1000.5, "plain", "http://host:1")
FORMAT = OpenAIChat(Settings())
PNG = b64encode(b"png").decode()
HI = [{"role": "user", "content": "hi"}]


def request(body: Any = None, headers: dict[str, str] | None = None, **fields: Any) -> RawRequest:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    values: dict[str, Any] = {
        "request_id": "req_1",
        "now": 0.0,
        "started_at": 900.9,
        "base_url": "http://host:1",
    } | fields
    return RawRequest("POST", "/v1/chat/completions", CHATS, headers=headers or {}, body=content, **values)


def play(handling: Any, **outcomes: Any) -> tuple[Any, list[Any]]:
    """Run a handler as the server would; return its reply and the steps it wanted."""
    steps: list[Any] = []
    kept: dict[str, FilePart] = {}
    try:
        step = next(handling)
        while True:
            steps.append(step)
            match step:
                case KeepFile(content, name, media_type):
                    file = FilePart(f"f_{content.decode()}", name, media_type, len(content))
                    step = handling.send(kept.setdefault(file.file_id, file))
                case FindFiles(file_ids):
                    found = (kept.get(each, FilePart(each, "found", "text/plain", 1)) for each in file_ids)
                    step = handling.send(tuple(found))
                case Submit():
                    step = handling.send(StartedTurn("t_abc", "s_1", 1000.5))
                case Wait():
                    step = handling.send(outcomes["record"])
    except StopIteration as end:
        return end.value, steps


def read(body: dict[str, Any], headers: dict[str, str] | None = None) -> CompletionRequest:
    asked, _ = play(read_request(request({"model": "plain", "messages": HI} | body, headers)))
    return asked


def handler(path: str, method: str = "POST") -> Any:
    return next(each.handle for each in FORMAT.endpoints if (each.method, each.path) == (method, path))


# --- messages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "hi", "name": "Ann"}, ParsedMessage("user", (TextPart("hi"),), {"name": "Ann"})),
        ({"role": "user", "content": ""}, ParsedMessage("user", (TextPart(""),))),
        ({"role": "developer", "content": "be brief"}, ParsedMessage("developer", (TextPart("be brief"),))),
        (
            {"role": "system", "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]},
            ParsedMessage("system", (TextPart("be\nbrief"),)),
        ),
        ({"role": "assistant", "content": "yes"}, ParsedMessage("assistant", (TextPart("yes"),))),
        ({"role": "assistant", "content": None}, ParsedMessage("assistant", (TextPart(""),))),
        (
            {"role": "assistant", "content": None, "refusal": "I will not"},
            ParsedMessage("assistant", (TextPart("I will not"),)),
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, {"type": "strange"}]},
            ParsedMessage("assistant", (TextPart("no"),)),
        ),
        (
            {"role": "assistant", "content": "so", "reasoning_content": "hm", "reasoning": "hm"},
            ParsedMessage("assistant", (ReasoningPart("hm"), TextPart("so"))),
        ),
        (
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            ParsedMessage("assistant", (ToolCallPart("c1", "f", "{}"),)),
        ),
        (
            {
                "role": "assistant",
                "content": "wait",
                "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "f", "input": "x"}}],
            },
            ParsedMessage("assistant", (TextPart("wait"), ToolCallPart("c1", "f", "x", kind="custom"))),
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "21"}]},
            ParsedMessage("tool", (ToolResultPart("c1", "21"),)),
        ),
        (
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            ParsedMessage("assistant", (ToolCallPart("f", "f", "{}"),)),
        ),
        (
            {"role": "function", "name": "f", "content": "21"},
            ParsedMessage("tool", (ToolResultPart("f", "21"),)),
        ),
    ],
)
def test_message_is_read_as_chatserve_stores_it(message: dict[str, Any], expected: ParsedMessage) -> None:
    assert read_messages([message]) == (expected,)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            LocalFile(b"png", "image.png", "image/png"),
        ),
        ({"type": "image_url", "image_url": "data:image/png,png"}, LocalFile(b"png", "image.png", "image/png")),
        ({"type": "image_url", "image_url": {"url": "/files/f_1"}}, FilePart("f_1", "", "", 0)),
        ({"type": "image_url", "image_url": {"url": "http://host:1/files/f_1"}}, FilePart("f_1", "", "", 0)),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}},
            LocalFile(b"png", "audio.mp3", "audio/mpeg"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
            LocalFile(b"png", "audio.wav", "audio/wav"),
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"}},
            LocalFile(b"png", "a.pdf", "application/pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": PNG, "filename": "a.bin"}},
            LocalFile(b"png", "a.bin", "application/octet-stream"),
        ),
        ({"type": "file", "file": {"file_id": "f_1"}}, FilePart("f_1", "", "", 0)),
    ],
)
def test_file_inside_a_message_stands_behind_its_words(part: dict[str, Any], expected: Any) -> None:
    content = [part, {"type": "text", "text": "look"}]
    (message,) = read_messages([{"role": "user", "content": content}], "http://host:1")
    words, file = message.content
    assert words == TextPart("look")
    assert file == expected


def test_results_that_stand_together_are_one_message() -> None:
    given = [{"role": "tool", "tool_call_id": each, "content": each} for each in ("c1", "c2")]
    read = read_messages([*given, {"role": "assistant", "content": "so"}, given[0]])
    assert read[0] == ParsedMessage("tool", (ToolResultPart("c1", "c1"), ToolResultPart("c2", "c2")))
    assert [message.role for message in read] == ["tool", "assistant", "tool"]


def test_address_of_an_earlier_picture_stays_a_link_and_is_not_fetched() -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://elsewhere/a.png"}}]}
    earlier, _ = read_messages([picture, *HI])
    assert earlier.content == (SourcePart("http://elsewhere/a.png"),)


def content(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [*HI, {"role": "bot", "content": "hi"}]}, "messages[1].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (content("hi"), "messages[0].content[0].type"),
        (content({"type": "video"}), "messages[0].content[0].type"),
        (content({"type": "text"}), "messages[0].content[0].text"),
        (content({"type": "image_url"}), "messages[0].content[0].image_url.url"),
        (content({"type": "image_url", "image_url": {"url": "http://x/y"}}), "messages[0].content[0].image_url.url"),
        (content({"type": "image_url", "image_url": {"url": "file:///x"}}), "messages[0].content[0].image_url.url"),
        (content({"type": "input_audio", "input_audio": {}}), "messages[0].content[0].input_audio"),
        (
            content({"type": "input_audio", "input_audio": {"format": "wav", "data": "%"}}),
            "messages[0].content[0].input_audio.data",
        ),
        (content({"type": "file"}), "messages[0].content[0].file"),
        (content({"type": "file", "file": {}}), "messages[0].content[0].file.file_data"),
        ({"messages": [{"role": "tool", "content": "21"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": "f"}, *HI]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}, *HI]}, "messages[0].tool_calls[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f"}}]}, *HI]},
            "messages[0].tool_calls[0]",
        ),
        ({"tools": "all"}, "tools"),
        ({"tools": ["f"]}, "tools"),
        ({"model": 5}, "model"),
        ({"session_id": 5}, "session_id"),
        ({"metadata": {"session_id": 5}}, "metadata.session_id"),
    ],
)
def test_broken_request_is_refused_with_the_field_that_is_wrong(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InputsInvalid) as refused:
        read(body)
    reply = FORMAT.refuse(refused.value, request())
    assert isinstance(reply, JsonReply)
    assert reply.status_code == 400
    assert reply.body["error"] | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": param,
        "code": "inputs_invalid",
    }
    assert reply.headers == {"x-request-id": "req_1", "x-should-retry": "false"}


@pytest.mark.parametrize("after", [[], [{"role": "system", "content": "be brief"}]])
def test_file_for_a_chat_that_takes_none_is_refused(after: list[Any]) -> None:
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    with pytest.raises(InputsInvalid, match="takes no files"):
        read({"messages": [{"role": "user", "content": [picture]}, *after]})


# --- requests ----------------------------------------------------------------------------------------------------


def test_everything_before_the_last_user_message_is_the_history() -> None:
    messages = [{"role": "system", "content": "be brief"}, *HI, {"role": "assistant", "content": "yes"}, *HI]
    call = read({"messages": messages}).call
    assert call.text == "hi"
    assert call.history == read_messages(messages)[:3]
    assert not call.is_kept
    assert call.on_disconnect == "stop"


def test_results_of_tools_are_the_message() -> None:
    calls = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": [calls]},
        {"role": "tool", "tool_call_id": "c1", "content": "21"},
    ]
    call = read({"messages": messages}).call
    assert call.tool_results == (ToolResultPart("c1", "21"),)
    assert call.text == ""
    assert [message.role for message in call.history or ()] == ["user", "assistant"]


def test_files_are_kept_and_those_named_by_id_looked_up() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"file_id": "f_1"}},
    ]
    asked, steps = play(read_request(request({"model": "files"} | content(*parts))))
    assert (
        asked.call.files
        == (FilePart("f_1", "found", "text/plain", 1), FilePart("f_png", "image.png", "image/png", 3))[::-1]
    )
    assert [type(step) for step in steps] == [KeepFile, FindFiles]


def test_files_of_the_history_are_left_to_be_looked_up_with_it() -> None:
    earlier = {"role": "user", "content": [{"type": "file", "file": {"file_id": "f_1"}}]}
    asked, steps = play(read_request(request({"model": "files", "messages": [earlier, *HI]})))
    assert asked.call.history == (ParsedMessage("user", (FilePart("f_1", "", "", 0),)),)
    assert steps == []


def test_fields_named_like_an_input_fill_it_and_all_others_are_params() -> None:
    call = read({"temperature": 1.5, "style": None, "top_p": 0.5, "n": 3, "user": "ann", "stream": False}).call
    assert call.inputs == {"temperature": 1.5}
    assert call.params == {"style": None, "top_p": 0.5, "n": 3, "user": "ann"}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_limit_of_tokens_fills_the_input_under_its_old_and_its_new_name(name: str) -> None:
    assert read({name: 5}).call.inputs == {"max_tokens": 5}


def test_tools_are_handed_on_as_they_came() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    assert read({"tools": [tool]}).call.tools == (tool,)


def test_missing_model_means_the_first_chat() -> None:
    assert read({"model": None}).call.chat == "plain"


@pytest.mark.parametrize(
    ("body", "streamed", "usage"),
    [
        ({}, False, False),
        ({"stream": True}, True, False),
        ({"stream": True, "stream_options": {"include_usage": True}}, True, True),
        ({"stream": True, "stream_options": None}, True, False),
    ],
)
def test_stream_and_usage_are_asked_for(body: dict[str, Any], streamed: bool, usage: bool) -> None:
    asked = read(body)
    assert (asked.is_streamed, asked.includes_usage) == (streamed, usage)


# --- sessions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "body", "key"),
    [
        ({}, {}, None),
        ({}, {"user": "ann", "prompt_cache_key": "k", "metadata": None}, None),
        ({"x-openwebui-chat-id": "a"}, {}, "a"),
        ({"x-conversation-id": "a"}, {}, "a"),
        ({"x-librechat-conversation-id": "a"}, {}, "a"),
        ({"x-session-id": "s_1", "x-openwebui-chat-id": "a"}, {"session_id": "b"}, "s_1"),
        ({"x-conversation-id": "b", "x-openwebui-chat-id": "a"}, {}, "a"),
        ({"x-conversation-id": "a"}, {"session_id": "b"}, "a"),
        ({}, {"session_id": "a", "metadata": {"session_id": "b"}}, "a"),
        ({}, {"metadata": {"session_id": "b"}}, "b"),
        ({"x-librechat-conversation-id": "new"}, {}, None),
        ({"x-librechat-conversation-id": " "}, {"session_id": "b"}, "b"),
        ({"x-librechat-conversation-id": "{{LIBRECHAT_BODY_CONVERSATIONID}}"}, {}, None),
        ({"x-openwebui-chat-id": "local:abc"}, {}, None),
    ],
)
def test_session_is_named_by_the_most_explicit_of_its_sources(
    headers: dict[str, str], body: dict[str, Any], key: str | None
) -> None:
    call = read(body, headers).call
    assert call.session_key == key
    assert call.is_kept is (key is not None)
    assert call.history == ()


@pytest.mark.parametrize(
    ("headers", "question", "key"),
    [
        ({"x-openwebui-chat-id": "a", "x-openwebui-task": "title_generation"}, "hi", None),
        ({"x-session-id": "a", "x-openwebui-task": "tags_generation"}, "hi", None),
        ({"x-openwebui-chat-id": "a", "x-openwebui-task": ""}, "hi", "a"),
        ({"x-openwebui-chat-id": "a", "x-openwebui-task": "{{TASK}}"}, "hi", "a"),
        ({"x-openwebui-chat-id": "a"}, "### Task:\nSuggest follow-ups\n<chat_history>", None),
        ({"x-openwebui-chat-id": "a"}, "### Task:\nRespond to the user query using the context", "a"),
        ({"x-librechat-conversation-id": "a"}, "Provide a concise, 5-word-or-less title for the conversation", None),
        (
            {"x-conversation-id": "a"},
            "Analyze this conversation and provide:\n1. The detected language of the conversation",
            None,
        ),
        ({"x-session-id": "a"}, "### Task:\nwrite a poem", "a"),
    ],
)
def test_what_a_front_end_asks_for_itself_belongs_to_no_session(
    headers: dict[str, str], question: str, key: str | None
) -> None:
    assert read({"messages": [{"role": "user", "content": question}]}, headers).call.session_key == key


# --- endpoints ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "prefixes"),
    [("/openai", {"/v1", "/openai"}), ("/llm/", {"/v1", "/llm"}), ("", {"/v1"}), ("/v1", {"/v1"})],
)
def test_endpoints_stand_below_both_prefixes(prefix: str, prefixes: set[str]) -> None:
    endpoints = OpenAIChat(Settings(openai_prefix=prefix)).endpoints
    paths = [(endpoint.method, endpoint.path) for endpoint in endpoints]
    each = [("GET", "/models"), ("GET", "/models/{model:path}"), ("POST", "/chat/completions")]
    each.append(("POST", "/completions"))
    assert sorted(paths) == sorted((method, before + path) for before in prefixes for method, path in each)


def test_models_are_the_chats() -> None:
    reply, _ = play(handler("/v1/models", "GET")(request(b"")))
    assert reply.body == {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 900, "owned_by": "chatserve", "name": name.capitalize()}
            for name in CHATS
        ],
    }
    one, _ = play(handler("/openai/models/{model:path}", "GET")(request(b"", path_params={"model": "files"})))
    assert one.body == reply.body["data"][1]


@pytest.mark.parametrize(
    ("path", "fields"), [("/v1/models/{model:path}", {"path_params": {"model": "x"}}), ("/v1/chat/completions", {})]
)
def test_unknown_model_is_not_found(path: str, fields: dict[str, Any]) -> None:
    raw = request({"model": "x", "messages": HI}, **fields)
    with pytest.raises(ChatUnknown) as refused:
        play(handler(path, "GET" if fields else "POST")(raw))
    reply = FORMAT.refuse(refused.value, raw)
    assert isinstance(reply, JsonReply)
    assert reply.status_code == 404
    assert reply.body["error"]["code"] == "model_not_found"
    assert reply.body["error"]["param"] == "model"


@pytest.mark.parametrize(
    ("error", "status_code", "kind", "headers"),
    [
        (BodyInvalid("no JSON"), 400, "invalid_request_error", {"x-should-retry": "false"}),
        (SessionUnknown("no session"), 404, "invalid_request_error", {"x-should-retry": "false"}),
        (FileUnknown("no file"), 404, "invalid_request_error", {"x-should-retry": "false"}),
        (QueueFull("full"), 429, "rate_limit_error", {"retry-after": "1"}),
        (ShuttingDown("bye"), 503, "server_error", {"retry-after": "5"}),
        (StoreError("away"), 503, "server_error", {"retry-after": "2"}),
        (RequestError("odd"), 400, "invalid_request_error", {"x-should-retry": "false"}),
    ],
)
def test_refusal_says_what_and_whether_to_try_again(
    error: ChatserveError, status_code: int, kind: str, headers: dict[str, str]
) -> None:
    reply = FORMAT.refuse(error, request())
    assert isinstance(reply, JsonReply)
    told = {"message": error.detail, "type": kind, "param": None, "code": error.code}
    assert (reply.status_code, reply.body) == (status_code, {"error": told})
    assert reply.headers == {"x-request-id": "req_1"} | headers


def test_body_that_is_no_json_is_refused() -> None:
    with pytest.raises(BodyInvalid):
        play(handler("/v1/chat/completions")(request(b'{"messages": "\\ud83d"}')))


def test_wrong_input_is_named_as_the_client_named_it() -> None:
    errors = [{"field": "inputs.temperature", "message": "too hot"}]
    reply = FORMAT.refuse(InputsInvalid("inputs.temperature: too hot", errors=errors), request())
    assert isinstance(reply, JsonReply)
    assert reply.body["error"]["message"] == "temperature: too hot"
    assert reply.body["error"]["param"] == "temperature"


def test_streamed_request_is_answered_with_a_stream_of_its_turn() -> None:
    reply, steps = play(handler("/v1/chat/completions")(request({"messages": HI, "stream": True})))
    assert isinstance(reply, StreamReply)
    assert reply.source == OfTurn("t_abc")
    assert [type(step) for step in steps] == [Submit]


def test_failed_turn_is_an_error_that_is_not_tried_again() -> None:
    error = TurnError("chat_error", "not today", "e_1", status_code=403)
    failed = TurnRecord(Turn("t_abc", "s_1", "plain", "failed", "m_0", 1000.5, error=error), None, ())
    reply, _ = play(handler("/v1/chat/completions")(request({"messages": HI})), record=failed)
    assert reply.status_code == 403
    assert reply.headers["x-should-retry"] == "false"
    assert reply.body["error"] == {
        "message": "not today",
        "type": "permission_error",
        "param": None,
        "code": "chat_error",
        "error_id": "e_1",
    }


# --- answers -----------------------------------------------------------------------------------------------------


def events_of(values: Iterable[Any], usage: Usage | None = None, view: AnswerView = SNAPSHOTS) -> list[Event]:
    """Return the events of a turn whose function yields these values."""
    numbers = iter(range(10_000))
    draft = MessageDraft(TURN, new_message_id=lambda: f"m_{next(numbers)}", clock=lambda: 1000.5, max_bytes=1 << 20)
    events: list[Event] = [TurnAccepted(TURN, None, 1)]
    for output in normalize_all(values, view):
        events.extend(draft.apply(output))
    events.extend(draft.close())
    reason = draft.finish_reason or ("tool_calls" if draft.awaits_tools else "stop")
    return [*events, Done("t_abc", "completed", reason, draft.messages(), usage)]


def record_of(events: Sequence[Event]) -> TurnRecord:
    done = events[-1]
    assert isinstance(done, Done)
    turn = Turn("t_abc", "s_1", "plain", done.status, "m_0", 1000.5, finish_reason=done.finish_reason, usage=done.usage)
    return TurnRecord(turn, None, done.messages)


def encode(events: Iterable[Event], *, includes_usage: bool = False) -> bytes:
    encoder = CompletionEncoder(COMPLETION, includes_usage=includes_usage)
    return b"".join(encoder.encode(NumberedEvent(seq, "t_abc", event)) for seq, event in enumerate(events, 1))


def frames(stream: bytes) -> list[Any]:
    """Return the frames of a stream; what is no JSON stays text."""
    assert stream.endswith(b"\n\n")
    texts = [block.removeprefix("data: ") for block in stream.decode().split("\n\n")[:-1]]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


def message_of(chunks: Iterable[Any]) -> dict[str, Any]:
    """Return what a client adds the chunks up to."""
    message: dict[str, Any] = {}
    for chunk in chunks:
        for choice in [] if chunk == "[DONE]" else chunk["choices"]:
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    _add_calls(message.setdefault(name, []), value)
                elif isinstance(value, str):
                    message[name] = message.get(name, "") + value
                else:
                    message[name] = value
    return message


def _add_calls(calls: list[Any], pieces: list[Any]) -> None:
    for piece in pieces:
        if piece["index"] == len(calls):
            calls.append({"id": piece["id"], "type": piece["type"], "function": dict(piece["function"])})
        else:
            assert piece.keys() == {"index", "function"}
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def deltas_of(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in frames(encode(events)) if chunk != "[DONE]" and chunk["choices"]]


THOUGHT = {"content": "in the index", "metadata": {"title": "Searching"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"q": 1}'}}
PICTURE = {"type": "file", "file_id": "f_1", "name": "a [1].png", "media_type": "image/png"}
DOCUMENT = {"type": "file", "file_id": "f_2", "name": "b.pdf", "media_type": "application/pdf"}
SOURCE = {"type": "source", "url": "https://a.example", "title": "A"}
OWN_CALL = {"type": "tool_call", "tool_call_id": "c9", "name": "own", "arguments": "{}", "where": "server"}
OWN_RESULT = {"type": "tool_result", "tool_call_id": "c9", "output": "secret"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


SCENARIOS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "words": (["He", "Hello"], {"content": "Hello"}),
    "nothing": ([], {"content": ""}),
    "line ends": (["a\u2028b\u2029c\x85d\r\n\ne"], {"content": "a\u2028b\u2029c\x85d\r\n\ne"}),
    "emoji": (["😀", "😀é"], {"content": "😀é"}),
    "half a character": (["\ud83d", "\ud83d!"], {"content": "\ufffd!"}),
    "several messages": ([["one"], ["one", "two"]], {"content": "one\n\ntwo"}),
    "reasoning": (
        [{"content": [{"type": "reasoning", "text": "hm"}, text("so")]}],
        {"content": "so", "reasoning_content": "hm", "reasoning": "hm"},
    ),
    "thoughts": (
        [[THOUGHT], [THOUGHT, THOUGHT], [THOUGHT, THOUGHT, "so"]],
        dict.fromkeys(("reasoning_content", "reasoning"), "Searching\nin the index\n\nSearching\nin the index")
        | {"content": "so"},
    ),
    "files": (
        [{"content": [text("see"), PICTURE, DOCUMENT, text("bye")]}],
        {"content": "see\n\n![a \\[1\\].png](http://host:1/files/f_1)\n\n[b.pdf](http://host:1/files/f_2)\n\nbye"},
    ),
    "a file alone": ([{"content": [DOCUMENT]}], {"content": "[b.pdf](http://host:1/files/f_2)"}),
    "sources": (
        [{"content": [text("see"), SOURCE, text(" bye")]}],
        {
            "content": "see bye",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {"start_index": 3, "end_index": 3, "url": "https://a.example", "title": "A"},
                }
            ],
        },
    ),
    "a call": ([{"content": None, "tool_calls": [CALL]}], {"content": None, "tool_calls": [CALL]}),
    "a call without arguments": (
        [{"content": None, "tool_calls": [CALL | {"function": {"name": "now", "arguments": ""}}]}],
        {"content": None, "tool_calls": [CALL | {"function": {"name": "now", "arguments": "{}"}}]},
    ),
    "words and calls": (
        [{"content": "wait", "tool_calls": [CALL, CALL | {"id": "c2"}]}],
        {"content": "wait", "tool_calls": [CALL, CALL | {"id": "c2"}]},
    ),
    "calls of the server's tools": ([{"content": [OWN_CALL, OWN_RESULT, text("so")]}], {"content": "so"}),
    "a call the function answers itself": (
        [
            [{"role": "assistant", "content": "wait", "tool_calls": [CALL]}],
            [
                {"role": "assistant", "content": "wait", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "21"},
                "so",
            ],
        ],
        {"content": "wait\n\nso"},
    ),
    "a call that is taken back": (
        [{"content": "wait", "tool_calls": [CALL]}, "wait for nothing"],
        {"content": "wait for nothing"},
    ),
    "data that grows": ([{"weight": 3}, {"weight": 3, "unit": "kg"}], {"content": '{"weight":3,"unit":"kg"}'}),
    "data": ([{"weight": 3}], {"content": '{"weight":3}'}),
    "words and data": ([{"content": ["see", {"type": "data", "data": {"weight": 3}}]}], {"content": "see"}),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_stream_and_document_say_the_same(name: str) -> None:
    values, expected = SCENARIOS[name]
    events = events_of(values, Usage(3, 4))
    whole = describe(record_of(events), COMPLETION)
    *chunks, end = frames(encode(events))
    streamed = message_of(chunks)
    message = whole["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "", "refusal": None, "annotations": []} | expected
    assert streamed | {"content": streamed["content"] or message["content"]} == {
        name: value for name, value in message.items() if value != []
    }
    assert end == "[DONE]"
    reason = "tool_calls" if "tool_calls" in expected else "stop"
    assert whole["choices"][0]["finish_reason"] == chunks[-1]["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize("name", SCENARIOS)
def test_replay_has_the_same_bytes_and_no_line_end_within_a_frame(name: str) -> None:
    events = events_of(SCENARIOS[name][0])
    stream = encode(events)
    assert stream == encode(events)
    assert len(stream.decode().splitlines()) == stream.count(b"\n")


@pytest.mark.parametrize("name", SCENARIOS)
def test_reader_who_comes_too_late_gets_all_at_once(name: str) -> None:
    events = events_of(SCENARIOS[name][0])
    record = record_of(events)
    late = frames(encode(record.as_events()))
    streamed, whole = message_of(late[:-1]), describe(record, COMPLETION)["choices"][0]["message"]
    assert streamed["content"] == (whole["content"] or "")
    assert streamed.get("tool_calls") == whole.get("tool_calls")
    assert streamed.get("reasoning") == whole.get("reasoning")
    assert late[-1] == "[DONE]"


def test_document_has_all_that_libraries_want() -> None:
    assert describe(record_of(events_of(["hi"], Usage(3, 4))), COMPLETION) == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 1000,
        "model": "plain",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def test_every_chunk_has_the_same_head_and_only_the_first_a_role() -> None:
    *chunks, _ = frames(encode(events_of(["a", "ab"])))
    assert {json.dumps({name: chunk[name] for name in ("id", "object", "created", "model")}) for chunk in chunks} == {
        '{"id": "chatcmpl-abc", "object": "chat.completion.chunk", "created": 1000, "model": "plain"}'
    }
    assert [chunk["choices"] for chunk in chunks] == [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        for delta, reason in (
            ({"role": "assistant", "content": "", "refusal": None}, None),
            ({"content": "a"}, None),
            ({"content": "b"}, None),
            ({}, "stop"),
        )
    ]
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_comes_last_when_it_is_asked_for() -> None:
    *chunks, last, end = frames(encode(events_of(["a"], Usage(3, 4)), includes_usage=True))
    assert [chunk["usage"] for chunk in chunks] == [None] * 3
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert end == "[DONE]"


def test_usage_the_function_did_not_tell_is_zero() -> None:
    *_, last, _ = frames(encode(events_of(["a"]), includes_usage=True))
    assert last["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def piece(index: int, call_id: str | None, arguments: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments} if call_id else {"arguments": arguments}
    call = {"index": index, "function": function} | ({"id": call_id, "type": "function"} if call_id else {})
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}],
    }


def test_parallel_calls_are_told_as_their_arguments_stream_with_their_ids_once() -> None:
    pieces = [(0, "c1", ""), (0, None, '{"q":'), (1, "c2", '{"q"'), (0, None, "1}"), (1, None, ":2}")]
    deltas = deltas_of(events_of([piece(*each) for each in pieces]))
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [(call["index"], call.get("id"), call["function"]["arguments"]) for call in calls] == [
        (0, "c1", ""),
        (0, None, '{"q":'),
        (0, None, "1}"),
        (1, "c2", '{"q"'),
        (1, None, ":2}"),
    ]


def test_call_that_was_told_and_answered_by_the_function_does_not_ask_the_client() -> None:
    whole = [piece(0, "c1", ""), piece(0, None, "{}")]
    result = {"role": "tool", "tool_call_id": "c1", "content": "21"}
    *_, last, _ = frames(encode(events_of([*whole, result], view=DELTAS)))
    assert last["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("status", "given", "told"),
    [
        ("completed", "stop", "stop"),
        ("completed", "length", "length"),
        ("completed", "content_filter", "content_filter"),
        ("completed", "tool_calls", "stop"),
        ("completed", "anything", "stop"),
        ("stopped", "stopped", "stop"),
        ("interrupted", "superseded", "stop"),
    ],
)
def test_end_has_a_reason_of_the_protocol(status: Any, given: str, told: str) -> None:
    events = [*events_of(["so far"])[:-1], Done("t_abc", status, given, ())]
    *_, last, end = frames(encode(events))
    assert (last["choices"][0]["finish_reason"], end) == (told, "[DONE]")
    assert describe(record_of(events), COMPLETION)["choices"][0]["finish_reason"] == told


def test_call_of_an_answer_that_was_stopped_is_left_out() -> None:
    events = [*events_of([{"content": None, "tool_calls": [CALL]}])[:-1], Done("t_abc", "stopped", "stopped", ())]
    assert not any("tool_calls" in delta for delta in deltas_of(events))


def test_failure_in_mid_stream_is_an_error_and_the_end() -> None:
    error = TurnError("chat_function_failed", "the chat function failed", "e_1")
    events = [*events_of(["so far"])[:-1], Failed(error), Done("t_abc", "failed", "error", ())]
    *chunks, last = frames(encode(events))
    assert message_of(chunks)["content"] == "so far"
    assert last == {
        "error": {
            "message": "the chat function failed",
            "type": "server_error",
            "param": None,
            "code": "chat_function_failed",
            "error_id": "e_1",
        }
    }


def test_late_reader_of_a_failed_turn_is_told_why() -> None:
    error = TurnError("chat_error", "not today", "e_1", status_code=422)
    record = TurnRecord(Turn("t_abc", "s_1", "plain", "failed", None, 1000.5, error=error), None, ())
    *_, last = frames(encode(record.as_events()))
    assert last["error"]["message"] == "not today"


def test_failed_turn_nothing_is_known_of_is_an_error_too() -> None:
    *_, last = frames(encode([TurnAccepted(TURN, None, 1), Done("t_abc", "failed", "error", ())]))
    assert last["error"]["code"] == "internal_error"


def test_stream_of_a_server_that_goes_away_ends_with_an_error() -> None:
    (farewell,) = frames(CompletionEncoder(COMPLETION).farewell())
    assert farewell["error"]["code"] == "shutting_down"


def test_replaced_text_is_told_after_a_break() -> None:
    assert message_of(frames(encode(events_of(["Tea?", "Coffee?"]))))["content"] == "Tea?\n\nCoffee?"


def test_answer_that_is_rewritten_in_mid_stream_tells_what_is_new() -> None:
    events = events_of([["one", "two"], ["one"], ["one", "three"]])
    assert any(isinstance(event, Snapshot) for event in events)
    assert message_of(frames(encode(events)))["content"] == "one\n\ntwo\n\nthree"


def test_status_is_not_told_but_opens_the_answer() -> None:
    deltas = deltas_of([StatusReported("searching"), StatusReported("still searching")])
    assert deltas == [{"role": "assistant", "content": "", "refusal": None}]


TEXTS = st.text(st.sampled_from([*'ab \n\r"{', "é", "\u2028", "\x85", "😀", "\ud83d"]), max_size=6)
PARTS = st.one_of(TEXTS.map(text), TEXTS.map(lambda words: {"type": "reasoning", "text": words}), st.just(PICTURE))
MESSAGES = st.lists(st.lists(PARTS, max_size=3).map(lambda parts: {"content": parts}), max_size=3)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.one_of(TEXTS, MESSAGES), max_size=6))
def test_whatever_is_answered_the_stream_is_of_the_protocol_and_ends(values: list[Any]) -> None:
    events = events_of(values)
    stream = encode(events)
    *chunks, end = frames(stream)
    assert end == "[DONE]"
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert len(stream.decode().splitlines()) == stream.count(b"\n")


@settings(max_examples=100, deadline=None)
@given(pieces=st.lists(TEXTS, max_size=6))
def test_short_way_of_a_delta_has_the_bytes_of_the_long_one(pieces: list[str]) -> None:
    pieces = [piece.encode("utf-8", "replace").decode() for piece in pieces if piece]
    opening = events_of([""])[:2]
    fast, slow = CompletionEncoder(COMPLETION), CompletionEncoder(COMPLETION)
    for encoder in (fast, slow):
        for event in opening:
            encoder.encode(NumberedEvent(1, "t_abc", event))
    for words in pieces:
        numbered = NumberedEvent(2, "t_abc", Delta(words))
        assert fast.encode(numbered) == b"".join(slow._frames(numbered))
