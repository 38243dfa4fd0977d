"""Responses: what requests are read as, where their turns go, what is kept of them, and how they are refused."""

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.streams import OfTurn, StreamReply
from chatserve.contracts.turns import TurnRecord
from chatserve.contracts.wire import (
    ChatProfile,
    FindFiles,
    FindMessage,
    FindTurn,
    ForgetTurn,
    JsonReply,
    KeepFile,
    RawRequest,
    ReadBranch,
    StartedTurn,
    StopTurn,
    Submit,
    Wait,
)
from chatserve.core.errors import (
    ChatserveError,
    ChatUnknown,
    InputsInvalid,
    MessageUnknown,
    QueueFull,
    SessionUnknown,
    StoreError,
    TurnUnknown,
)
from chatserve.core.types import DataPart, FilePart, Message, TextPart, ToolCallPart, ToolResultPart, Turn, TurnError
from chatserve.formats.wire.openai_responses import OpenAIResponses
from chatserve.formats.wire.openai_responses.documents import response_object
from chatserve.formats.wire.openai_responses.echo import DEFAULTS, MAX_BYTES, echo_of
from chatserve.formats.wire.openai_responses.encode import ResponseEncoder
from chatserve.formats.wire.openai_responses.requests import ResponseRequest, read_request
from chatserve.settings import Settings

PLAIN = ChatProfile("plain", "Plain", "", {}, ("temperature", "stream"), takes_files=False)
FILES = ChatProfile("files", "Files", "", {}, (), takes_files=True)
CHATS = {"plain": PLAIN, "files": FILES}
FORMAT = OpenAIResponses(Settings())
PNG = b64encode(b"png").decode()
BRANCH = (
    Message("m_1", "user", (TextPart("a"),), 1),
    Message("m_2", "assistant", (TextPart("b"), ToolCallPart("c1", "f", "{}")), 2, turn_id="t_1"),
)
DONE = Turn("t_1", "s_1", "plain", "completed", "m_1", 1, 2, echo={"is_chain": True})
RECORD = TurnRecord(DONE, BRANCH[0], BRANCH[1:])
HI = ParsedMessage("user", (TextPart("hi"),))


def request(body: Any = None, method: str = "POST", **fields: Any) -> RawRequest:
    content = b"" if body is None else json.dumps(body).encode()
    return RawRequest(method, "/v1/responses", CHATS, request_id="req_1", now=0.0, body=content, **fields)


def play(handling: Any, **outcomes: Any) -> tuple[Any, list[Any]]:
    """Run a handler as the server would; return its reply and the steps it wanted."""
    steps: list[Any] = []
    try:
        step = next(handling)
        while True:
            steps.append(step)
            outcome = outcome_of(step, outcomes)
            step = handling.throw(outcome) if isinstance(outcome, Exception) else handling.send(outcome)
    except StopIteration as end:
        return end.value, steps


def outcome_of(step: Any, outcomes: dict[str, Any]) -> Any:  # noqa: PLR0911 - one line per step
    match step:
        case KeepFile(content, name, media_type):
            return FilePart(f"f_{content.decode()}", name, media_type, len(content))
        case FindFiles(file_ids):
            return tuple(FilePart(each, "found", "text/plain", 1) for each in file_ids)
        case FindTurn("t_1") | StopTurn("t_1") | Wait():
            return outcomes.get("record", RECORD)
        case FindTurn() | StopTurn():
            return TurnUnknown("no turn")
        case ReadBranch():
            return outcomes.get("branch", BRANCH)
        case FindMessage("m_2"):
            return BRANCH[1]
        case FindMessage():
            return MessageUnknown("no message")
        case Submit():
            return StartedTurn("t_1", "s_1", 1)
        case ForgetTurn():
            return outcomes["left"]
        case _:
            return None


def read(body: dict[str, Any], **outcomes: Any) -> ResponseRequest:
    asked, _ = play(read_request(request({"model": "plain", "input": "hi"} | body)), **outcomes)
    assert isinstance(asked, ResponseRequest)
    return asked


def handler(path: str, method: str = "POST") -> Any:
    return next(each.handle for each in FORMAT.endpoints if (each.method, each.path) == (method, path))


# --- where a turn goes -------------------------------------------------------------------------------------------


def test_text_begins_a_session() -> None:
    call = read({}).call
    assert (call.chat, call.text, call.history, call.session_key, call.is_kept) == ("plain", "hi", None, None, True)


def test_previous_response_is_followed_behind_its_last_message() -> None:
    call = read({"previous_response_id": "resp_1"}).call
    assert (call.session_key, call.target_message_id, call.history) == ("s_1", "m_2", None)
    no_answer = read({"previous_response_id": "resp_1"}, record=TurnRecord(DONE, BRANCH[0], ())).call
    assert no_answer.target_message_id == "m_1"


