"""`dev`: replaces the server process when the code beside the target changes.

The parent process owns the listening sockets, so a client that connects between two servers waits instead of being
refused. The parent never imports the target. Knows processes and files, and nothing of turns.
"""

from __future__ import annotations

import ipaddress
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Final

import click

from chatserve.cli.deadline import FORCED_AFTER_S
from chatserve.cli.launch import Launch, prepare, serve_on
from chatserve.cli.listeners import close, listen
from chatserve.cli.logs import clean
from chatserve.cli.target import TargetError, locate
from chatserve.core.errors import ConfigurationError
from chatserve.settings import read_settings

DRAIN_TIMEOUT_S: Final = 1.0
"""How long running turns may delay a reload, unless `--drain-timeout-s` says otherwise."""

POLL_S: Final = 0.25
POLL_SHARE: Final = 10
"""Looking at files takes at most one part in this many of the time."""

BAD_TARGET: Final = 3
"""Exit code of a server whose target may work after the next change."""

_PASSED_OVER: Final = frozenset({"__pycache__", "node_modules", "site-packages"})
Stamps = dict[str, tuple[int, int]]


def develop(launch: Launch) -> int:
    """Serve until a signal, with a new process for every change; return the exit code. Raises: ConfigurationError."""
    _require_loopback(launch.host)
    settings = {"debug": True, "drain_timeout_s": DRAIN_TIMEOUT_S, **launch.settings}
    checked = read_settings({}, command_line=settings)
    folder = locate(launch.target).folder
    listeners = listen(launch.host, launch.port)
    try:
        return Developer(replace(launch, settings=settings), listeners, folder, checked.drain_timeout_s).run()
    finally:
        close(listeners)


def _require_loopback(host: str) -> None:
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    if not is_loopback:
        raise ConfigurationError(
            f"dev shows error texts to every client, so it listens on this machine only, not on {host!r}; "
            "omit --host, or use run"
        )


class Developer:
    """Keeps one server process running the newest code."""

    def __init__(self, launch: Launch, listeners: Sequence[socket], folder: Path, drain_timeout_s: float) -> None:
        self._launch = launch
        self._listeners = listeners
        self._folder = folder
        self._end_timeout_s = drain_timeout_s + 2 * FORCED_AFTER_S
        self._is_leaving = False
        self._context = multiprocessing.get_context("spawn")

    def run(self) -> int:
        """Serve until a signal; return the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._leave)
        stamps = read_stamps(self._folder)
        is_first = True
        while True:
            process = self._context.Process(target=serve_newest, args=(self._launch, self._listeners, not is_first))
            process.start()
            changed = self._wait(process, stamps, is_first=is_first)
            code = self._end(process)
            if not changed:
                return code
            stamps, is_first = read_stamps(self._folder), False
            click.echo(f"{clean(', '.join(changed))} changed: reloading")

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        self._is_leaving = True

    def _wait(self, process: multiprocessing.process.BaseProcess, stamps: Stamps, *, is_first: bool) -> list[str]:
        """Wait for a change and return the files; return none when `dev` has to end."""
        has_ended = False
        pause_s = POLL_S
        while not self._is_leaving:
            wait([process.sentinel] if not has_ended else [], pause_s)
            if not has_ended and process.exitcode is not None:
                if is_first and process.exitcode != BAD_TARGET:
                    return []
                click.echo(f"waiting for a change in {clean(str(self._folder))}")
                has_ended = True
            began = time.monotonic()
            if changed := self._settled_changes(stamps):
                return changed
            pause_s = max(POLL_S, (time.monotonic() - began) * POLL_SHARE)
        return []

    def _settled_changes(self, stamps: Stamps) -> list[str]:
        """Return the changed files once no more change: editors and version control write many files at once."""
        before, newest = stamps, read_stamps(self._folder)
        while newest != before and not self._is_leaving:
            time.sleep(POLL_S / 2)
            before, newest = newest, read_stamps(self._folder)
        names = [name for name in newest.keys() | stamps.keys() if newest.get(name) != stamps.get(name)]
        return sorted(str(Path(name).relative_to(self._folder)) for name in names)

    def _end(self, process: multiprocessing.process.BaseProcess) -> int:
        """Stop the process, which may drain; return its exit code."""
        if process.is_alive():
            process.terminate()
            process.join(self._end_timeout_s)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode or 0


def read_stamps(folder: Path) -> Stamps:
    """Return time and size of every Python file below a folder, hidden folders and environments left out."""
    return dict(_walk(folder))


def _walk(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _PASSED_OVER and not name.startswith(".")]
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(parent, name)  # noqa: PTH118 - making a Path for each of thousands of files is slow
                try:
                    status = os.stat(path)  # noqa: PTH116
                except OSError:
                    continue  # deleted meanwhile
                yield path, (status.st_mtime_ns, status.st_size)


def serve_newest(launch: Launch, listeners: Sequence[socket], is_reload: bool) -> None:
    """Serve in this process, which the parent started. Ends the process with an exit code."""
    threading.Thread(target=_follow_parent, name="chatserve-parent", daemon=True).start()
    try:
        target = prepare(launch)
        serve_on(launch, target, list(listeners), is_reload=is_reload)
    except ConfigurationError as error:
        click.echo(f"chatserve: {clean(error.detail)}", err=True)
        sys.exit(BAD_TARGET if isinstance(error, TargetError) else 2)


def _follow_parent() -> None:
    """End this process once its parent has ended: after a kill of the parent, nothing else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
