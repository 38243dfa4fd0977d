"""Input items as messages: the client's messages, parts of earlier answers that it sends back, results of its tools.

Items are read in order. A tool call joins the assistant's message before it, so that the history has the shape of
stored answers. Reasoning is left out; whatever else cannot be read is kept as data. Files come as bytes or as ids of
uploads; addresses are never fetched. Knows no turns and no sessions.

Source: OpenAI API reference, "Create a model response", `input`; Open Responses specification of 2026-04-24, "Items".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.wire import FindFiles, FindMessage, Step
from chatserve.core.errors import MessageUnknown
from chatserve.core.types import DraftPart, Json, Message, TextPart, ToolCallPart
from chatserve.formats.shared.message_array import (
    DEFAULT_MEDIA_TYPE,
    asking_place,
    field_invalid,
    is_data_url,
    named,
    read_base64,
    read_link,
    read_text,
)
from chatserve.formats.wire.openai_responses.ids import message_id
from chatserve.formats.wire.openai_responses.tools import is_result, read_call, read_result

Item: TypeAlias = Mapping[str, Json]
Reading: TypeAlias = Generator[Step, Any, None]

_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text", "refusal"})


def read_input(
    given: Json, where: str = "input", known: Sequence[Message] = ()
) -> Generator[Step, Any, tuple[ParsedMessage, ...]]:
    """Read `input`: a text, or items. Items of messages in `known`, the history before it, are left out.

    Raises:
        InputsInvalid: an item cannot be read, or refers to something that does not exist.
        FileUnknown: a file does not exist.
    """
    if isinstance(given, str):
        return (ParsedMessage("user", (TextPart(given),)),)
    if not isinstance(given, list):
        raise field_invalid(where, f"{given!r:.80} is neither a text nor a list of items")
    reader = _ItemReader(known)
    asked = asking_place(list(map(_speaker_of, given)))
    for place, item in enumerate(given):
        reader.is_asked = place == asked
        yield from reader.read(item, f"{where}[{place}]")
    return tuple(reader.messages)


class _ItemReader:
    """Collects messages from items. `is_asked`: the next item is the message to answer; others may hold links."""

    def __init__(self, known: Sequence[Message]) -> None:
        self.messages: list[ParsedMessage] = []
        self.is_asked = False
        self._known = {message.message_id for message in known}
        self._referred: set[str] = set()
        self._calls = Counter(
            part.tool_call_id for each in known for part in each.content if isinstance(part, ToolCallPart)
        )

    def read(self, item: Json, where: str) -> Reading:
        """Read one item. Raises: as `read_input`."""
        kind, item_id = _type_of(item, where), item.get("id")
        if isinstance(item_id, str) and message_id(item_id) in self._known:
            return
        match kind:
            case "message":
                yield from self._read_message(item, where)
            case "item_reference":
                yield from self._refer(item, where)
            case _ if is_result(kind):
                self.messages.append(ParsedMessage("tool", (read_result(item, where),)))
            case _:
                self._read_call(item, where)

    def _read_message(self, item: Item, where: str) -> Reading:
        role = item.get("role")
        if role not in _ROLES:
            raise field_invalid(f"{where}.role", f"{role!r:.80} is not one of {', '.join(sorted(_ROLES))}")
        content = item.get("content")
        if isinstance(content, str):
            parts: tuple[DraftPart, ...] = (TextPart(content),)
        elif isinstance(content, list):
            parts = yield from _read_parts(content, f"{where}.content", is_asked=self.is_asked)
        else:
            raise field_invalid(f"{where}.content", f"{content!r:.80} is neither a text nor a list of parts")
        self.messages.append(named(ParsedMessage(role, parts), item.get("name")))

    def _read_call(self, item: Item, where: str) -> None:
        """Read a call of an earlier answer, or another item of it. A call of the history before it counts once."""
        parts = read_call(item, where)
        called = next((part.tool_call_id for part in parts if isinstance(part, ToolCallPart)), None)
        if called is not None and self._calls[called]:
            self._calls[called] -= 1
        elif parts:
            self._join_assistant(*parts)

    def _join_assistant(self, *parts: DraftPart) -> None:
        if self.messages and self.messages[-1].role == "assistant":
            before = self.messages.pop()
            self.messages.append(replace(before, content=(*before.content, *parts)))
        else:
            self.messages.append(ParsedMessage("assistant", parts))

    def _refer(self, item: Item, where: str) -> Reading:
        """Add the whole message that an item of an earlier response belongs to, once."""
        item_id = read_text(item, "id", where)
        known_id = message_id(item_id)
        if known_id in self._referred:
            return
        self._referred.add(known_id)
        try:
            message = yield from FindMessage(known_id)
        except MessageUnknown:
            raise field_invalid(f"{where}.id", f"no item {item_id!r} is stored here; send the item itself") from None
        self.messages.append(ParsedMessage(message.role, message.content, message.metadata, message.options))


# --- parts of messages -------------------------------------------------------------------------------------------


def _read_parts(content: Sequence[Json], where: str, *, is_asked: bool) -> Generator[Step, Any, tuple[DraftPart, ...]]:
    parts: list[DraftPart] = []
    for place, part in enumerate(content):
        at = f"{where}[{place}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _TEXTS:
            parts.append(TextPart(read_text(part, "refusal" if kind == "refusal" else "text", at)))
        elif kind in {"input_image", "input_file"}:
            parts.append((yield from _read_file(part, at, is_asked=is_asked)))
        elif kind == "input_audio":
            parts.append(_read_audio(part, at))
        elif is_asked:
            raise field_invalid(at, f"{part!r:.80} is not a part that can be read here")
    return tuple(parts)


def _read_file(part: Item, where: str, *, is_asked: bool) -> Generator[Step, Any, DraftPart]:
    """Read an image or another file: an upload by its id, or bytes as a `data:` URL or base64."""
    file_id, name = part.get("file_id"), part.get("filename")
    name = name if isinstance(name, str) and name else None
    if isinstance(file_id, str):
        (found,) = yield from FindFiles((file_id,))
        return found
    field = "image_url" if part.get("type") == "input_image" else "file_data"
    given = part.get(field)
    if field == "file_data" and given is None:
        return read_link(part.get("file_url"), f"{where}.file_url", name, is_asked=is_asked)
    if field == "image_url" or is_data_url(given):
        return read_link(given, f"{where}.{field}", name, is_asked=is_asked)
    return read_base64(given, DEFAULT_MEDIA_TYPE, f"{where}.{field}", name)


def _read_audio(part: Item, where: str) -> DraftPart:
    audio = part.get("input_audio")
    audio = audio if isinstance(audio, dict) else {}
    return read_base64(audio.get("data"), f"audio/{audio.get('format') or 'wav'}", f"{where}.input_audio.data")


# --- fields ------------------------------------------------------------------------------------------------------


def _speaker_of(item: Json) -> Json:
    """Return the role of an item's message: results are a tool's."""
    if not isinstance(item, dict):
        return None
    kind, role = item.get("type"), item.get("role")
    if isinstance(kind, str) and is_result(kind):
        return "tool"
    return role if isinstance(role, str) else None


def _type_of(item: Json, where: str) -> str:
    """Return the type of an item. Messages and references may leave it out."""
    if isinstance(item, dict):
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference" if "id" in item else None
        if isinstance(kind, str):
            return kind
    raise field_invalid(where, f"{item!r:.80} is not an item; it has neither a type nor a role")