def test_conversation_is_a_session_or_a_key() -> None:
    assert read({"conversation": "conv_1"}).call.session_key == "s_1"
    assert read({"conversation": {"id": "my thread"}}).call.session_key == "my thread"
    assert read({"conversation": "s_1"}).call.session_key == "s_1"


def test_what_is_not_stored_is_given_its_history() -> None:
    call = read({"previous_response_id": "resp_1", "store": False}).call
    assert (call.is_kept, call.session_key, call.history) == (False, None, BRANCH)
    assert (call.on_disconnect, read({}).call.on_disconnect) == ("stop", None)
    assert read({"store": False}).call.history == ()
    unmade = play(
        read_request(request({"conversation": "new", "input": "hi", "store": False})), branch=SessionUnknown("none")
    )[0]
    assert unmade.call.history == ()


def test_more_items_join_the_history_that_is_there() -> None:
    items = [{"role": "user", "content": "and"}, {"role": "user", "content": "hi"}]
    call = read({"previous_response_id": "resp_1", "input": items}).call
    assert call.history == (*BRANCH, ParsedMessage("user", (TextPart("and"),)))
    assert (call.echo or {})["input_count"] == 1


def test_items_that_are_known_already_are_not_repeated() -> None:
    items = [
        {"type": "item_reference", "id": "msg_2"},
        {"type": "message", "id": "msg_2", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"type": "function_call", "id": "fc_2", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sun"},
    ]
    call = read({"previous_response_id": "resp_1", "input": items}).call
    assert (call.history, call.target_message_id) == (None, "m_2")
    assert call.tool_results == (ToolResultPart("c1", "sun"),)


def test_instructions_stand_before_the_history_and_are_a_param() -> None:
    call = read({"instructions": "Be brief."}).call
    assert call.preface == (ParsedMessage("system", (TextPart("Be brief."),)),)
    assert (call.history, call.params["instructions"]) == (None, "Be brief.")


def test_fields_fill_inputs_and_all_others_are_params() -> None:
    call = read({"temperature": 0.2, "top_p": None, "x": 1, "metadata": {}, "stream": True}).call
    assert call.inputs == {"temperature": 0.2}
    assert call.params == {"top_p": None, "x": 1, "metadata": {}}


def test_tools_have_the_shape_of_chat_completions() -> None:
    nested = {"type": "function", "function": {"name": "f", "parameters": {}}}
    tools = [{"type": "function", "name": "f", "parameters": {}}, nested, {"type": "web_search"}]
    assert read({"tools": tools}).call.tools == (nested, nested, {"type": "web_search"})


def test_background_goes_on_alone() -> None:
    asked = read({"background": True, "stream": True})
    assert (asked.is_background, asked.is_streamed, asked.call.is_detached) == (True, True, True)


@pytest.mark.parametrize("status", ["running", "queued"])
def test_open_response_cannot_be_followed(status: Any) -> None:
    with pytest.raises(ChatserveError) as error:
        read({"previous_response_id": "resp_1"}, record=TurnRecord(replace(DONE, status=status), BRANCH[0], ()))
    reply = FORMAT.refuse(error.value, request())
    assert isinstance(reply, JsonReply)
    assert (reply.status_code, reply.body["error"]["code"]) == (409, "previous_response_in_progress")
    assert "x-should-retry" not in reply.headers


# --- items -------------------------------------------------------------------------------------------------------


def messages(items: Any) -> list[ParsedMessage | Message]:
    """Return the history that items before a message are read as."""
    call = read({"model": "files", "input": [*items, {"role": "user", "content": "hi"}]}).call
    return list(call.history or ())


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"role": "developer", "content": "x"}], [ParsedMessage("developer", (TextPart("x"),))]),
        (
            [{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
            [ParsedMessage("assistant", (TextPart("no"),))],
        ),
        (
            [
                {"role": "assistant", "content": "b"},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "c2", "name": "g"},
                {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "sun"}]},
            ],
            [
                ParsedMessage(
                    "assistant", (TextPart("b"), ToolCallPart("c1", "f", "{}"), ToolCallPart("c2", "g", "{}"))
                ),
                ParsedMessage("tool", (ToolResultPart("c1", "sun"),)),
            ],
        ),
        (
            [{"type": "mcp_call", "id": "mcp_9", "name": "f", "arguments": "{}", "output": "sun", "error": None}],
            [ParsedMessage("assistant", (ToolCallPart("mcp_9", "f", "{}", "server"), ToolResultPart("mcp_9", "sun")))],
        ),
        ([{"type": "reasoning", "id": "rs_9", "summary": []}], []),
        (
            [
                {"type": "custom_tool_call", "id": "ctc_9", "call_id": "c1", "name": "sql", "input": "select 1"},
                {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"},
            ],
            [
                ParsedMessage("assistant", (ToolCallPart("c1", "sql", "select 1", kind="custom"),)),
                ParsedMessage("tool", (ToolResultPart("c1", "1"),)),
            ],
        ),
        (
            [{"type": "function_call", "call_id": "c1", "namespace": "crm", "name": "find", "arguments": "{}"}],
            [ParsedMessage("assistant", (ToolCallPart("c1", "crm__find", "{}"),))],
        ),
        (
            [
                *[{"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}] * 2,
                *[{"type": "function_call_output", "call_id": "c1", "output": "sun"}] * 2,
            ],
            [
                ParsedMessage("assistant", (ToolCallPart("c1", "f", "{}"),) * 2),
                *[ParsedMessage("tool", (ToolResultPart("c1", "sun"),))] * 2,
            ],
        ),
        (
            [{"type": "local_shell_call", "id": "l1", "call_id": "c1", "status": "completed", "action": {"cmd": "ls"}}],
            [ParsedMessage("assistant", (ToolCallPart("c1", "local_shell", '{"action":{"cmd":"ls"}}'),))],
        ),
        (
            [{"type": "computer_call_output", "call_id": "c1", "output": {"type": "computer_screenshot"}}],
            [ParsedMessage("tool", (ToolResultPart("c1", {"type": "computer_screenshot"}),))],
        ),
        (
            [{"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "rain"}}],
            [
                ParsedMessage(
                    "assistant",
                    (
                        ToolCallPart("ws_1", "web_search", '{"action":{"query":"rain"}}', "server"),
                        ToolResultPart("ws_1", {"status": "completed"}),
                    ),
                )
            ],
        ),
        (
            [{"type": "code_interpreter_call", "id": "ci_1", "code": "1+1", "outputs": [{"logs": "2"}]}],
            [
                ParsedMessage(
                    "assistant",
                    (
                        ToolCallPart("ci_1", "code_interpreter", '{"code":"1+1"}', "server"),
                        ToolResultPart("ci_1", [{"logs": "2"}]),
                    ),
                )
            ],
        ),
        (
            [
                {"type": "mcp_list_tools", "id": "mcpl_1", "tools": []},
                {"type": "web_search_call"},
                {"type": "x_output"},
            ],
            [
                ParsedMessage(
                    "assistant",
                    (
                        DataPart({"type": "mcp_list_tools", "id": "mcpl_1", "tools": []}, "mcp_list_tools"),
                        DataPart({"type": "web_search_call"}, "web_search_call"),
                    ),
                ),
                ParsedMessage("tool", (DataPart({"type": "x_output"}, "x_output"),)),
            ],
        ),
        ([{"type": "item_reference", "id": "fc_2"}, {"id": "msg_2"}], [ParsedMessage("assistant", BRANCH[1].content)]),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]}],
            [ParsedMessage("user", (FilePart("f_png", "image.png", "image/png", 3),))],
        ),
        (
            [{"role": "user", "content": [{"type": "input_file", "filename": "a.txt", "file_data": PNG}]}],
            [ParsedMessage("user", (FilePart("f_png", "a.txt", "application/octet-stream", 3),))],
        ),
        (
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": PNG, "format": "mp3"}}]}],
            [ParsedMessage("user", (FilePart("f_png", "file", "audio/mp3", 3),))],
        ),
        (
            [{"role": "user", "content": [{"type": "input_file", "file_id": "f_7"}]}],
            [ParsedMessage("user", (FilePart("f_7", "found", "text/plain", 1),))],
        ),
    ],
)
def test_items_are_read_as_messages(items: Any, expected: list[ParsedMessage]) -> None:
    assert messages(items) == expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "user", "content": None}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "strange"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference", "id": "msg_404"}]}, "input[0].id"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://a.example/"}]}]},
            "input[0].content[0].file_url",
        ),
        ({"conversation": 3}, "conversation"),
        ({"model": 3}, "model"),
        ({"tools": [1]}, "tools"),
        ({"background": True, "store": False}, "background"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InputsInvalid) as error:
        read({"model": "files"} | body)
    reply = FORMAT.refuse(error.value, request())
    assert isinstance(reply, JsonReply)
    assert (reply.status_code, reply.body["error"]["param"]) == (400, field)


