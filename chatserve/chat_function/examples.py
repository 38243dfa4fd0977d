"""Examples of a chat: what the developer writes, read as messages with inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chatserve.core.types import File, Json, LocalFile

_PARTS: Final = ("text", "files")
_MEMBERS: Final = ("message", *_PARTS, "inputs")


@dataclass(frozen=True, slots=True)
class Example:
    """A message to try a chat with, and the inputs and files that go with it."""

    text: str
    inputs: Mapping[str, Json] = field(default_factory=dict)
    files: tuple[LocalFile, ...] = ()


def read_example(entry: Any, input_names: Sequence[str], *, takes_files: bool) -> Example:
    """Read an example: a message, `[message, *inputs]`, or `{"message"?, "text"?, "files"?, "inputs"?}`.

    Raises:
        ValueError: it is none of these; the text says why.
    """
    message: Any = entry
    inputs: Mapping[str, Json] = {}
    if isinstance(entry, list | tuple) and entry:
        message, *values = entry
        if len(values) > len(input_names):
            raise ValueError(f"neither a message nor [message, *inputs] of {len(input_names)} input(s)")
        inputs = {name: value for name, value in zip(input_names, values, strict=False) if value is not None}
    elif isinstance(entry, Mapping):
        _require_members(entry, _MEMBERS)
        message = entry.get("message", {name: entry[name] for name in _PARTS if name in entry})
        inputs = _read_inputs(entry.get("inputs", {}))
    elif not isinstance(entry, str):
        raise ValueError("neither a message nor [message, *inputs]")
    text, files = _read_message(message)
    if files and not takes_files:
        raise ValueError("it has files, which only a chat with multimodal=True takes")
    return Example(text, inputs, tuple(map(_read_file, files)))


def _read_message(message: Any) -> tuple[str, Sequence[Any]]:
    """Return the text of a message, and what it gives as files."""
    if isinstance(message, str):
        return message, ()
    if not isinstance(message, Mapping):
        raise ValueError(f"its message may be a text or {{'text', 'files'}}, not {message!r:.80}")
    _require_members(message, _PARTS)
    text, files = message.get("text", ""), message.get("files", ())
    if not isinstance(text, str):
        raise ValueError(f"its 'text' may be a text, not {text!r:.80}")
    if not isinstance(files, list | tuple):
        raise ValueError(f"its 'files' may be a list of paths, not {files!r:.80}")
    return text, files


def _read_file(given: Any) -> LocalFile:
    """Return a file that the developer named: a path, `File(…)`, or `{"path": …}` and objects like it."""
    source = given.path_or_bytes if isinstance(given, File) else given
    if isinstance(source, Mapping):
        source = source.get("path")
    source = getattr(source, "path", source)
    name, media_type = (given.name, given.media_type) if isinstance(given, File) else (None, None)
    if isinstance(source, bytes):
        return LocalFile(source, name, media_type)
    if not isinstance(source, str | Path):
        raise ValueError(f"its file {given!r:.80} is no path")
    path = Path(source).absolute()
    if not path.is_file():
        reason = "an address, which is not fetched" if "://" in str(source) else "no file on this machine"
        raise ValueError(f"its file {str(source)!r:.200} is {reason}")
    return LocalFile(path, name, media_type)


def _read_inputs(inputs: Any) -> Mapping[str, Json]:
    if not isinstance(inputs, Mapping):
        raise ValueError(f"its 'inputs' may be a mapping of names to values, not {inputs!r:.80}")
    return dict(inputs)


def _require_members(entry: Mapping[Any, Any], known: Sequence[str]) -> None:
    if unknown := [name for name in entry if name not in known]:
        raise ValueError(f"{unknown[0]!r:.80} is no member of it; there are {', '.join(known)}")
