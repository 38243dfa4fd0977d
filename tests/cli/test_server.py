"""What a server runs on: uvloop and httptools where they are installed, else the loop of Python and h11."""

import os
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

from chatserve import ChatServer
from chatserve.cli.server import _config
from tests.cli.processes import write
from tests.support.http import address_of
from tests.support.server import ROOT, serve

TELL = """
import asyncio, sys
def predict(message, history):
    return " ".join(name for name in message.split() if name in sys.modules)
"""
FAST = ("uvicorn.protocols.http.httptools_impl", "uvloop.loop", "uvicorn.loops.uvloop")
PLAIN = ("uvicorn.protocols.http.h11_impl", "uvicorn.loops.asyncio")
ABSENT = "raise ImportError('not for this interpreter')\n"


@pytest.mark.skipif(not (find_spec("uvloop") and find_spec("httptools")), reason="neither exists for this interpreter")
@pytest.mark.parametrize("command", ["run", "dev"])
def test_uvloop_and_httptools_are_used_without_being_asked_for(tmp_path: Path, command: str):
    with serve(write(tmp_path, TELL), command=command, cwd=tmp_path) as server:
        assert server.ask(" ".join((*FAST, *PLAIN)))["text"].split() == list(FAST)


@pytest.mark.parametrize("command", ["run", "dev"])
def test_interpreter_without_them_is_served_by_asyncio_and_h11(tmp_path: Path, command: str):
    absent = tmp_path / "absent"
    absent.mkdir()
    for name in ("uvloop", "httptools"):
        write(absent, ABSENT, f"{name}.py")
    env = {"PYTHONPATH": os.pathsep.join((str(absent), str(ROOT)))}
    with serve(write(tmp_path, TELL), command=command, cwd=tmp_path, env=env) as server:
        assert server.ask(" ".join((*FAST, *PLAIN)))["text"].split() == list(PLAIN)
        assert server.terminate() == 0
        assert not [line for line in server.lines if "uvloop" in line or "httptools" in line]


def test_idle_connection_stays_open_as_long_as_the_setting_says(tmp_path: Path) -> None:
    with serve(write(tmp_path, TELL), "--keep-alive-s", "0.5", cwd=tmp_path) as server:
        host, port = address_of(server.url)
        with socket.create_connection((host, port), timeout=20) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = b""
            while chunk := connection.recv(4096):  # until the server closes
                answer += chunk
    assert b"200 OK" in answer
    assert b"connection: close" not in answer


def test_idle_connection_stays_longer_open_than_clients_keep_theirs() -> None:
    app = ChatServer()
    assert _config(app, access_log=False).timeout_keep_alive == app.settings.keep_alive_s == 75
