"""`chatserve.testing`: a test talks to its application, and sees its streams as they come."""

import threading
import time
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from chatserve import ChatError, ChatMessage, ChatServer
from chatserve.testing import ChatClient, RequestRefused


def type_out(message, history):
    for end in range(1, len(message) + 1):
        yield "You typed: " + message[:end]
        time.sleep(0.01)


def count_turns(message, history):
    return f"{message} comes after {len(history)} messages"


def test_the_example_of_the_contract_works():
    app = ChatServer()
    app.chat(type_out)
    with ChatClient(app) as client:
        session = client.session()
        turn = session.start("hi" * 1000)
        turn.wait_for("You")
        turn.stop()
        assert turn.status == "stopped"
        assert turn.text.startswith("You typed: h")
        assert len(turn.text) < 2000
        assert [message["status"] for message in turn.messages] == ["stopped"]


def test_a_stream_is_seen_while_the_function_runs():
    may_go_on = threading.Event()

    def predict(message, history):
        yield "one"
        assert may_go_on.wait(10)
        yield "one two"

    with ChatClient(predict) as client:
        turn = client.session().start("x").wait_for("one")
        assert (turn.text, turn.status) == ("one", "running")
        may_go_on.set()
        assert turn.wait().text == "one two"
        assert [event.name for event in turn.events] == ["turn", "message", "delta", "delta", "done"]
        assert [event.number for event in turn.events] == [1, 2, 3, 4, 5]


def test_a_session_goes_on():
    with ChatClient(count_turns) as client:
        session = client.session()
        assert session.messages == []
        assert session.send("one").text == "one comes after 0 messages"
        assert session.send("two").text == "two comes after 2 messages"
        assert [message["role"] for message in session.messages] == ["user", "assistant"] * 2
        assert client.session(session.session_id).send("three").text == "three comes after 4 messages"
        assert client.session().send("four").text == "four comes after 0 messages"


def test_history_operations_work():
    with ChatClient(count_turns) as client:
        session = client.session()
        session.send("one")
        session.send("two")
        session.undo()
        assert len(session.messages) == 2
        assert session.retry().wait().text == "one comes after 0 messages"
        first = session.messages[0]["message_id"]
        assert session.edit(first, "uno").wait().text == "uno comes after 0 messages"
        session.clear()
        assert session.messages == []


def test_a_chat_and_its_inputs_can_be_chosen():
    app = ChatServer()
    app.chat(count_turns)

    @app.chat
    def shout(message, history, times: Annotated[int, Field(ge=1)] = 1):
        return message.upper() * times

    with ChatClient(app) as client:
        assert client.session(chat="shout").send("hi", inputs={"times": 2}).text == "HIHI"
        assert client.session().send("hi").text.startswith("hi comes")


def test_what_is_refused_is_raised_with_its_code():
    with ChatClient(count_turns) as client:
        with pytest.raises(RequestRefused, match=r"422 inputs_invalid: inputs\.nope") as refused:
            client.session().start("x", inputs={"nope": 1})
        assert (refused.value.status, refused.value.code) == (422, "inputs_invalid")
        with pytest.raises(RequestRefused, match="404 session_unknown"):
            client.session("s_0123456789abcdef").start("x")


def test_a_turn_that_fails_tells_its_error():
    def predict(message, history):
        yield "so far"
        raise ChatError("no more", code="used_up")

    with ChatClient(predict) as client:
        turn = client.session().send("x")
        assert (turn.status, turn.text) == ("failed", "so far")
        assert turn.error is not None
        assert (turn.error["code"], turn.error["detail"]) == ("used_up", "no more")


def test_thoughts_are_messages_but_not_the_text():
    def predict(message, history):
        thought = ChatMessage(role="assistant", content="hm", metadata={"title": "Thinking"})
        yield [thought]
        yield [thought, ChatMessage(role="assistant", content="done")]

    with ChatClient(predict) as client:
        turn = client.session().send("x")
        assert turn.text == "done"
        assert [message["content"] for message in turn.messages] == ["hm", "done"]


def test_leaving_does_not_stop_the_turn():
    may_go_on = threading.Event()

    def predict(message, history):
        yield "one"
        assert may_go_on.wait(10)
        yield "one two"

    with ChatClient(predict) as client:
        turn = client.session().start("x").wait_for("one")
        turn.leave()
        may_go_on.set()
        stream = client.get(f"/turns/{turn.turn_id}/events")
        assert "event: done" in stream.text
        assert client.get(f"/turns/{turn.turn_id}").json["text"] == "one two"


def test_any_request_can_be_sent():
    with ChatClient(count_turns) as client:
        described = client.get("/")
        assert described.status == 200
        assert described.headers["content-type"] == "application/json"
        assert [chat["name"] for chat in described.json["chats"]] == ["count_turns"]
        words = client.post("/chat", {"message": "hi"}, headers={"Accept": "text/plain"})
        assert words.text == "hi comes after 0 messages"
        assert client.request("DELETE", "/chat").status == 405
        assert client.post("/chat", body=b"{", headers={"content-type": "application/json"}).status == 400


def test_settings_can_be_different_in_a_test(tmp_path: Path):
    app = ChatServer(max_message_bytes=100, store="sqlite:///never-opened.db")
    app.chat(count_turns)
    with ChatClient(app, max_message_bytes=3) as client, pytest.raises(RequestRefused, match="413"):
        client.session().start("long")
    with ChatClient(app, store=f"sqlite:///{tmp_path}/chat.db") as client:
        session_id = client.session().send("long").session_id
    with ChatClient(app, store=f"sqlite:///{tmp_path}/chat.db") as client:
        assert len(client.session(session_id).messages) == 2
    assert app.settings.max_message_bytes == 100


def test_a_wait_for_what_never_comes_ends_with_a_clear_error():
    may_end = threading.Event()

    def predict(message, history):
        yield "so far"
        may_end.wait(10)

    with ChatClient(predict) as client:
        turn = client.session().start("x").wait_for("so far")
        with pytest.raises(
            TimeoutError, match=r"waited 0\.05 s for the turn to say 'nope': it is running, its text is 'so"
        ):
            turn.wait_for("nope", timeout_s=0.05)
        with pytest.raises(TimeoutError, match=r"waited 0\.05 s for the turn to end"):
            turn.wait(timeout_s=0.05)
        may_end.set()
        with pytest.raises(AssertionError, match="the turn ended without saying 'nope': it is completed"):
            turn.wait_for("nope")


def test_closing_ends_what_runs():
    ended = threading.Event()

    async def predict(message, history):
        import asyncio

        try:
            yield "begun"
            await asyncio.Event().wait()
        finally:
            ended.set()

    with ChatClient(predict) as client:
        client.session().start("x").wait_for("begun")
    assert ended.is_set()


def test_an_application_that_cannot_start_is_told():
    from chatserve.core.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="no chat function"), ChatClient(ChatServer()):
        pass