def test_chat_without_files_is_sent_none() -> None:
    content = [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]
    with pytest.raises(InputsInvalid, match="takes no files"):
        read({"input": [{"role": "user", "content": content}]})


# --- what is given back ------------------------------------------------------------------------------------------


def test_only_what_differs_is_kept() -> None:
    same = {name: value for name, value in DEFAULTS.items() if value is not None}
    assert echo_of({"input": "hi", **same}, input_count=0, is_chain=False) == {}


def test_fields_are_given_back_in_full() -> None:
    body = {
        "tools": [{"type": "function", "name": "f"}],
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "low"},
        "metadata": {"a": "b"},
        "max_output_tokens": 9,
        "previous_response_id": "resp_0",
        "background": True,
    }
    response = response_object(replace(DONE, echo=echo_of(body, input_count=0, is_chain=True)), [])
    assert response["tools"] == [
        {"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}
    ]
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert (response["metadata"], response["max_output_tokens"]) == ({"a": "b"}, 9)
    assert (response["previous_response_id"], response["background"]) == ("resp_0", True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", "hot"),
        ("top_p", True),
        ("max_output_tokens", 1.5),
        ("metadata", {"a": 1}),
        ("tools", "all"),
        ("tool_choice", {}),
        ("text", "plain"),
        ("reasoning", "hard"),
        ("parallel_tool_calls", 1),
        ("instructions", ["a"]),
        ("instructions", "x" * (MAX_BYTES + 1)),
    ],
)
def test_value_that_clients_could_not_read_is_not_given_back(name: str, value: Any) -> None:
    echo = echo_of({name: value}, input_count=0, is_chain=False)
    assert response_object(replace(DONE, echo=echo), [])[name] == DEFAULTS[name]


