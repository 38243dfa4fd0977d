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
from urllib.parse import unquote, unquote_to_bytes

from chatserve.codec import clean_text
from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.turns import TurnCall
from chatserve.contracts.wire import ChatProfile, KeepFile, Step
from chatserve.core.errors import InputsInvalid
from chatserve.core.frozen import frozen
from chatserve.core.types import (
    DataPart,
    DraftPart,
    FilePart,
    Json,
    LocalFile,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolResultPart,
)
from chatserve.formats.shared.appended import prefill_mark

DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
SPEAKERS: Final = frozenset({"user", "assistant", "tool"})
"""The roles that take part in the conversation. Messages of other roles are instructions, at any place."""

ASKING: Final = frozenset({"user", "tool"})
"""The roles whose messages ask for an answer."""

NAME: Final = "name"
"""The key of a message's metadata, and of `params`, for the name of its participant."""

BETWEEN_ANSWERS: Final = "\n\n"
"""Separates the texts of several messages of the assistant at the end of a conversation."""

LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""One limit under three names: OpenAI renamed it twice, and clients send any of them."""

BETWEEN_TEXTS: Final = "\n"
"""Separates the text parts of one message: they must not run together."""


@frozen
class ArrayTurn:
    """A conversation that asks for an answer: the message or tool results, and the history before it.

    `name` is the name of the message's participant, `prefill` are the words with which the answer begins.
    """

    history: tuple[ParsedMessage, ...]
    text: str = ""
    files: tuple[FilePart, ...] = ()
    tool_results: tuple[ToolResultPart, ...] = ()
    name: str | None = None
    prefill: str | None = None

    def call(self, chat: ChatProfile, params: Mapping[str, Json], **others: Any) -> TurnCall:
        """Return the call that the conversation asks for. Its answer continues the prefill, if there is one."""
        echo = {**(others.pop("echo", None) or {}), **prefill_mark(self.prefill)}
        return TurnCall(
            chat.name,
            self.text,
            self.files,
            self.tool_results,
            params={**params, **({NAME: self.name} if self.name else {})},
            name=self.name,
            prefill=self.prefill,
            echo=echo or None,
            **others,
        )


def field_invalid(where: str, why: str) -> InputsInvalid:
    """Return the error for one field of a request. Formats may render the field's name in their own way."""
    return InputsInvalid(f"{where}: {why}", errors=[{"field": where, "message": why}])


def asking_place(roles: Sequence[Json]) -> int:
    """Return the place of the message to answer: the last one of the user or of a tool; -1 if there is none."""
    return max((place for place, role in enumerate(roles) if role in ASKING), default=-1)


def split_turn(messages: Sequence[ParsedMessage]) -> ArrayTurn:
    """Split a conversation at its last user message, or before the tool results that follow it.

    Words of the assistant after it are the prefill; instructions (system, developer) after it belong to the history.
    Without a user message or result, the text is empty.
    """
    asked = asking_place([message.role for message in messages])
    begin = max(asked, 0)
    while begin and messages[asked].role == messages[begin - 1].role == "tool":
        begin -= 1
    after = messages[asked + 1 :]
    said = [_text_of(message) for message in after if message.role == "assistant"]
    beside = [message for message in map(_without_words, after) if message is not None]
    parts = [part for message in messages[begin : asked + 1] for part in message.content]
    return ArrayTurn(
        (*messages[:begin], *beside),
        "".join(part.text for part in parts if isinstance(part, TextPart)),
        tuple(part for part in parts if isinstance(part, FilePart)),
        tuple(part for part in parts if isinstance(part, ToolResultPart)),
        name_of(messages[asked]) if asked >= 0 else None,
        BETWEEN_ANSWERS.join(filter(None, said)) or None,
    )


