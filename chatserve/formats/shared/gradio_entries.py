"""What the history formats of Gradio share: the texts and files of a message, in the order in which Gradio has them.

Gradio's history has neither reasoning nor calls of tools. Data and addresses stand in it as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from chatserve.core.types import FilePart, Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.history_content import fresh, split_name, text_of

_UNSHOWN = (ReasoningPart, ToolCallPart, ToolResultPart)


def pieces_of(message: Message) -> list[str | FilePart]:
    """Return a message's texts and files; nothing for a message that has only what Gradio does not show.

    The files of a user come before his text, as Gradio's text box sends them.
    """
    if message.role == "tool":
        return []
    if len(message.content) == 1 and type(message.content[0]) is TextPart:
        return [message.content[0].text]
    shown = [part for part in message.content if not isinstance(part, _UNSHOWN)]
    if not shown:
        return [] if message.content and not message.is_thought else [""]
    if any(isinstance(part, TextPart) and part.text for part in shown):
        shown = [part for part in shown if isinstance(part, FilePart) or (isinstance(part, TextPart) and part.text)]
    pieces = list(_joined(shown))
    return sorted(pieces, key=lambda piece: isinstance(piece, str)) if message.role == "user" else pieces


def _joined(parts: Sequence[Part]) -> Sequence[str | FilePart]:
    """Join what stands together and is no file to one text, which is left out if it is empty beside files."""
    pieces: list[str | FilePart] = []
    for is_file, group in groupby(parts, key=lambda part: isinstance(part, FilePart)):
        together = tuple(group)
        pieces += [part for part in together if isinstance(part, FilePart)] if is_file else [text_of(together)]
    return [piece for piece in pieces if piece] if len(pieces) > 1 else pieces


def entry_of(message: Message, content: Any, options: Any) -> dict[str, Any]:
    """Return an entry with this content and copies of the message's metadata and these options, each None if empty."""
    metadata, name = split_name(message)
    entry = {
        "role": message.role,
        "metadata": fresh(metadata) if metadata else None,
        "content": content,
        "options": fresh(options) if options else None,
    }
    return entry if name is None else entry | {"name": name}


def copy_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a deep copy of an entry."""
    return {key: value if isinstance(value, str | tuple) else fresh(value) for key, value in entry.items()}