# --- replies -----------------------------------------------------------------------------------------------------


def test_stream_is_a_stream_and_a_document_is_waited_for() -> None:
    reply, _ = play(handler("/v1/responses")(request({"input": "hi", "stream": True})))
    assert isinstance(reply, StreamReply)
    assert (reply.source, type(reply.encoder)) == (OfTurn("t_1"), ResponseEncoder)
    reply, steps = play(handler("/v1/responses")(request({"input": "hi"})))
    assert [type(step) for step in steps] == [Submit, Wait]
    assert (reply.status_code, reply.body["id"], reply.headers) == (200, "resp_1", {"x-request-id": "req_1"})


def test_background_is_answered_without_waiting() -> None:
    running = TurnRecord(replace(DONE, status="running"), BRANCH[0], ())
    reply, steps = play(handler("/v1/responses")(request({"input": "hi", "background": True})), record=running)
    assert [type(step) for step in steps] == [Submit, FindTurn]
    assert reply.body["status"] == "in_progress"


def test_failed_turn_is_an_error_that_is_not_tried_again() -> None:
    error = TurnError("closed", "The library is closed.", "e_1", status_code=409)
    failed = TurnRecord(replace(DONE, status="failed", error=error), BRANCH[0], ())
    reply, _ = play(handler("/v1/responses")(request({"input": "hi"})), record=failed)
    assert (reply.status_code, reply.headers["x-should-retry"]) == (409, "false")
    assert reply.body["error"] == {
        "message": "The library is closed.",
        "type": "invalid_request_error",
        "param": None,
        "code": "closed",
        "error_id": "e_1",
    }


def test_deleting_the_last_response_of_a_chain_deletes_its_session() -> None:
    delete = handler("/v1/responses/{response_id}", "DELETE")
    asked = request(method="DELETE", path_params={"response_id": "resp_1"})
    reply, steps = play(delete(asked), left=0)
    assert reply.body == {"id": "resp_1", "object": "response", "deleted": True}
    assert [type(step).__name__ for step in steps] == ["FindTurn", "ForgetTurn", "DeleteSession"]
    assert "DeleteSession" not in {type(step).__name__ for step in play(delete(asked), left=1)[1]}
    conversation = TurnRecord(replace(DONE, echo={"conversation": True}), BRANCH[0], ())
    assert "DeleteSession" not in {type(step).__name__ for step in play(delete(asked), left=0, record=conversation)[1]}


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "retry"),
    [
        (ChatUnknown("no"), 404, "invalid_request_error", "model_not_found", "false"),
        (QueueFull("full"), 429, "rate_limit_error", "queue_full", None),
        (StoreError("away"), 503, "server_error", "store_unavailable", None),
        (InputsInvalid("wrong"), 400, "invalid_request_error", "inputs_invalid", "false"),
    ],
)
def test_errors_have_openais_shape(error: ChatserveError, status: int, kind: str, code: str, retry: str | None) -> None:
    reply = FORMAT.refuse(error, request())
    assert isinstance(reply, JsonReply)
    assert (reply.status_code, reply.body["error"]["type"], reply.body["error"]["code"]) == (status, kind, code)
    assert reply.headers.get("x-should-retry") == retry
    assert ("retry-after" in reply.headers) is error.retryable


def test_prefix_is_of_ones_choice() -> None:
    def paths(prefix: str) -> set[str]:
        return {each.path for each in OpenAIResponses(Settings(openai_prefix=prefix)).endpoints}

    assert {"/v1/responses", "/ai/responses"} <= paths("/ai/")
    assert all(path.startswith("/v1/") for path in paths(""))
