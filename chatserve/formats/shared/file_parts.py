"""Files as developers write them, read into parts. A file is only named here: the engine opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from chatserve.core.configuration import shown
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import File, LocalFile, SourcePart
from chatserve.formats.shared.model_answer import member

_FILE_KEYS: Final = frozenset({"path", "url", "size", "orig_name", "mime_type", "is_stream", "meta", "alt_text"})
_FILE_MODELS: Final = frozenset({"FileData", "ImageData"})
"""Gradio's pydantic models of files."""


def is_file(value: object) -> bool:
    """Whether a value is a file: `Path`, `File`, Gradio's `FileData`, or a dict with `path` and only keys of a file."""
    if isinstance(value, dict):
        return "path" in value and value.keys() <= _FILE_KEYS
    return isinstance(value, File | Path) or (type(value).__name__ in _FILE_MODELS and hasattr(value, "path"))


def read_file(value: Any) -> LocalFile | SourcePart:
    """Read a file. One with an http(s) address becomes a source, because nothing is fetched here.

    Raises:
        AnswerInvalid: the path is neither text nor `Path`.
    """
    if isinstance(value, Path):
        return LocalFile(value)
    if not isinstance(value, File):
        path, url = member(value, "path"), member(value, "url")
        return named_file(path or url, member(value, "orig_name"), member(value, "mime_type"))
    if isinstance(value.path_or_bytes, bytes):
        return LocalFile(value.path_or_bytes, _last_of(value.name), value.media_type)
    made = value.path_or_bytes
    return named_file(Path(made) if isinstance(made, str) and made else made, value.name, value.media_type)


def named_file(path: Any, name: Any = None, media_type: Any = None) -> LocalFile | SourcePart:
    """Return the file at a path. A `Path` was made by the developer; a text may come from a client.

    Raises:
        AnswerInvalid: the path is neither.
    """
    name, media_type = _last_of(name), media_type if isinstance(media_type, str) else None
    if isinstance(path, Path):
        return LocalFile(path, name, media_type)
    if not isinstance(path, str) or not path:
        raise AnswerInvalid(f"a file has the path {shown(path)}; give a str or pathlib.Path")
    if path.startswith(("http://", "https://")):
        return SourcePart(str.__str__(path), name)
    return LocalFile(Path(path), name, media_type, is_named=True)


def _last_of(name: Any) -> str | None:
    """Return the last part of a name: the folders before it are the server's."""
    return (name.replace("\\", "/").rpartition("/")[2] or None) if isinstance(name, str) else None


def is_file_tuple(value: object) -> bool:
    """Whether a value is a file as in Gradio's pairs: `(path,)` or `(path, alt_text)`."""
    return (
        isinstance(value, tuple)
        and len(value) in (1, 2)
        and isinstance(value[0], str | Path)
        and isinstance(value[-1], str | Path | None)
    )
