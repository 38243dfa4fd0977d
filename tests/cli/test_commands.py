"""What the commands print: where they serve, why they do not, what they would."""

import os
import re
import socket
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from chatserve.cli import main
from chatserve.settings import Settings
from tests.cli.processes import command, refusal, write
from tests.support.server import serve

ECHO = "def predict(message, history): return message\n"
INPUTS = """
from typing import Annotated, Literal
from pydantic import Field
from chatserve import ChatServer, ChatContext
app = ChatServer(title="With inputs", turn_timeout_s=7)
@app.chat(name="ask")
async def predict(message, history, ctx: ChatContext, tokens: Annotated[int, Field(ge=10)], kind: Literal["a", "b"]):
    yield f"{tokens} {kind}"
@app.chat
def other(message, history): return message
"""
is_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def test_run_tells_what_it_serves_where_and_how_to_ask(tmp_path: Path):
    with serve(write(tmp_path, ECHO), cwd=tmp_path) as server:
        assert server.log.splitlines() == [
            f"App is served at {server.url} (from app.py: the function 'predict')",
            "  sessions  sqlite:///chatserve.db",
            f"""  try it    curl -N {server.url}/chat --json '{{"message":"Hello"}}' -H 'Accept: text/plain'""",
            "  Ctrl+C    stops it",
        ]
        assert server.ask("hi")["text"] == "hi"
        assert server.terminate() == 0


def test_the_line_to_try_it_gives_the_inputs_that_are_required(tmp_path: Path):
    with serve(write(tmp_path, INPUTS), cwd=tmp_path) as server:
        server.wait_for_log("Ctrl+C")
        assert """'{"message":"Hello","inputs":{"tokens":10,"kind":"a"}}'""" in server.log
        assert "  chats     ask (/chat/ask, /chat), other (/chat/other)" in server.log
        assert server.ask("x", inputs={"tokens": 10, "kind": "a"})["text"] == "10 a"


def test_json_logs_are_one_object_per_line(tmp_path: Path):
    with serve(write(tmp_path, ECHO), "--log-format", "json", cwd=tmp_path) as server:
        server.terminate()
    assert server.log.startswith('{"time":')
    lines = [line for line in server.log.splitlines() if line]
    assert all(line.startswith("{") and line.endswith("}") for line in lines)


def test_the_access_log_is_on_when_asked_for(tmp_path: Path):
    with serve(write(tmp_path, ECHO), "--access-log", cwd=tmp_path) as server:
        server.get("/health/live")
        assert '"GET /health/live HTTP/1.1" 200' in server.wait_for_log("/health/live")


def test_responses_do_not_name_the_server(tmp_path: Path):
    with serve(write(tmp_path, ECHO), cwd=tmp_path) as server:
        assert "server" not in server.get("/health/live").headers


def test_settings_come_from_options_before_the_application_before_the_environment(tmp_path: Path):
    app = write(tmp_path, INPUTS)
    args = ("check", app, "--drain-timeout-s", "3", "--cors-origin", "http://a.test", "--cors-origin", "http://b.test")
    done = command(*args, cwd=tmp_path, CHATSERVE_TURN_TIMEOUT_S="9", CHATSERVE_STORE="memory://")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "drain_timeout_s 3.0 (--drain-timeout-s)" in lines
    assert "cors_origins http://a.test,http://b.test (--cors-origin)" in lines
    assert "turn_timeout_s 7.0 (ChatServer(...))" in lines
    assert "store memory:// (CHATSERVE_STORE)" in lines
    assert "max_readers 10000 (default)" in lines


