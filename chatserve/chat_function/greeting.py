"""The greeting of a chat: the assistant's first messages of a new session, read once when the chat is registered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatserve.codec import clean_json
from chatserve.contracts.formats import ParsedMessage
from chatserve.core.types import TextPart


def as_greeting(value: Any) -> tuple[ParsedMessage, ...]:
    """Return a greeting as messages: a text, a message as a dict or an object, a list of those, or None.

    Raises:
        ValueError: it is something else, has no text, or is not the assistant's.
    """
    if value is None:
        return ()
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    return tuple(map(_read_message, value if is_list else (value,)))


def _read_message(entry: Any) -> ParsedMessage:
    if isinstance(entry, str):
        entry = {"content": entry}
    fields = {name: _member(entry, name) for name in ("role", "content", "metadata", "options")}
    content, metadata, options = fields["content"], fields["metadata"] or {}, fields["options"] or ()
    is_right = isinstance(content, str) and isinstance(metadata, Mapping) and isinstance(options, list | tuple)
    if fields["role"] not in (None, "assistant") or not is_right or not content:
        raise ValueError(entry)
    content.encode()
    if not all(isinstance(option, Mapping) for option in options):
        raise ValueError(entry)
    return ParsedMessage(
        "assistant", (TextPart(content),), clean_json(dict(metadata)) or None, tuple(map(clean_json, options)) or None
    )


def _member(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)
