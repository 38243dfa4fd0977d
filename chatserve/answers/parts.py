"""The parts of an answer's messages, checked and cleaned before events are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatserve.codec import clean_text
from chatserve.contracts.formats import ParsedMessage
from chatserve.core.errors import AnswerInvalid
from chatserve.core.frozen import replace
from chatserve.core.types import (
    ROLES,
    DataPart,
    FilePart,
    Json,
    LocalFile,
    Part,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)


def checked_parts(message: ParsedMessage) -> list[Part]:
    """Return a message's parts, cleaned. Raises: AnswerInvalid for an unknown role or a file that was not stored."""
    if message.role not in ROLES:
        raise AnswerInvalid(f"unknown role {message.role!r} in an answer: use one of {', '.join(sorted(ROLES))}")
    return merged_parts(message.content)


def merged_parts(content: Sequence[Part | LocalFile]) -> list[Part]:
    """Clean the parts, leave out empty ones, and join neighbouring text as a reader of the deltas joins it."""
    merged: list[Part] = []
    for part in map(_cleaned, content):
        last = merged[-1] if merged else None
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            merged[-1] = TextPart(last.text + part.text)
        elif isinstance(part, ReasoningPart) and isinstance(last, ReasoningPart):
            merged[-1] = ReasoningPart(last.text + part.text)
        elif not isinstance(part, TextPart | ReasoningPart) or part.text:
            merged.append(part)
    return merged


def _cleaned(part: Part | LocalFile) -> Part:
    """Return a part that every encoder can write. The normalizer has already cleaned its JSON values."""
    match part:
        case TextPart(text=text):
            return TextPart(clean_text(text))
        case ReasoningPart(text=text):
            return ReasoningPart(clean_text(text))
        case ToolCallPart():
            tool_call_id, tool, arguments = map(clean_text, (part.tool_call_id, part.name, part.arguments))
            return ToolCallPart(tool_call_id, tool, arguments, part.where, part.kind)
        case ToolResultPart():
            return replace(part, tool_call_id=clean_text(part.tool_call_id))
        case FilePart():
            return replace(part, name=clean_text(part.name), media_type=clean_text(part.media_type))
        case SourcePart(url=url, title=title):
            return SourcePart(clean_text(url), None if title is None else clean_text(title))
        case DataPart(data=data, name=name):
            return DataPart(data, None if name is None else clean_text(name))
        case LocalFile(source=source):
            raise AnswerInvalid(f"the file {source!r:.200} was not stored before it reached the answer")


def without_none(metadata: Mapping[str, Json] | None) -> dict[str, Json] | None:
    """Return the keys of metadata that have a value, or None when there are none."""
    kept = {key: value for key, value in (metadata or {}).items() if value is not None}
    return kept or None
