"""Pages of documentation that are run: their blocks, and the commands in them with what they print.

A `console` block holds commands (`$ …`, continued after a backslash) and, below each, exactly what it prints. Ids,
times and ports differ from run to run, `…` in a line stands for anything. A page cuts ids short (`t_9fKx…`); an id in a
command means the id that an earlier output had at the same place.

    python -m tests.support.documents docs/http.md      write what the commands print now into the page
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from tests.support.server import ROOT, Server, serve

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ID = re.compile(r"\b[stmfe]_(?:[\w-]{16,}|[\w-]+…)")
"""An id, whole as a server prints it or cut short as a page shows it."""

SHOWN_DIGITS = 4
"""How many characters a page shows of an id: the last ones, which are random."""

COMMAND_TIMEOUT_S = 30
CURL_TIMED_OUT = 28
"""The exit code of a `curl -m`, which is how a page leaves a stream that has no end."""

ADDRESS = "localhost:8000"


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page as (language, content)."""
    return BLOCK.findall(text)


def generalize(output: str) -> str:
    """Replace what differs from run to run: ids, times, ports, random reconnection times."""
    return generalize_times(ID.sub(lambda match: f"{match[0][:2]}ID", output))


def generalize_times(output: str) -> str:
    """Replace what differs from run to run, but for ids."""
    output = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", output)
    output = re.sub(r"^(date|last-modified): .*$", r"\1: DATE", output, flags=re.MULTILINE)
    output = re.sub(r"^retry: \d+$", "retry: N", output, flags=re.MULTILINE)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", output).replace("\r", "").strip()


def is_as_told(told: str, printed: str) -> bool:
    """Whether a command printed what the page tells, `…` standing for anything in a line."""
    pattern = re.escape(generalize(told)).replace("…", ".*")
    return re.fullmatch(pattern, generalize(printed)) is not None


def ids_as_told(told: str, printed: str) -> dict[str, str]:
    """Return the id a command printed for each id of the page: at the same place, else, in other output, in order."""
    ids = ID.findall(told)
    groups = [f"({name[:2]}[\\w-]{{16,}})" for name in ids]
    texts = [re.escape(text).replace("…", ".*") for text in ID.split(generalize_times(told))]
    pattern = "".join(text + group for text, group in zip_longest(texts, groups, fillvalue=""))
    match = re.fullmatch(pattern, generalize_times(printed))
    return dict(zip(ids, match.groups() if match else ID.findall(printed), strict=False))


def cut_short(name: str) -> str:
    """Return an id as a page shows it."""
    return f"{name[:2]}{name[-SHOWN_DIGITS:]}…"


@dataclass
class Commands:
    """Runs the commands of a page, one after the other, against one server and in one folder."""

    server: Server
    folder: Path
    ids: dict[str, str] = field(default_factory=dict)

    def run(self, command: str, told: str) -> str:
        """Run a command of a page; return what it printed, and remember its ids."""
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
        self.ids |= ids_as_told(told, done.stdout)
        return done.stdout

    def shorten(self, printed: str) -> str:
        """Return an output as the page shows it: an id it knows under its name there, a new one cut short."""
        names = {whole: name for name, whole in self.ids.items()}
        return ID.sub(lambda match: names.get(match[0]) or cut_short(match[0]), printed)


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
                printed = runner.shorten(printed)
                kept = told if "…" in ID.sub("", told) else f"{printed}\n" if printed else ""
                pieces.append(f"$ {command}\n{kept}")
            return f"```console\n{''.join(pieces)}```"

        path.write_text(BLOCK.sub(rewritten, page), "utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        _rewrite(ROOT / argument)
