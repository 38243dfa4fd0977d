"""`chatserve dev`: every change is served, nobody is cut off, mistakes are told and waited out."""

import os
import signal
from pathlib import Path

import httpx2

from tests.cli.processes import WAITS, write
from tests.support.server import Server, serve

EXIT_TIMEOUT_S = 20


def answer(word: str) -> str:
    return f"def predict(message, history): return {word!r} + message\n"


def change(folder: Path, text: str, name: str = "app.py") -> None:
    """Write a file as editors do, so that it is never seen half written."""
    write(folder, text, "app.new").replace(folder / name)


def wait_for_lines(server: Server, text: str, number: int) -> None:
    """Wait until so many lines with `text` have been printed."""
    with server._spoke:
        assert server._spoke.wait_for(lambda: sum(text in line for line in server.lines) >= number, EXIT_TIMEOUT_S)


def test_a_change_is_served_at_the_same_address(tmp_path: Path):
    with serve(write(tmp_path, answer("one ")), command="dev", cwd=tmp_path) as server:
        assert server.ask("x")["text"] == "one x"
        change(tmp_path, answer("two "))
        server.wait_for_log("app.py changed: reloading")
        wait_for_lines(server, f"is served at {server.url}", 2)
        assert server.ask("x")["text"] == "two x"
        assert server.terminate() == 0


def test_a_request_between_two_servers_waits_for_the_next(tmp_path: Path):
    with serve(write(tmp_path, answer("one ")), command="dev", cwd=tmp_path) as server:
        change(tmp_path, "import time\ntime.sleep(0.5)\n" + answer("two "))
        server.wait_for_log("app.py changed: reloading")
        assert server.ask("x")["text"] == "two x"


def test_a_changed_import_is_served(tmp_path: Path):
    write(tmp_path, "WORD = 'one '\n", "words.py")
    app = write(tmp_path, "from words import WORD\ndef predict(message, history): return WORD + message\n")
    with serve(app, command="dev", cwd=tmp_path) as server:
        change(tmp_path, "WORD = 'three '\n", "words.py")
        server.wait_for_log("words.py changed: reloading")
        wait_for_lines(server, "is served at", 2)
        assert server.ask("x")["text"] == "three x"


def test_a_mistake_is_told_and_the_next_change_is_served(tmp_path: Path):
    with serve(write(tmp_path, answer("one ")), command="dev", cwd=tmp_path) as server:
        change(tmp_path, "def predict(:\n")
        assert server.wait_for_log("SyntaxError") == "chatserve: app.py:1: SyntaxError: invalid syntax\n"
        server.wait_for_log(f"waiting for a change in {tmp_path}")
        change(tmp_path, answer("two "))
        wait_for_lines(server, "is served at", 2)
        assert server.ask("x")["text"] == "two x"
        assert "Traceback" not in server.log


def test_streams_say_farewell_at_a_reload_and_running_turns_keep_their_words(tmp_path: Path):
    with serve(write(tmp_path, WAITS), "--drain-timeout-s", "0.1", command="dev", cwd=tmp_path) as server:
        session_id = server.ask("hi", chat="echo")["session_id"]
        turn = server.post("/chat/wait", {"message": "never"}, headers={"Prefer": "respond-async"}).json()
        with (
            httpx2.stream("GET", f"{server.url}/sessions/{session_id}/events", timeout=EXIT_TIMEOUT_S) as idle,
            httpx2.stream("GET", f"{server.url}/turns/{turn['turn_id']}/events", timeout=EXIT_TIMEOUT_S) as busy,
        ):
            busy_lines = busy.iter_lines()
            assert any("begun" in line for line in busy_lines)
            change(tmp_path, WAITS + "\n")
            assert any('"status":"interrupted"' in line for line in busy_lines)
            assert "event: bye" in list(idle.iter_lines())
        assert server.get(f"/turns/{turn['turn_id']}").json()["text"] == "begun"


def test_clients_are_shown_the_text_of_errors(tmp_path: Path):
    app = write(tmp_path, "def predict(message, history): raise ValueError('the reason')\n")
    with serve(app, command="dev", cwd=tmp_path) as server:
        assert "the reason" in server.post("/chat", {"message": "x"}).text
    with serve(app, "--no-debug", command="dev", cwd=tmp_path) as server:
        assert "the reason" not in server.post("/chat", {"message": "x"}).text


def test_clients_may_choose_session_ids(tmp_path: Path):
    with serve(write(tmp_path, answer("")), command="dev", cwd=tmp_path) as server:
        assert server.ask("x", "my-session")["session_id"] == "my-session"


def test_a_server_whose_parent_was_killed_leaves(tmp_path: Path):
    app = write(tmp_path, f"import os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n" + answer(""))
    with serve(app, command="dev", cwd=tmp_path) as server:
        pid = int((tmp_path / "pid").read_text())
        assert pid != server.pid
        server.kill()
        with server._spoke:
            assert server._spoke.wait_for(lambda: server.lines[-1] == "", EXIT_TIMEOUT_S), "it still holds the log open"
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
