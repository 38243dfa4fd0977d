"""A whole conversation as clients of other protocols send it, split into the message and the history.

Also reads the fields that all these protocols have: tools, and the inputs of the chat function.

Shared by the wire formats, which must not import one another. Each reads its own shape into `ParsedMessage`s, with
files as bytes (`LocalFile`), and passes them on to this module. Such a conversation is untrusted: bytes that came with
it are stored, but an address is never fetched.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.wire import ChatProfile, KeepFile, Step
from chatserve.core.errors import InputsInvalid
from chatserve.core.frozen import frozen
from chatserve.core.types import DraftPart, FilePart, Json, LocalFile, TextPart, ToolResultPart

DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
SPEAKERS: Final = frozenset({"user", "assistant", "tool"})
"""The roles that take part in the conversation. Messages of other roles are instructions, at any place."""

BETWEEN_TEXTS: Final = "\n"
"""Separates the text parts of one message: they must not run together."""


@frozen
class ArrayTurn:
    """A conversation that asks for an answer: the message or tool results, and the history before it."""

    history: tuple[ParsedMessage, ...]
    text: str = ""
    files: tuple[FilePart, ...] = ()
    tool_results: tuple[ToolResultPart, ...] = ()


def field_invalid(where: str, why: str) -> InputsInvalid:
    """Return the error for one field of a request. Formats may render the field's name in their own way."""
    return InputsInvalid(f"{where}: {why}", errors=[{"field": where, "message": why}])


def split_turn(messages: Sequence[ParsedMessage], where: str = "messages") -> ArrayTurn:
    """Split a conversation at its last user message, or before the tool results at its end.

    Instructions (system, developer) after the last message also belong to the history. `where` names the field in
    errors.

    Raises:
        InputsInvalid: there is nothing to answer: the conversation is empty or ends with the assistant's message.
    """
    last = max((index for index, message in enumerate(messages) if message.role in SPEAKERS), default=None)
    if last is None or messages[last].role == "assistant":
        said = "there is none" if last is None else "it ends with the assistant's"
        raise field_invalid(where, f"the last one must be the user's or a tool's result; {said}")
    begin = last
    while begin and messages[last].role == messages[begin - 1].role == "tool":
        begin -= 1
    parts = [part for message in messages[begin : last + 1] for part in message.content]
    return ArrayTurn(
        (*messages[:begin], *messages[last + 1 :]),
        "".join(part.text for part in parts if isinstance(part, TextPart)),
        tuple(part for part in parts if isinstance(part, FilePart)),
        tuple(part for part in parts if isinstance(part, ToolResultPart)),
    )


def keep_files(messages: Sequence[ParsedMessage], chat: ChatProfile) -> Generator[Step, Any, tuple[ParsedMessage, ...]]:
    """Store the files that came inside messages. For a chat that takes no files, leave them out of the history.

    Raises:
        InputsInvalid: the last message has a file, and the chat takes no files.
        BodyTooLarge: a file is too large.
    """
    spoken = [message for message in messages if message.role in SPEAKERS]
    last = spoken[-1].content if spoken else ()
    if not chat.takes_files and any(isinstance(part, LocalFile) for part in last):
        raise InputsInvalid(f"the chat {chat.name!r} takes no files; send text", errors=[])
    kept = []
    for message in messages:
        content = yield from _keep_parts(message.content, chat)
        kept.append(replace(message, content=content))
    return tuple(kept)


def _keep_parts(parts: Sequence[DraftPart], chat: ChatProfile) -> Generator[Step, Any, tuple[DraftPart, ...]]:
    kept: list[DraftPart] = []
    for part in parts:
        if not isinstance(part, LocalFile):
            kept.append(part)
        elif chat.takes_files and isinstance(part.source, bytes):
            kept.append((yield from KeepFile(part.source, part.name or "file", part.media_type or DEFAULT_MEDIA_TYPE)))
    return tuple(kept)


def words_first(parts: Sequence[DraftPart]) -> tuple[DraftPart, ...]:
    """Return parts in their stored order, joined text before files, so that returning messages are recognized."""
    others = tuple(part for part in parts if not isinstance(part, TextPart))
    words = BETWEEN_TEXTS.join(part.text for part in parts if isinstance(part, TextPart))
    return (TextPart(words), *others) if words or not others else others


# --- the fields beside it ----------------------------------------------------------------------------------------


def split_fields(
    body: Mapping[str, Json], structure: Collection[str], chat: ChatProfile
) -> tuple[dict[str, Json], dict[str, Json]]:
    """Split a body's fields into the inputs of the chat function and its params: all other fields.

    `structure` are the fields that the protocol itself uses; they are neither inputs nor params. Null sets no input.
    """
    fields = {name: value for name, value in body.items() if name not in structure}
    inputs = {name: fields[name] for name in chat.input_names if fields.get(name) is not None}
    return inputs, {name: value for name, value in fields.items() if name not in inputs}


def read_text(fields: Mapping[str, Json], name: str, where: str) -> str:
    """Return a field that must be text. `where` names its object in errors. Raises: InputsInvalid."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise field_invalid(f"{where}.{name}", f"{value!r:.80} is not text")
    return value


def read_limit(query: Mapping[str, str], default: int, maximum: int) -> int:
    """Return the field `limit` of a query: how many entries a page has at most. Raises: InputsInvalid."""
    given = query.get("limit", str(default))
    if not (given.isascii() and given.isdecimal() and 1 <= int(given) <= maximum):
        raise field_invalid("limit", f"{given!r:.80} is not a number from 1 to {maximum}")
    return int(given)


def read_tools(body: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Return the tools that a body offers, unchanged. Raises: InputsInvalid."""
    tools = body.get("tools")
    if tools is None:
        return []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise field_invalid("tools", "make it a list of objects")
    return tools


# --- files inside JSON -------------------------------------------------------------------------------------------


def read_data_url(url: Json, where: str, name: str | None = None) -> LocalFile:
    """Read a `data:` URL (RFC 2397). `where` names the field in errors.

    Raises:
        InputsInvalid: the URL is broken, or an address of another kind, which is never fetched.
    """
    if not isinstance(url, str) or not url.startswith("data:"):
        raise field_invalid(where, f"{url!r:.80} is no data: URL; addresses are not fetched, send the file's bytes")
    head, comma, payload = url[len("data:") :].partition(",")
    if not comma:
        raise field_invalid(where, "the data: URL has no comma")
    media_type, *options = head.split(";")
    if "base64" in options:
        return read_base64(payload, media_type or "text/plain", where, name)
    return LocalFile(unquote_to_bytes(payload), name or _name_for(media_type), media_type or "text/plain")


def read_base64(payload: Json, media_type: str, where: str, name: str | None = None) -> LocalFile:
    """Read a file that came as base64. Raises: InputsInvalid."""
    try:
        content = b64decode(payload, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise field_invalid(where, f"the base64 cannot be read: {error}") from error
    return LocalFile(content, name or _name_for(media_type), media_type)


_SUFFIXES: Final[Mapping[str, str]] = {
    "image/png": "image.png",
    "image/jpeg": "image.jpg",
    "image/gif": "image.gif",
    "image/webp": "image.webp",
    "application/pdf": "document.pdf",
    "text/plain": "file.txt",
    "audio/wav": "audio.wav",
    "audio/mpeg": "audio.mp3",
}


def _name_for(media_type: str) -> str:
    return _SUFFIXES.get(media_type, "file")
