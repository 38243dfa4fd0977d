"""Every example is served as its docstring says and asked for three turns, across a restart of the server."""

import ast
from pathlib import Path

import pytest

from tests.support.conversation import Conversation, converse
from tests.support.environments import require_environment
from tests.support.openai_endpoint import openai_endpoint
from tests.support.server import ROOT, serve
from tests.support.sse import read_events

EXAMPLES = sorted(
    path.relative_to(ROOT / "examples").as_posix() for path in (ROOT / "examples").rglob("*.py")
)  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_says_what_it_shows_and_how_to_run_and_ask_it(example: str):
    docstring = ast.get_docstring(ast.parse((ROOT / "examples" / example).read_text("utf-8"))) or ""
    assert f"examples/{example}" in docstring or "examples/browser app:app" in docstring
    assert "Run it:" in docstring
    assert "curl " in docstring.partition("Ask it:")[2]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_asked_by_a_test(example: str):
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert f'"examples/{example}"' in tests


def test_random_yes_no_answers_one_of_both(tmp_path: Path):
    with converse("examples/random_yes_no.py", tmp_path) as talk:
        answers = [talk.ask("Will it rain?"), talk.ask("Will it snow?")]
        talk.restart()
        answers.append(talk.ask("Will it stop?"))
        assert set(answers) <= {"Yes", "No"}
        assert talk.history("messages") == [
            entry
            for question, answer in zip(("Will it rain?", "Will it snow?", "Will it stop?"), answers, strict=True)
            for entry in (("user", question), ("assistant", answer))
        ]


def test_alternately_agree_counts_pairs_of_history_across_a_restart(tmp_path: Path):
    with converse("examples/alternately_agree.py", tmp_path) as talk:
        assert talk.ask("tea is better") == "Yes, I agree that tea is better"
        talk.restart()
        assert talk.ask("coffee is better") == "No, I doubt that coffee is better"
        talk.restart()
        assert talk.ask("water is best") == "Yes, I agree that water is best"
        assert talk.history("tuples") == [
            ["tea is better", "Yes, I agree that tea is better"],
            ["coffee is better", "No, I doubt that coffee is better"],
            ["water is best", "Yes, I agree that water is best"],
        ]


def test_slow_echo_streams_each_letter_and_keeps_the_whole(tmp_path: Path):
    with converse("examples/slow_echo.py", tmp_path) as talk:
        assert talk.ask("one") == "You typed: one"
        assert talk.ask("two") == "You typed: two"
        talk.restart()
        response = talk.server.post("/chat", {"message": "three", "session_id": talk.session_id, "stream": True})
        events = list(read_events(response.text.split("\n")))
        assert [event.json["text"] for event in events if event.event == "delta"] == [
            "You typed: t",
            "h",
            "r",
            "e",
            "e",
        ]
        assert (events[0].event, events[-1].event, events[-1].json["status"]) == ("turn", "done", "completed")
        assert talk.history("messages")[-2:] == [("user", "three"), ("assistant", "You typed: three")]


def test_async_echo_appends_its_deltas_and_counts_turns(tmp_path: Path):
    with converse("examples/async_echo.py", tmp_path) as talk:
        assert talk.ask("a b") == "1. a b"
        assert talk.ask("c") == "2. c"
        talk.restart()
        assert talk.ask("d") == "3. d"


def test_file_without_an_import_of_chatserve_is_served(tmp_path: Path):
    with converse("examples/no_import.py", tmp_path) as talk:
        assert "predict" in talk.server.log
        assert talk.ask("abc") == "cba"
        assert talk.ask("def") == "fed"
        talk.restart()
        assert talk.ask("ghi") == "ihg"
        assert len(talk.history("messages")) == 6


