"""Examples, with inputs and files, and validators: what is checked when a chat is registered, and what then happens."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chatserve import ChatError, ChatServer, File
from chatserve.core.errors import ConfigurationError, InputsInvalid
from chatserve.testing import ChatClient
from tests.support.engine import chat_of, open_engine

History = list[Any]


def predict(message: str, history: History, system: str = "be kind", tokens: int = 5) -> str:
    return f"{message} {system} {tokens}"


# --- examples ------------------------------------------------------------------------------------------------------


def test_examples_are_read_in_every_form() -> None:
    examples = [
        "a",
        ["b", "kind"],
        ("c", None, 20),
        {"text": "d"},
        {"message": {"text": "e"}, "inputs": {"tokens": 30}},
    ]
    read = [(example.text, dict(example.inputs)) for example in chat_of(predict, examples=tuple(examples)).examples]
    inputs: list[dict[str, Any]] = [{}, {"system": "kind"}, {"tokens": 20}, {}, {"tokens": 30}]
    assert read == list(zip("abcde", inputs, strict=True))


@pytest.mark.parametrize("example", [5, [], ["a", *range(20)]])
def test_example_that_is_none_is_refused(example: Any) -> None:
    with pytest.raises(ConfigurationError, match="neither a message"):
        chat_of(predict, examples=(example,))


@pytest.mark.parametrize("mode", [False, "lazy", "eager"])
def test_examples_run_with_their_files(tmp_path: Path, mode: Any) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("1,2", encoding="utf-8")
    (tmp_path / "name.txt").write_text("ann", encoding="utf-8")
    runs: list[str] = []
    forms = [str(path), path, {"path": str(path)}, SimpleNamespace(path=str(path)), File(b"1,2", name="sheet.csv")]
    app = ChatServer(store="memory://")

    @app.chat(
        multimodal=True,
        cache_examples=mode,
        examples=[
            {"text": "a", "files": forms},
            [{"text": "b", "files": [File(path, name="other.csv", media_type="text/x-own")]}, 3],
            {"message": {"text": "c", "files": [tmp_path / "name.txt"]}},
            {"text": "d", "files": []},
        ],
    )
    def ask(message: Any, history: History, times: int = 1) -> str:
        names = [Path(file).name for file in message["files"]]
        words = [Path(file).read_text(encoding="utf-8") for file in message["files"]]
        runs.append(message["text"])
        return f"{message['text']} {' '.join(names)} {' '.join(words)} {times}"

    expected = ["a" + 5 * " sheet.csv" + 5 * " 1,2" + " 1", "b other.csv 1,2 3", "c name.txt ann 1", "d   1"]
    with ChatClient(app) as client:
        assert str(tmp_path) not in client.get("/").text + client.get("/openapi.json").text
        for number, text in enumerate(expected):
            for _ in range(2):
                answer = client.post("/chat", json={"example": number}).json
                assert (answer["status"], answer["text"]) == ("completed", text)
            messages = client.get(f"/sessions/{answer['session_id']}/messages")
            assert str(tmp_path) not in messages.text
        content = client.get(f"/sessions/{client.post('/chat', json={'example': 1}).json['session_id']}/messages").json
        assert [
            (part["type"], part.get("name"), part.get("media_type")) for part in content["items"][0]["content"]
        ] == [
            ("text", None, None),
            ("file", "other.csv", "text/x-own"),
        ]
    assert len(runs) == (9 if mode is False else 4)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["missing.txt"], "'missing.txt' is no file on this machine"),
        (["."], "is no file on this machine"),
        (["/dev/null"], "is no file on this machine"),
        (["https://a.example/b.png"], "is an address, which is not fetched"),
        ([5], "its file 5 is no path"),
        ([{"url": "x"}], "is no path"),
        ("a.txt", "its 'files' may be a list of paths"),
    ],
)
def test_example_with_a_file_that_cannot_be_read_is_refused(files: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r"examples\[0\]") as raised:
        chat_of(predict, multimodal=True, examples=({"text": "x", "files": files},))
    assert reason in str(raised.value)


def test_example_with_files_needs_a_chat_that_takes_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ConfigurationError, match="only a chat with multimodal=True takes"):
        chat_of(predict, examples=({"text": "x", "files": [tmp_path / "a.txt"]},))


# --- validators ----------------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """A validator that gives or raises what it is told."""

    verdict: Any

    def __call__(self, message: str, **inputs: Any) -> Any:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@dataclass
class AsyncVerdict(Verdict):
    """The same, async."""

    async def __call__(self, message: str, **inputs: Any) -> Any:
        await asyncio.sleep(0)
        return super().__call__(message, **inputs)


def through_async(verdict: Any) -> Any:
    """Return a plain function that returns a coroutine."""
    return lambda message, **inputs: AsyncVerdict(verdict)(message, **inputs)


@pytest.mark.parametrize("kind", [Verdict, AsyncVerdict, through_async])
@pytest.mark.parametrize(
    ("verdict", "refusal", "logged"),
    [
        (None, None, ""),
        (True, None, ""),
        (False, "the message was refused", ""),
        ("too rude", "too rude", ""),
        ("", "the message was refused", ""),
        (ValueError("too long"), "too long", ""),
        (ChatError("not today"), "not today", ""),
        (RuntimeError("secret"), "the message was refused", "RuntimeError: secret"),
        (KeyError("secret"), "the message was refused", "KeyError: 'secret'"),
        (1, "the message was refused", "returned 1, so"),
        (0, "the message was refused", "returned 0, so"),
        ([], "the message was refused", "returned [], so"),
        ({"is_valid": True}, "the message was refused", "returned {'is_valid': True}, so"),
        ((True, ""), "the message was refused", "returned (True, ''), so"),
    ],
)
async def test_validator_decides_before_anything_is_stored_and_fails_closed(
    kind: Any, verdict: Any, refusal: str | None, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_engine(predict, validator=kind(verdict)) as engine:
        with pytest.raises(InputsInvalid) if refusal else contextlib.nullcontext() as raised:
            assert (await engine.ask()).turn.status == "completed"
        assert (await engine.store.list_sessions("", after=None, limit=10)).items == () or refusal is None
    if raised is not None:
        assert str(raised.value) == refusal
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [logged in caplog.text, len(records)] == [True, 1 if logged else 0]


async def test_validator_is_given_all_inputs_with_their_defaults() -> None:
    given: list[Any] = []

    def check(message: str, system: str, tokens: int) -> None:
        given.append((message, system, tokens))

    async with open_engine(predict, validator=check) as engine:
        await engine.ask("hi", inputs={"tokens": 7})
    assert given == [("hi", "be kind", 7)]
