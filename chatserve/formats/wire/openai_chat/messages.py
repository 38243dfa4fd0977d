"""A conversation in OpenAI's shape, read as messages.

Messages are read into the form in which chatserve stores them (a user's text before the files, the results of one round
of tools together), so that a returning conversation is recognized. Clients are untrusted: no address is fetched.
Source: OpenAI API reference, "Create chat completion", `messages`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from chatserve.codec import clean_json
from chatserve.contracts.formats import ParsedMessage
from chatserve.core.frozen import frozen
from chatserve.core.types import (
    ROLES,
    DraftPart,
    FilePart,
    Json,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from chatserve.formats.shared.message_array import (
    BETWEEN_TEXTS,
    DEFAULT_MEDIA_TYPE,
    asking_place,
    field_invalid,
    named,
    read_base64,
    read_link,
    read_text,
    words_first,
)

OWN_FILE: Final = re.compile(r"/files/(f_[\w-]+)")
AUDIO_TYPES: Final = {"mp3": "audio/mpeg"}


@frozen
class Place:
    """The place of a message. `is_asked`: it is the one to answer; in others, unreadable files become links."""

    where: str
    is_asked: bool
    base_url: str


def read_messages(messages: Json, base_url: str = "") -> tuple[ParsedMessage, ...]:
    """Read a conversation. Files inside it become `LocalFile`s; files named by id have only their id.

    Raises:
        InputsInvalid: the conversation does not have OpenAI's shape.
    """
    if not isinstance(messages, list) or not messages:
        raise field_invalid("messages", "it must be a list of at least one message")
    asked = asking_place(list(map(_role_of, messages)))
    read = [
        _read_message(each, Place(f"messages[{index}]", index == asked, base_url))
        for index, each in enumerate(messages)
    ]
    return tuple(_joined_results(read))


def _role_of(message: Json) -> Json:
    role = message.get("role") if isinstance(message, dict) else None
    return "tool" if role == "function" else role if isinstance(role, str) else None


def _read_message(message: Json, place: Place) -> ParsedMessage:
    if not isinstance(message, dict):
        raise field_invalid(place.where, f"{message!r:.80} is not a message; make it an object with role and content")
    role = message.get("role")
    if role == "function":  # the role "tool" from the time before calls had ids
        role, message = "tool", {**message, "tool_call_id": message.get("name")}
    if not isinstance(role, str) or role not in ROLES:
        raise field_invalid(f"{place.where}.role", f"{role!r:.80} is not one of {', '.join(sorted(ROLES))}")
    if role == "tool":
        return _read_result(message, place)
    if role == "assistant":
        return named(_read_answer(message, place), message.get("name"))
    return named(ParsedMessage(role, words_first(_read_content(message, place))), message.get("name"))


def _read_answer(message: Mapping[str, Json], place: Place) -> ParsedMessage:
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    thought = (ReasoningPart(reasoning),) if isinstance(reasoning, str) else ()
    calls = _read_calls(message, place)
    says_something = message.get("content") or message.get("refusal") or not calls
    content = words_first(_read_content(message, place)) if says_something else ()
    return ParsedMessage("assistant", (*thought, *content, *calls))


def _read_result(message: Mapping[str, Json], place: Place) -> ParsedMessage:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        raise field_invalid(f"{place.where}.tool_call_id", f"{call_id!r:.80} is not the id of a tool call")
    content = message.get("content")
    if isinstance(content, list) and any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
        return ParsedMessage("tool", (ToolResultPart(call_id, clean_json(content)),))  # pictures among it are kept
    texts = [part.text for part in _read_content(message, place) if isinstance(part, TextPart)]
    return ParsedMessage("tool", (ToolResultPart(call_id, BETWEEN_TEXTS.join(texts)),))


def _joined_results(messages: Sequence[ParsedMessage]) -> Iterator[ParsedMessage]:
    """Yield the messages, with consecutive tool results joined: they answer the calls of one message."""
    for role, group in groupby(messages, key=attrgetter("role")):
        if role == "tool":
            yield ParsedMessage(role, tuple(part for message in group for part in message.content))
        else:
            yield from group


# --- calls of tools ----------------------------------------------------------------------------------------------


def _read_calls(message: Mapping[str, Json], place: Place) -> tuple[ToolCallPart, ...]:
    calls = message.get("tool_calls") or []
    where = f"{place.where}.tool_calls"
    if isinstance(old := message.get("function_call"), dict) and not calls:  # from the time before calls had ids
        calls = [{"id": old.get("name"), "function": old}]
    if not isinstance(calls, list):
        raise field_invalid(where, "it is not a list")
    return tuple(_read_call(call, f"{where}[{index}]") for index, call in enumerate(calls))


def _read_call(call: Json, where: str) -> ToolCallPart:
    """Read a call of a function or of a custom tool, whose input may be any text."""
    kind = "custom" if isinstance(call, dict) and call.get("type") == "custom" else "function"
    called = call.get(kind) if isinstance(call, dict) else None
    if not isinstance(called, dict):
        raise field_invalid(where, f"{call!r:.80} is not a call of a {kind}")
    texts = (call.get("id"), called.get("name"), called.get("arguments" if kind == "function" else "input"))
    call_id, name, arguments = texts
    if not (isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str)):
        raise field_invalid(where, "id, name and arguments must be text")
    return ToolCallPart(call_id, name, arguments, kind="custom" if kind == "custom" else None)


# --- content -----------------------------------------------------------------------------------------------------


def _read_content(message: Mapping[str, Json], place: Place) -> tuple[DraftPart, ...]:
    content = message.get("content")
    if content is None:
        refusal = message.get("refusal")
        content = refusal if isinstance(refusal, str) else None
        if content is None and message.get("role") == "user":
            raise field_invalid(f"{place.where}.content", "the message has no content")
    if content is None or isinstance(content, str):
        return (TextPart(content or ""),)
    if not isinstance(content, list):
        raise field_invalid(f"{place.where}.content", f"{content!r:.80} is neither text nor a list of parts")
    read = [_read_part(part, f"{place.where}.content[{index}]", place) for index, part in enumerate(content)]
    return tuple(part for part in read if part is not None)


def _read_part(part: Json, where: str, place: Place) -> DraftPart | None:
    """Read a part. A part of an unknown kind is refused in the last user message, and left out elsewhere."""
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and isinstance(kind, str) and kind in _READERS:
        return _READERS[kind](part, where, place)
    if not place.is_asked:
        return None
    raise field_invalid(f"{where}.type", f"{kind!r:.80} is not one of {', '.join(_READERS)}")


def _read_text(part: Mapping[str, Json], where: str, _place: Place) -> DraftPart:
    return TextPart(read_text(part, "refusal" if part["type"] == "refusal" else "text", where))


def _read_image(part: Mapping[str, Json], where: str, place: Place) -> DraftPart:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return _read_link(url, f"{where}.image_url.url", place)


def _read_link(url: Json, where: str, place: Place, name: str | None = None) -> DraftPart:
    """Read a data: URL or the address of a file on this server. Any other address can only be a link in the history."""
    if isinstance(url, str) and (own := OWN_FILE.fullmatch(url.removeprefix(place.base_url))):
        return FilePart(own[1], "", "", 0)
    return read_link(url, where, name, is_asked=place.is_asked)


def _read_audio(part: Mapping[str, Json], where: str, _place: Place) -> DraftPart:
    audio = part.get("input_audio")
    encoding = audio.get("format") if isinstance(audio, dict) else None
    if not isinstance(audio, dict) or not isinstance(encoding, str):
        raise field_invalid(f"{where}.input_audio", "it must be an object with data and format")
    return read_base64(
        audio.get("data"),
        AUDIO_TYPES.get(encoding, f"audio/{encoding}"),
        f"{where}.input_audio.data",
        f"audio.{encoding}",
    )


def _read_file(part: Mapping[str, Json], where: str, place: Place) -> DraftPart:
    file = part.get("file")
    if not isinstance(file, dict):
        raise field_invalid(f"{where}.file", "it must be an object with file_data or file_id")
    file_id, filename, content = file.get("file_id"), file.get("filename"), file.get("file_data")
    name = filename if isinstance(filename, str) else None
    if isinstance(file_id, str):
        return FilePart(file_id, "", "", 0)
    if isinstance(content, str) and ":" in content:
        return _read_link(content, f"{where}.file.file_data", place, name)
    return read_base64(content, DEFAULT_MEDIA_TYPE, f"{where}.file.file_data", name)


_READERS: Final[Mapping[str, Callable[[Mapping[str, Json], str, Place], DraftPart]]] = {
    "text": _read_text,
    "refusal": _read_text,
    "image_url": _read_image,
    "input_audio": _read_audio,
    "file": _read_file,
}