def test_yes_man_tells_of_itself_and_answers_examples_from_its_cache(tmp_path: Path):
    with converse("examples/yes_man.py", tmp_path) as talk:
        chat = talk.server.get("/").json()["chats"][0]
        assert chat["title"] == "Yes man"
        assert chat["description"] == "Has one answer to every question."
        assert len(chat["examples"]) == 3
        assert talk.ask("Am I right?") == "Yes"
        assert talk.ask("You are") == "Ask me anything!"
        talk.restart()
        response = talk.server.post("/chat", {"example": 0, "session_id": talk.session_id})
        assert response.json()["text"] == "Yes"
        assert talk.history("messages")[-2:] == [("user", "Is the sky blue?"), ("assistant", "Yes")]


def test_system_prompt_takes_checked_inputs(tmp_path: Path):
    with converse("examples/system_prompt.py", tmp_path) as talk:
        assert talk.ask("Hi") == "System prompt: You are helpful. Message: Hi"
        assert talk.ask("Hi", inputs={"system_prompt": "Be brief."}) == "System prompt: Be brief. Message: Hi"
        talk.restart()
        assert talk.ask("Hi", inputs={"tokens": 14}) == "System prompt:"
        assert len(talk.history("messages")) == 6


def test_system_prompt_refuses_tokens_out_of_range_and_keeps_nothing(tmp_path: Path):
    with converse("examples/system_prompt.py", tmp_path) as talk:
        talk.ask("Hi")
        body = {"message": "Hi", "session_id": talk.session_id, "inputs": {"tokens": 500}}
        response = talk.server.post("/chat", body)
        assert response.status_code == 422
        assert "tokens" in response.text
        assert len(talk.history("messages")) == 2


def test_multimodal_echo_gives_back_the_files_it_was_sent(tmp_path: Path):
    with converse("examples/multimodal_echo.py", tmp_path) as talk:
        answer = talk.take_turn({"text": "look", "files": [talk.upload("a.txt", b"first")]})
        assert answer["messages"][0]["content"] == "You wrote 'look' and uploaded 1 files."
        (part,) = answer["messages"][1]["content"]
        assert (part["type"], part["name"], part["media_type"]) == ("file", "a.txt", "text/plain")
        assert talk.server.get(part["url"]).content == b"first"
        talk.take_turn({"text": "", "files": [talk.upload("b.txt", b"second"), talk.upload("c.txt", b"third")]})
        talk.restart()
        assert talk.take_turn("words only")["messages"][0]["content"].endswith("uploaded 0 files.")
        assert talk.server.get(part["url"]).content == b"first"


def test_count_files_sees_the_files_of_history_as_parts(tmp_path: Path):
    with converse("examples/count_files.py", tmp_path) as talk:
        first = talk.upload("a.png", b"\x89PNG")
        assert talk.ask({"text": "one", "files": [first]}) == "1 new, 1 in all"
        assert talk.ask("none") == "0 new, 1 in all"
        talk.restart()
        two = [talk.upload("b.png", b"\x89PNG"), talk.upload("c.png", b"\x89PNG")]
        assert talk.ask({"text": "", "files": two}) == "2 new, 3 in all"


def test_tool_use_shows_each_step_pending_and_then_done(tmp_path: Path):
    with serve("examples/tool_use.py") as server:
        response = server.post("/chat", {"message": "Oslo", "stream": True})
    events = list(read_events(response.text.split("\n")))
    opened = {event.json["message_id"]: event.json for event in events if event.event == "message"}
    plan, call, answer = opened
    assert opened[plan]["metadata"]["status"] == opened[call]["metadata"]["status"] == "pending"
    assert opened[call]["metadata"]["parent_id"] == opened[plan]["metadata"]["id"]
    done = [event.json["message_id"] for event in events if event.event == "metadata" and "done" in event.data]
    assert done == [call, plan]
    last = {message["message_id"]: message for message in events[-1].json["messages"]}
    assert last[plan]["content"] == "Which tool knows this? The weather service does."
    assert last[call]["content"] == "forecast('Oslo') = 21 degrees"
    assert last[answer]["content"] == "It will be sunny, 21 degrees."


