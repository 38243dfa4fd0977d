"""Pages of documentation that are run: their blocks, and the commands in them with what they print.

A `console` block holds commands (`$ …`, continued after a backslash) and, below each, exactly what it prints. Ids,
times and ports differ from run to run, `…` in a line stands for anything. An id in a command means the id that stood at
the same place in an earlier output.

    python -m tests.support.documents docs/http.md      write what the commands print now into the page
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server import ROOT, Server, serve

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ID = re.compile(r"\b[stmfe]_[\w-]{16,}")
COMMAND_TIMEOUT_S = 30
CURL_TIMED_OUT = 28
"""The exit code of a `curl -m`, which is how a page leaves a stream that has no end."""

ADDRESS = "localhost:8000"


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page as (language, content)."""
    return BLOCK.findall(text)


def generalize(output: str) -> str:
    """Replace what differs from run to run: ids, times, ports, random reconnection times."""
    output = ID.sub(lambda match: f"{match[0][:2]}ID", output)
    output = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", output)
    output = re.sub(r"^(date|last-modified): .*$", r"\1: DATE", output, flags=re.MULTILINE)
    output = re.sub(r"^retry: \d+$", "retry: N", output, flags=re.MULTILINE)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", output).replace("\r", "").strip()


def is_as_told(told: str, printed: str) -> bool:
    """Whether a command printed what the page tells, `…` standing for anything in a line."""
    pattern = re.escape(generalize(told)).replace("…", ".*")
    return re.fullmatch(pattern, generalize(printed)) is not None


@dataclass
class Commands:
    """Runs the commands of a page, one after the other, against one server and in one folder."""

    server: Server
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, told: str) -> str:
        """Run a command of a page; return what it printed, and learn which ids it told."""
        command = ID.sub(lambda match: self.ids.get(match[0], match[0]), command)
        command = command.replace(ADDRESS, self.server.url.removeprefix("http://"))
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode in {0, CURL_TIMED_OUT}, f"{command}: {done.stderr}"
        self.ids |= dict(zip(ID.findall(told), ID.findall(done.stdout), strict=False))
        return done.stdout


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block, each with what it is told to print."""
    for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, told = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n(.*)", piece, re.DOTALL).groups()
        yield command, told


@contextmanager
def serve_text(source: str, folder: Path, *args: str) -> Iterator[Server]:
    """Serve a program of a page, in a folder where its files go too."""
    app = folder / "app.py"
    app.write_text(source, "utf-8")
    with serve(app, *args, cwd=folder) as server:
        yield server


def app_of(page: str) -> str:
    """Return the program a page serves: its first Python block."""
    return next(text for language, text in blocks(page) if language == "python")


def _rewrite(path: Path) -> None:
    page = path.read_text("utf-8")
    with tempfile.TemporaryDirectory() as name, serve_text(app_of(page), Path(name)) as server:
        runner = Commands(server, Path(name))

        def rewritten(match: re.Match[str]) -> str:
            if match[1] != "console":
                return match[0]
            pieces = []
            for command, told in commands(match[2]):
                printed = runner.run(command, told).replace("\r", "").strip("\n")
                runner.ids |= {real: real for real in ID.findall(printed)}
                kept = told if "…" in told else f"{printed}\n" if printed else ""
                pieces.append(ID.sub(lambda each: runner.ids.get(each[0], each[0]), f"$ {command}\n{kept}"))
            return f"```console\n{''.join(pieces)}```"

        path.write_text(BLOCK.sub(rewritten, page), "utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        _rewrite(ROOT / argument)
