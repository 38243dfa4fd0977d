"""Messages, sessions, turns and files in JSON: the functions of their shapes, under names for the callers.

`decode_…` reads the result of `…_json` and raises KeyError if a member is missing. A stored file's owner and session
are not part of its JSON: `decode_file` takes them as keywords.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from chatserve.codec.shapes import Shape, decode_content, part_json, shape_of
from chatserve.codec.values import dumps, loads_stored
from chatserve.core.types import Json, Message, Part, Session, StoredFile, Turn, Usage

Value = TypeVar("Value")
Encoder: TypeAlias = Callable[[Value], dict[str, Json]]

message_json: Final[Encoder[Message]] = shape_of(Message).encode
turn_json: Final[Encoder[Turn]] = shape_of(Turn).encode
usage_json: Final[Encoder[Usage]] = shape_of(Usage).encode
session_json: Final[Encoder[Session]] = shape_of(Session).encode
file_json: Final[Encoder[StoredFile]] = shape_of(StoredFile).encode

decode_message: Final[Callable[[Json], Message]] = shape_of(Message).decode
decode_turn: Final[Callable[[Json], Turn]] = shape_of(Turn).decode
decode_file: Final[Callable[..., StoredFile]] = shape_of(StoredFile).decode

EXPORTED_SESSION: Final = Shape(Session, is_export=True)
"""The shape of an exported session, which includes its state and its head."""


def encode_content(content: Sequence[Part]) -> bytes:
    """Return content in the form that stores keep. Decoding it gives equal parts."""
    return dumps([part_json(part) for part in content])


def decode_stored_content(data: bytes | str) -> tuple[Part, ...]:
    """Decode the result of `encode_content`. Raises: ValueError."""
    return decode_content(loads_stored(data))
