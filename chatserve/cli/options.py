"""Options of the commands: those of the process, and one for each setting of `chatserve.settings`."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

import click
from pydantic.fields import FieldInfo

from chatserve.chat_function import ChatOptions
from chatserve.settings import ENVIRONMENT_PREFIX, Settings

Command = TypeVar("Command", bound=Callable[..., Any])
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def setting_options(function: Command) -> Command:
    """Give a command one option per setting; `read_settings` checks the values."""
    for name, field in reversed(Settings.model_fields.items()):
        function = _setting_option(name, field)(function)
    return function


def server_options(function: Command) -> Command:
    """Give a command the options of the process it starts."""
    options = (
        _process_option("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all"),
        _process_option("--port", type=click.IntRange(0, 65535), default=8000, help="port; 0 takes any free one"),
        _process_option(
            "--log-level", type=click.Choice(LOG_LEVELS), default="info", help="lowest level that is logged"
        ),
        _process_option(
            "--log-format", type=click.Choice(("text", "json")), default="text", help="format of log lines"
        ),
        _process_option("--access-log/--no-access-log", default=False, help="log every request"),
    )
    for option in reversed(options):
        function = option(function)
    return function


def chat_options(function: Command) -> Command:
    """Give a command what it can say of a chat function in a file without a ChatServer."""
    bare = "for a function without @app.chat"
    options = (
        _process_option(
            "--history", type=click.Choice(_values_of("history")), help=f"{bare}: the shape of its history"
        ),
        _process_option("--yields", type=click.Choice(_values_of("yields")), help=f"{bare}: what each yield is"),
        _process_option("--multimodal/--no-multimodal", default=None, help=f"{bare}: whether its message has files"),
        _process_option("--name", help=f"{bare}: the name of its chat"),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _values_of(option: str) -> tuple[str, ...]:
    return typing.get_args(ChatOptions.model_fields[option].annotation)


def given_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that were given among a command's options."""
    return {name: value for name, value in options.items() if name in Settings.model_fields and value not in (None, ())}


def option_name(name: str) -> str:
    """Return the option of a setting: `--store`; `--cors-origin` for `cors_origins`, as it is given once per value."""
    field = Settings.model_fields[name]
    return "--" + (name.removesuffix("s") if _is_names(field) else name).replace("_", "-")


def _setting_option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    option = option_name(name)
    text = f"{field.description} [{environment_name(name)}{_shown_default(field)}]"
    if field.annotation is bool:
        return click.option(f"{option}/--no-{option[2:]}", name, default=None, help=text)
    if _is_names(field):
        return click.option(option, name, multiple=True, metavar="TEXT", help=f"{text} (repeatable)")
    return click.option(option, name, metavar=_metavar(name, field), help=text)


def _process_option(declaration: str, **arguments: Any) -> Callable[[Command], Command]:
    name = declaration.partition("/")[0].removeprefix("--").replace("-", "_")
    return click.option(declaration, envvar=environment_name(name), show_envvar=True, show_default=True, **arguments)


def environment_name(name: str) -> str:
    """Return the environment variable of a setting or option."""
    return ENVIRONMENT_PREFIX + name.upper()


def _shown_default(field: FieldInfo) -> str:
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    return "" if default in (None, "") else f"; default: {default}"


def _is_names(field: FieldInfo) -> bool:
    return isinstance(field.default, tuple)


def _metavar(name: str, field: FieldInfo) -> str:
    if typing.get_origin(field.annotation) is Literal:
        return "|".join(typing.get_args(field.annotation))
    suffix = name.rpartition("_")[2]
    return {"s": "SECONDS", "bytes": "BYTES", "readers": "NUMBER", "dir": "FOLDER"}.get(suffix, "TEXT")