def test_check_tells_how_each_chat_was_read(tmp_path: Path):
    done = command("check", write(tmp_path, INPUTS), cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("app.py: the ChatServer 'app', titled 'With inputs'\n\nchat 'ask' at /chat/ask\n")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "function async generator" in lines
    assert "function sync function, in a thread of its own" in lines
    assert "injected ctx (ChatContext)" in lines
    assert any(line.startswith('inputs {"') and '"minimum":10' in line for line in lines)
    assert not list(tmp_path.glob("*.db*")), "nothing is opened"


def test_check_tells_why_not(tmp_path: Path):
    app = write(tmp_path, "def yes(m, h): ...\ndef no(m, h): ...\n")
    assert refusal("check", app, cwd=tmp_path) == (
        "chatserve: app.py has several functions that could be the chat function: yes, no; write app.py:NAME"
    )


def test_every_setting_is_an_option_with_its_help(tmp_path: Path):
    said = " ".join(command("run", "--help", cwd=tmp_path).stdout.split())
    for name, field in Settings.model_fields.items():
        option = "--" + name.replace("_", "-").removesuffix("s" if isinstance(field.default, tuple) else "")
        assert option in said
        assert f"CHATSERVE_{name.upper()}" in said
        assert (field.description or "").split()[0] in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run"], "Missing argument 'TARGET'"),
        (["run", "nope.py"], "there is no file"),
        (["run", "app.py", "--nope"], "No such option '--nope'"),
        (["run", "app.py", "--port", "70000"], "70000 is not in the range"),
        (["run", "app.py", "--drain-timeout-s", "soon"], "setting drain_timeout_s='soon': may be a number of seconds"),
        (["run", "app.py", "--durability", "maybe"], "setting durability='maybe': may be 'turns' or 'events'"),
        (["run", "app.py", "--protocol", "openai"], "setting protocols=.*'openai' may be 'openai_chat', "),
        (["run", "app.py", "--openai-prefix", "/sessions"], "setting openai_prefix='/sessions': chatserve's own paths"),
        (["run", "app.py", "--max-readers", "0"], "setting max_readers='0': may be a whole number, 1 or more"),
        (["run", "app.py", "--store", "redis"], "store: 'redis' is not a store URL"),
        (["run", "app.py", "--store", "sqlite:///no/such/folder/chat.db"], "store: cannot write 'no/such/folder/"),
        (["run", "app.py", "--workers", "2"], "2 workers cannot share the store 'sqlite:///chatserve.db'"),
        (["run", "app.py", "--host", "192.0.2.1"], "'192.0.2.1' is not an address of this machine"),
        (["run", "app.py", "--host", "no such host"], "host 'no such host' cannot be resolved"),
        (["dev", "app.py", "--host", "0.0.0.0"], "listens on this machine only, not on '0.0.0.0'"),
        (["dev", "nope.py"], "there is no file"),
        (["dev", "app.py", "--drain-timeout-s", "soon"], "setting drain_timeout_s='soon'"),
        (["nope"], "No such command 'nope'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(tmp_path: Path, args: list[str], said: str):
    write(tmp_path, ECHO)
    port = [] if "--port" in args or args[0] == "nope" else ["--port", "0"]
    assert re.search(f"^chatserve: .*{said}", refusal(*args, *port, cwd=tmp_path))


def test_a_bad_value_in_the_environment_is_told_in_one_line(tmp_path: Path):
    app = write(tmp_path, ECHO)
    assert "CHATSERVE_PORT" in refusal("run", app, cwd=tmp_path, CHATSERVE_PORT="http")
    assert "setting drain_timeout_s='x'" in refusal(
        "run", app, cwd=tmp_path, CHATSERVE_DRAIN_TIMEOUT_S="x", CHATSERVE_PORT="0"
    )


@pytest.mark.parametrize("name", ["run", "dev"])
def test_a_port_in_use_is_told_in_one_line(tmp_path: Path, name: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(name, write(tmp_path, ECHO), "--port", str(port), cwd=tmp_path)
    assert line == (
        f"chatserve: port {port} of 127.0.0.1 is in use; stop the program that listens there, "
        "or use another port (--port 0 takes any free one)"
    )


@pytest.mark.parametrize("name", ["run", "dev"])
def test_a_store_another_process_owns_is_told_in_one_line(tmp_path: Path, name: str):
    app = write(tmp_path, ECHO)
    with serve(app, cwd=tmp_path) as server:
        line = refusal(name, app, "--port", "0", cwd=tmp_path)
    assert line.startswith("chatserve: store: 'chatserve.db' is in use by another chatserve")
    assert str(server.pid) in line


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path):
    write(tmp_path, "this is no database, but a text long enough to be read as one" * 20, "chat.db")
    line = refusal("run", write(tmp_path, ECHO), "--port", "0", "--store", "sqlite:///chat.db", cwd=tmp_path)
    assert line.startswith("chatserve: store: cannot use 'chat.db'")


@is_root
def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    line = refusal("run", write(tmp_path, ECHO), "--port", "0", "--store", f"sqlite:///{folder}/c.db", cwd=tmp_path)
    assert line.startswith("chatserve: store: cannot write")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root may write")
def test_a_folder_that_nobody_may_write_is_told_in_one_line(tmp_path: Path):
    line = refusal("run", write(tmp_path, ECHO), "--port", "0", "--store", "sqlite:////proc/c.db", cwd=tmp_path)
    assert line.startswith("chatserve: store: cannot write '/proc/c.db")


def test_an_error_of_the_target_is_told_in_one_line(tmp_path: Path):
    app = write(tmp_path, "from chatserve import ChatServer\nimport no_such_module\n")
    line = refusal("run", app, "--port", "0", cwd=tmp_path)
    assert line == "chatserve: app.py:2: ModuleNotFoundError: No module named 'no_such_module'"


def test_the_installed_command_is_the_package_run_as_a_module():
    (command_script,) = entry_points(group="console_scripts", name="chatserve")
    assert command_script.load() is main