def _without_words(message: ParsedMessage) -> ParsedMessage | None:
    """Return what a message after the last user message adds to the history: of the assistant's, results and data."""
    if message.role != "assistant":
        return message
    if not any(isinstance(part, ToolResultPart | DataPart) for part in message.content):
        return None
    kept = tuple(part for part in message.content if not isinstance(part, TextPart | ReasoningPart))
    return replace(message, content=kept)


def _text_of(message: ParsedMessage) -> str:
    return "".join(part.text for part in message.content if isinstance(part, TextPart))


def named(message: ParsedMessage, name: Json) -> ParsedMessage:
    """Return a message with the name of its participant, if the client gave one."""
    return replace(message, metadata={NAME: clean_text(name)}) if isinstance(name, str) and name else message


def name_of(message: ParsedMessage) -> str | None:
    """Return the name of a message's participant."""
    return (message.metadata or {}).get(NAME)


def keep_files(messages: Sequence[ParsedMessage], chat: ChatProfile) -> Generator[Step, Any, tuple[ParsedMessage, ...]]:
    """Store the files that came inside messages. For a chat that takes no files, leave them out of the history.

    Raises:
        InputsInvalid: the last message has a file, and the chat takes no files.
        BodyTooLarge: a file is too large.
    """
    asked = asking_place([message.role for message in messages])
    last = messages[asked].content if asked >= 0 else ()
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

    `structure` are the fields that the protocol itself uses; they are neither inputs nor params. Null sets no input. A
    limit of tokens sets the input of any of its names.
    """
    fields = {name: value for name, value in body.items() if name not in structure}
    limits = (fields[name] for name in LIMITS if name not in chat.input_names and fields.get(name) is not None)
    limit = next(limits, None)
    given = fields | {name: limit for name in LIMITS if fields.get(name) is None}
    inputs = {name: given[name] for name in chat.input_names if given.get(name) is not None}
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


def is_data_url(url: Json) -> bool:
    """Whether a value is a `data:` URL, in any case."""
    return isinstance(url, str) and url[:5].lower() == "data:"


def read_link(url: Json, where: str, name: str | None = None, *, is_asked: bool) -> LocalFile | SourcePart:
    """Read a `data:` URL, or an address in the history, which becomes a link.

    `is_asked`: it is in the message to answer, where an address is refused: nothing is fetched for a client.

    Raises:
        InputsInvalid: the URL is broken, or an address in the message to answer.
    """
    if isinstance(url, str) and not is_asked and not is_data_url(url):
        return SourcePart(clean_text(url), name)
    return read_data_url(url, where, name)


def read_data_url(url: Json, where: str, name: str | None = None) -> LocalFile:
    """Read a `data:` URL (RFC 2397). `where` names the field in errors.

    Raises:
        InputsInvalid: the URL is broken, or an address of another kind, which is never fetched.
    """
    if not is_data_url(url):
        raise field_invalid(where, f"{url!r:.80} is no data: URL; addresses are not fetched, send the file's bytes")
    head, comma, payload = url[len("data:") :].partition(",")
    if not comma:
        raise field_invalid(where, "the data: URL has no comma")
    media_type, *options = [each.strip() for each in head.split(";")]
    if "base64" in map(str.lower, options):
        return read_base64(unquote(payload), media_type or "text/plain", where, name)
    return LocalFile(unquote_to_bytes(payload), name or _name_for(media_type), media_type or "text/plain")


def read_base64(payload: Json, media_type: str, where: str, name: str | None = None) -> LocalFile:
    """Read a file that came as base64, in either alphabet, with or without line ends and padding.

    Raises:
        InputsInvalid: it is no base64.
    """
    try:
        packed = "".join(payload.split()).translate(_STANDARD).rstrip("=")
        content = b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (AttributeError, binascii.Error, TypeError, ValueError) as error:
        raise field_invalid(where, f"the base64 cannot be read: {error}") from error
    return LocalFile(content, name or _name_for(media_type), media_type)


_STANDARD: Final = str.maketrans("-_", "+/")
"""Turns the alphabet for URLs into the standard one."""

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
