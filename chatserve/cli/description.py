"""Describes what is served: the first lines a server prints, and the report of `check`. Returns lines, prints none."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from chatserve.app import ChatServer
from chatserve.chat_function import Chat
from chatserve.cli.options import environment_name, option_name
from chatserve.cli.target import Target
from chatserve.codec import dumps
from chatserve.core.types import Json
from chatserve.settings import Settings

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - shown, not bound
_PLACEHOLDERS: Final[Mapping[str, Json]] = {
    "string": "...",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
}


def url_of(host: str, port: int) -> str:
    """Return the address a client on this machine can use."""
    shown = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def start_lines(target: Target, host: str, port: int) -> Iterator[str]:
    """Yield the lines that a server prints when it is ready."""
    app, url = target.app, url_of(host, port)
    yield f"{app.title} is served at {url} (from {target.name}: {target.taken})"
    if len(app.chats) > 1:
        yield f"  chats     {', '.join(_paths(app))}"
    for note in target.notes:
        if note.is_news:
            yield f"  {note.label:<9} {note.text}"
    yield f"  sessions  {app.settings.store}"
    if host in _EVERYWHERE:
        yield f"  hosts     {', '.join(app.settings.allowed_hosts)} (more with --allowed-host)"
    yield f"  try it    {curl_line(app, url)}"
    yield "  Ctrl+C    stops it"


def _paths(app: ChatServer) -> Iterator[str]:
    for number, name in enumerate(app.chats):
        yield f"{name} (/chat/{name}{'' if number else ', /chat'})"


def curl_line(app: ChatServer, url: str) -> str:
    """Return a command that asks the first chat something it can answer."""
    chat = next(iter(app.chats.values()))
    body: dict[str, Json] = {"message": chat.examples[0].text if chat.examples else "Hello"}
    schema: Mapping[str, Any] = chat.inputs_schema
    if required := schema.get("required"):
        body["inputs"] = {name: _placeholder(schema, name) for name in required}
    return f"curl -N {url}/chat --json {shlex.quote(dumps(body).decode())} -H 'Accept: text/plain'"


def _placeholder(schema: Mapping[str, Any], name: str) -> Json:
    """Return a value that the schema of an input allows, if the schema is a simple one."""
    field = schema["properties"][name]
    field = schema.get("$defs", {}).get(str(field.get("$ref", "")).rpartition("/")[2], field)
    for key in ("const", "minimum"):
        if key in field:
            value: Json = field[key]
            return value
    values: list[Json] = field.get("enum") or field.get("examples") or [_PLACEHOLDERS.get(field.get("type", ""), "...")]
    return values[0]


def check_lines(target: Target, given: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield lines on what would be served and with which settings; `given` are those of the command line."""
    yield f"{target.name}: {target.taken}, titled {target.app.title!r}"
    for chat in target.app.chats.values():
        yield ""
        yield from _chat_lines(chat)
    if target.notes:
        yield ""
        yield "how it was read"
        yield from (f"  {note.label:<16} {note.text}" for note in target.notes)
    yield ""
    yield "settings in force"
    yield from _setting_lines(target.app.settings, given, environment)


def _chat_lines(chat: Chat) -> Iterator[str]:
    options = chat.options
    yield f"chat {options.name!r} at /chat/{options.name}"
    rows: Sequence[tuple[str, str]] = (
        ("function", _kind(chat)),
        ("message", '{"text", "files"}' if options.multimodal else "a string"),
        ("history", options.history),
        ("yields", options.yields if chat.is_generator else ""),
        ("injected", ", ".join(f"{name} ({kind})" for name, kind in chat.signature.injected.items())),
        ("busy", options.when_busy),
        ("examples", f"{len(chat.examples)}" if chat.examples else ""),
        ("inputs", dumps(chat.inputs_schema).decode() if chat.input_names else "none"),
    )
    for name, value in rows:
        if value:
            yield f"  {name:<9} {value}"


def _kind(chat: Chat) -> str:
    kind = ("async " if chat.is_async else "sync ") + ("generator" if chat.is_generator else "function")
    return kind if chat.is_async else f"{kind}, in a thread of its own"


def _setting_lines(settings: Settings, given: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, Settings.model_fields))
    for name in Settings.model_fields:
        value = getattr(settings, name)
        shown = ",".join(value) if isinstance(value, tuple) else value
        yield f"  {name:<{width}}  {shown}  ({_origin(name, value, given, environment)})"


def _origin(name: str, value: Any, given: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    if name in given:
        return option_name(name)
    if value == Settings.model_fields[name].default:
        return "default"
    from_environment = environment.get(environment_name(name))
    if from_environment is not None and value == getattr(Settings.model_validate({name: from_environment}), name):
        return environment_name(name)
    return "ChatServer(...)"
