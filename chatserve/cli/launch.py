"""One launch of a server: what the command line asked for, and the steps from there to a running server."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from chatserve.cli.description import start_lines
from chatserve.cli.listeners import close, listen, port_of
from chatserve.cli.logs import LogFormat, configure_logging
from chatserve.cli.options import given_settings
from chatserve.cli.server import serve
from chatserve.cli.target import CHAT_OPTIONS, Target, load_target
from chatserve.core.errors import ConfigurationError
from chatserve.settings import Settings
from chatserve.stores import create_store

logger = logging.getLogger("chatserve.cli")


@dataclass(frozen=True, slots=True)
class Launch:
    """What to serve, where and how. `settings` are those of the command line, `chat` what it says of a function."""

    target: str
    host: str
    port: int
    log_level: str
    log_format: LogFormat
    access_log: bool
    settings: Mapping[str, Any]
    chat: Mapping[str, Any]

    @classmethod
    def from_options(cls, target: str, options: Mapping[str, Any]) -> Launch:
        """Read the options of a command."""
        chat = {name: value for name, value in options.items() if name in CHAT_OPTIONS}
        left = {name: value for name, value in options.items() if name not in {*Settings.model_fields, *chat}}
        return cls(target, settings=given_settings(options), chat=chat, **left)


def run(launch: Launch, *, workers: int = 1) -> None:
    """Serve until a signal. Raises: ConfigurationError."""
    target = prepare(launch)
    if workers > 1:
        _refuse_workers(workers, target.app.settings.store)
    listeners = listen(launch.host, launch.port)
    try:
        serve_on(launch, target, listeners)
    finally:
        close(listeners)


def prepare(launch: Launch) -> Target:
    """Set up logging, load the target and give it the settings of the command line. Raises: ConfigurationError."""
    configure_logging(launch.log_level, launch.log_format)
    return load_with_settings(launch.target, launch.settings, launch.chat)


def load_with_settings(name: str, settings: Mapping[str, Any], chat: Mapping[str, Any]) -> Target:
    """Load a target, give it settings, and check what can be checked before anything is opened.

    `chat` is what the command line says of a chat function, in place of `@app.chat`.

    Raises:
        ConfigurationError: the target or a setting is not what it should be.
    """
    target = load_target(name, chat)
    target.app.override(**settings)
    create_store(target.app.settings.store)
    return target


def serve_on(launch: Launch, target: Target, listeners: list[socket.socket], *, is_reload: bool = False) -> None:
    """Serve a prepared target, and print its address once it answers. Raises: ConfigurationError."""

    def on_ready() -> None:
        first, *more = start_lines(target, launch.host, port_of(listeners))
        if launch.log_format == "json":
            logger.info("%s", first)
            return
        click.echo("\n".join([first] if is_reload else [first, *more]))

    serve(target.app, listeners, access_log=launch.access_log, on_ready=on_ready)


def _refuse_workers(workers: int, store: str) -> None:
    """Refuse more than one process. Raises: ConfigurationError."""
    if create_store(store).shared:
        raise ConfigurationError(f"{workers} workers: start {workers} servers instead, each on a port of its own")
    raise ConfigurationError(f"{workers} workers cannot share the store {store!r}: one process owns it; run one worker")
