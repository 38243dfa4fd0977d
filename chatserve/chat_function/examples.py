"""Examples of a chat: what the developer writes, read as messages with inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chatserve.core.types import Json

_PARTS: Final = ("text", "files")
_MEMBERS: Final = ("message", *_PARTS, "inputs")


@dataclass(frozen=True, slots=True)
class Example:
    """A message to try a chat with, and the inputs that go with it."""

    text: str
    inputs: Mapping[str, Json] = field(default_factory=dict)


def read_example(entry: Any, input_names: Sequence[str], *, takes_files: bool) -> Example:
    """Read an example: a message, `[message, *inputs]`, or `{"message"?, "text"?, "files"?, "inputs"?}`.

    Raises:
        ValueError: it is none of these; the text says why.
    """
    if isinstance(entry, list | tuple) and entry:
        if len(entry) > 1 + len(input_names):
            raise ValueError(f"neither a message nor [message, *inputs] of {len(input_names)} input(s)")
        given = zip(input_names, entry[1:], strict=False)
        inputs = {name: value for name, value in given if value is not None}
        return Example(_read_message(entry[0], takes_files=takes_files), inputs)
    if isinstance(entry, Mapping):
        _require_members(entry, _MEMBERS)
        parts = {name: entry[name] for name in _PARTS if name in entry}
        text = _read_message(parts, takes_files=takes_files)
        if "message" in entry:
            text = _read_message(entry["message"], takes_files=takes_files)
        return Example(text, _read_inputs(entry.get("inputs", {})))
    if isinstance(entry, str):
        return Example(entry)
    raise ValueError("neither a message nor [message, *inputs]")


def _read_message(message: Any, *, takes_files: bool) -> str:
    """Return the text of a message."""
    if isinstance(message, str):
        return message
    if not isinstance(message, Mapping):
        raise ValueError(f"its message may be a text or {{'text', 'files'}}, not {message!r:.80}")
    _require_members(message, _PARTS)
    text, files = message.get("text", ""), message.get("files", ())
    if not isinstance(text, str):
        raise ValueError(f"its 'text' may be a text, not {text!r:.80}")
    if not isinstance(files, list | tuple):
        raise ValueError(f"its 'files' may be a list of paths, not {files!r:.80}")
    if files and not takes_files:
        raise ValueError("it has files, which only a chat with multimodal=True takes")
    return text


def _read_inputs(inputs: Any) -> Mapping[str, Json]:
    if not isinstance(inputs, Mapping):
        raise ValueError(f"its 'inputs' may be a mapping of names to values, not {inputs!r:.80}")
    return dict(inputs)


def _require_members(entry: Mapping[Any, Any], known: Sequence[str]) -> None:
    if unknown := [name for name in entry if name not in known]:
        raise ValueError(f"{unknown[0]!r:.80} is no member of it; there are {', '.join(known)}")