def test_tool_use_keeps_its_steps_in_history_across_a_restart(tmp_path: Path):
    with converse("examples/tool_use.py", tmp_path) as talk:
        assert talk.ask("Oslo") == talk.ask("Rome") == "It will be sunny, 21 degrees."
        talk.restart()
        talk.ask("Lima")
        assert [role for role, _ in talk.history("messages")] == ["user", "assistant", "assistant", "assistant"] * 3


@pytest.mark.parametrize("chat", ["messages", "tuples"])
def test_blocks_history_adds_only_the_answer_to_history(tmp_path: Path, chat: str):
    with converse("examples/blocks_history.py", tmp_path, chat=chat) as talk:
        assert talk.ask("a").strip() == "Answer 1 to 'a'"
        assert talk.ask("b").strip() == "Answer 2 to 'b'"
        talk.restart()
        assert talk.ask("c").strip() == "Answer 3 to 'c'"
        pairs = [[user, assistant.strip()] for user, assistant in talk.history("tuples")]
        assert pairs == [["a", "Answer 1 to 'a'"], ["b", "Answer 2 to 'b'"], ["c", "Answer 3 to 'c'"]]


@pytest.mark.parametrize("example", ["examples/openai_stream.py", "examples/langchain_stream.py"])
def test_model_is_sent_the_whole_history_as_messages(tmp_path: Path, example: str):
    with openai_endpoint() as endpoint, converse(example, tmp_path, env=endpoint.environment) as talk:
        assert talk.ask("a").strip() == "After 1 messages: a"
        assert talk.ask("b").strip() == "After 3 messages: b"
        talk.restart()
        assert talk.ask("c").strip() == "After 5 messages: c"
        sent = endpoint.requests[-1]["messages"]
        assert [(message["role"], message["content"].strip()) for message in sent] == [
            ("user", "a"),
            ("assistant", "After 1 messages: a"),
            ("user", "b"),
            ("assistant", "After 3 messages: b"),
            ("user", "c"),
        ]
        assert endpoint.requests[-1]["stream"] is True


@pytest.mark.parametrize("example", ["examples/openai_stream.py", "examples/langchain_stream.py"])
def test_words_of_a_model_are_streamed(example: str):
    with openai_endpoint() as endpoint, serve(example, env=endpoint.environment) as server:
        response = server.post("/chat", {"message": "hi", "stream": True})
    events = list(read_events(response.text.split("\n")))
    assert "".join(event.json["text"] for event in events if event.event == "delta") == "After 1 messages: hi "
    assert events[-1].json["status"] == "completed"


def _take_three_turns_with_the_parrot(talk: Conversation) -> None:
    chat = talk.server.get("/").json()["chats"][0]
    assert (chat["name"], chat["title"], len(chat["examples"])) == ("parrot", "Parrot", 2)
    assert talk.ask("Hello") == "1. Hello! Hello!"
    assert talk.ask("Hello", inputs={"punctuation": "?", "times": 1}) == "2. Hello?"
    talk.restart()
    assert talk.ask("Hello") == "3. Hello! Hello!"
    refused = talk.server.post("/chat", {"message": "Hello", "inputs": {"times": 9}})
    assert (refused.status_code, "times" in refused.text) == (422, True)


def test_chat_interface_is_served_unchanged_without_gradio(tmp_path: Path):
    with converse("examples/gradio_interface.py", tmp_path) as talk:
        _take_three_turns_with_the_parrot(talk)
        assert "not carried over" in talk.server.log
        assert talk.history("messages")[-1] == ("assistant", "3. Hello! Hello!")


def test_chat_interface_is_served_unchanged_with_gradio(tmp_path: Path):
    with converse("examples/gradio_interface.py", tmp_path, python=require_environment("gradio-app")) as talk:
        _take_three_turns_with_the_parrot(talk)
