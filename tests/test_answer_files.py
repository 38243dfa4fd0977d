"""Files of answers: which paths are opened, for whom, and what the client is told."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from chatserve import ChatMessage, ChatServer, File
from chatserve.testing import ChatClient, ChatTurn

SECRET = "no client may read this"


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Return a folder that answers may open, one that they may not, and what links from the first to the second."""
    allowed, closed = tmp_path / "allowed", tmp_path / "closed"
    for folder in (allowed / "deep", closed):
        folder.mkdir(parents=True)
    (allowed / "a.txt").write_text("fine")
    (allowed / "deep" / "b.txt").write_text("fine")
    (closed / "c.txt").write_text(SECRET)
    (allowed / "link.txt").symlink_to(closed / "c.txt")
    (allowed / "inner.txt").symlink_to(allowed / "a.txt")
    (allowed / "out").symlink_to(closed)
    os.mkfifo(allowed / "pipe")
    (allowed / "large.bin").write_bytes(b"x" * 2000)
    (tmp_path / "alias").symlink_to(allowed)
    return {"allowed": allowed, "closed": closed, "tmp": tmp_path}


def code_of(turn: ChatTurn) -> str | None:
    """Return why a turn failed."""
    return turn.error["code"] if turn.error else None


def answer(value: Any, **settings: Any) -> tuple[ChatTurn, bytes | None]:
    """Serve a function that answers with a value; return its turn, and the bytes of the first file in it."""
    app = ChatServer(**settings)
    app.chat(name="give")(lambda message, history: value)
    with TemporaryDirectory() as folder, ChatClient(app, files_dir=folder) as client:
        turn = client.session().send("x")
        parts = [part for message in turn.messages for part in message["content"] if isinstance(part, dict)]
        files = [part["file_id"] for part in parts if part["type"] == "file"]
        return turn, next(Path(folder).glob(f"*/{files[0]}/*")).read_bytes() if files else None


SHAPES: dict[str, Callable[[str], Any]] = {
    "path dict": lambda path: {"path": path},
    "Gradio's dict": lambda path: {"path": path, "url": None, "meta": {"_type": "gradio.FileData"}},
    "tuple": lambda path: (path,),
    "content": lambda path: ChatMessage({"path": path}),
    "content tuple": lambda path: {"role": "assistant", "content": (path, "alt")},
    "content list": lambda path: ChatMessage(["see", {"path": path}]),
    "Gradio 6 part": lambda path: ChatMessage([{"type": "file", "file": {"path": path}}]),
    "component part": lambda path: ChatMessage([{"type": "component", "component": "image", "value": {"path": path}}]),
    "list": lambda path: [{"path": path}],
    "message of a list": lambda path: ["see", ChatMessage({"path": path})],
    "pair": lambda path: [[None, (path,)]],
    "JSON of a client": lambda path: json.loads(json.dumps({"path": path})),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_path_in_plain_data_opens_only_what_lies_in_allowed_folders(
    shape: Callable[[str], Any], places: dict[str, Path], caplog: pytest.LogCaptureFixture
):
    turn, content = answer(shape(str(places["allowed"] / "deep" / "b.txt")), allowed_paths=(places["allowed"],))
    assert (turn.status, content) == ("completed", b"fine")
    assert str(places["tmp"]) not in json.dumps(turn.messages)
    for path, settings in (("closed/c.txt", {"allowed_paths": (places["allowed"],)}), ("allowed/a.txt", {})):
        turn, content = answer(shape(str(places["tmp"] / path)), **settings)
        assert (turn.status, content, code_of(turn)) == ("failed", None, "answer_invalid")
        assert str(places["tmp"]) not in json.dumps([turn.messages, turn.error])
        assert "allowed_paths" in caplog.text
        caplog.clear()


def _ways_out(places: dict[str, Path]) -> Iterator[str]:
    allowed = places["allowed"]
    for step in ("link.txt", "inner.txt", "out/c.txt", "pipe", "deep", ".", "..", "../closed/c.txt", "missing"):
        yield f"{allowed}/{step}"
    yield from (
        f"{allowed}/deep/../../closed/c.txt",
        f"{allowed}x/../closed/c.txt",
        f"{allowed}/a.txt\0",
        "~/.ssh/id_rsa",
    )
    yield from ("/dev/zero", "/proc/self/environ", "/etc/passwd", "file:///etc/passwd", "", " ", "/")


def test_no_way_leads_out_of_the_allowed_folders(places: dict[str, Path]):
    app = ChatServer(allowed_paths=(places["allowed"],))
    app.chat(name="give")(lambda message, history: json.loads(message))
    with ChatClient(app) as client:
        for path in _ways_out(places):
            turn = client.session().send(json.dumps({"path": path}))
            assert (turn.status, code_of(turn)) == ("failed", "answer_invalid"), path


def test_a_path_may_lead_through_a_link_to_the_allowed_folder_itself(places: dict[str, Path]):
    alias = places["tmp"] / "alias"
    for allowed, path in ((alias, alias / "a.txt"), (alias, places["allowed"] / "a.txt")):
        assert answer({"path": str(path)}, allowed_paths=(allowed,))[1] == b"fine"


@pytest.mark.parametrize("name", ["pipe", "deep", "missing", "/dev/zero", "/dev/tty", "large.bin"])
def test_the_developers_own_paths_open_regular_files_of_limited_size(name: str, places: dict[str, Path]):
    for value in (Path(places["allowed"] / name), File(str(places["allowed"] / name))):
        turn, _ = answer(value, max_answer_file_bytes=1000)
        assert (turn.status, code_of(turn)) == ("failed", "answer_invalid")


def test_the_developers_own_paths_open_any_file_under_its_name(places: dict[str, Path]):
    path = places["closed"] / "c.txt"
    for value in (path, File(path), File(str(path)), File(path, name=str(path)), {"path": path}):
        turn, content = answer(value)
        assert (content, turn.messages[0]["content"][0]["name"]) == (SECRET.encode(), "c.txt")
        assert str(places["tmp"]) not in json.dumps(turn.messages)
    assert answer(File(b"x" * 1001), max_answer_file_bytes=1000)[0].status == "failed"


def test_uploads_open_for_those_who_may_see_them(tmp_path: Path):
    app = ChatServer(allowed_paths=(tmp_path,))
    told: list[str] = []

    @app.chat(multimodal=True)
    def echo(message, history):
        if message["files"]:
            told.append(message["files"][0])
        return {"path": message["files"][0] if message["files"] else message["text"]}

    with ChatClient(app, store=f"sqlite:///{tmp_path}/chat.db", files_dir=tmp_path / "chat.db.files") as client:
        uploaded = client.request("POST", "/files?name=a.txt", body=b"mine", headers={"content-type": "text/plain"})
        file_id = uploaded.json["id"]
        turn = client.session().send({"text": "x", "files": [file_id]})
        assert turn.messages[0]["content"][0]["file_id"] == file_id
        folder = Path(told[0]).parent.parent.parent
        assert folder.parent == tmp_path
        (folder / "left").write_text(SECRET)
        for path in (*tmp_path.glob("chat.db*"), folder / "left", folder / "ab" / "f_unknown" / "a.txt"):
            turn = client.session().send(str(path))
            assert (turn.status, code_of(turn)) == ("failed", "answer_invalid"), path


@pytest.mark.parametrize(
    "value", [{"path": "https://a.example/b.png"}, {"path": None, "url": "https://a.example/b.png"}]
)
def test_addresses_stay_links(value: Any):
    turn, _ = answer(value)
    assert turn.messages[0]["content"][0]["url"] == "https://a.example/b.png"
