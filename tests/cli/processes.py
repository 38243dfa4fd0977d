"""Commands in processes of their own, and files for them to serve."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.server import ROOT

TIMEOUT_S = 30

WAITS = '''
import asyncio, time
from pathlib import Path
from chatserve import ChatServer

app = ChatServer()


@app.chat
async def wait(message, history):
    """Say a word, then wait for a file beside this one."""
    yield "begun"
    while not Path(__file__).with_name(message).exists():
        await asyncio.sleep(0.01)
    yield "begun and ended"


@app.chat
def echo(message, history):
    return message
'''


def write(folder: Path, text: str, name: str = "app.py") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def command(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `chatserve` to its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHATSERVE_")}
    return subprocess.run(
        [sys.executable, "-m", "chatserve", *map(str, args)],
        cwd=cwd,
        env={**kept, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def refusal(*args: str | Path, cwd: Path, **env: str) -> str:
    """Run a command that must be refused: exit code 2 and one line, which is returned."""
    done = command(*args, cwd=cwd, **env)
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line
