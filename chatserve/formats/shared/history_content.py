"""Code that the history formats share: a stored message as plain text, and history content from outside as parts.

History that clients send is untrusted: text, chatserve's part dicts and stored files by id are read, but never the path
or address of a file. `content` reads the content of the chat function's answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from chatserve import codec
from chatserve.contracts.formats import ParsedMessage
from chatserve.core.errors import InputsInvalid
from chatserve.core.types import DataPart, FilePart, Json, Message, Part, SourcePart, TextPart

_HARMLESS: Final = frozenset({"reasoning", "data", "source", "tool_call", "tool_result"})
_TEXTS: Final = frozenset({"text", "url", "title", "name", "tool_call_id", "arguments"})


def json_text(value: Json) -> str:
    """Return a value as compact JSON, and a str unchanged."""
    return value if isinstance(value, str) else codec.dumps(value).decode()


def fresh(value: Any) -> Any:
    """Return a JSON value as fresh dicts and lists, a deep copy that may be changed."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | Mapping):
        return {key: fresh(item) for key, item in value.items()}
    return list(map(fresh, value)) if isinstance(value, list | tuple) else value


def text_of(content: Sequence[Part]) -> str:
    """Return the text of a message or, if it has none, its file names, data as JSON, and addresses."""
    words = [part.text for part in content if isinstance(part, TextPart)]
    return "".join(words) or "\n".join(filter(None, map(_stand_in, content)))


def _stand_in(part: Part) -> str:
    match part:
        case FilePart():
            return part.name
        case DataPart():
            return json_text(part.data)
        case SourcePart():
            return part.url
        case _:
            return ""


def split_name(message: Message) -> tuple[Mapping[str, Json], str | None]:
    """Return a message's metadata and, apart from it, the name of its author, if a client gave one."""
    metadata = message.metadata or {}
    name = metadata.get("name")
    if not isinstance(name, str) or (message.role == "assistant" and message.turn_id is not None):
        return metadata, None
    return {key: value for key, value in metadata.items() if key != "name"}, name


def entries_of(history: Json) -> list[Any]:
    """Return the entries of a history.

    Raises:
        InputsInvalid: the history is not a list.
    """
    if not isinstance(history, list):
        raise InputsInvalid(f"history is {history!r:.200}; make it a list", errors=[{"loc": ["history"]}])
    return history


def refuse(number: int, detail: str) -> NoReturn:
    """Raise InputsInvalid for one entry of a history."""
    raise InputsInvalid(
        f"history entry {number}: {detail}", errors=[{"loc": ["history", number], "msg": detail}]
    ) from None


def parse_content(content: Json, number: int) -> tuple[Part, ...]:
    """Read the content of history entry `number`: text, a part, or a list of both.

    Raises:
        InputsInvalid: the content is something else, or refers to a file by path or address.
    """
    if isinstance(content, list):
        return tuple(_parse_item(item, number) for item in content)
    return (_parse_item(content, number),)


def _parse_item(item: Json, number: int) -> Part:
    if isinstance(item, str):
        return TextPart(codec.clean_text(item))
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "text" and isinstance(item.get("text"), str):
        return TextPart(codec.clean_text(item["text"]))
    if kind == "file" and isinstance(item.get("file_id"), str):
        return _parse_file(item)
    if isinstance(kind, str) and kind in _HARMLESS:
        return _parse_own_part(item, number)
    refuse(
        number,
        f"cannot read the content {item!r:.200}; "
        'use text, {"type": "text", "text": …} or {"type": "file", "file_id": …} of an uploaded file',
    )


def _parse_file(item: Mapping[str, Json]) -> FilePart:
    """Return a part that names a stored file. The engine later checks the id and fills in the rest."""
    name, media_type, size = item.get("name"), item.get("media_type"), item.get("size")
    return FilePart(
        item["file_id"],
        name if isinstance(name, str) else "",
        media_type if isinstance(media_type, str) else "application/octet-stream",
        size if isinstance(size, int) else 0,
    )


def _parse_own_part(item: Mapping[str, Json], number: int) -> Part:
    part = codec.clean_json(item)
    texts = [part[name] for name in _TEXTS & part.keys()]
    if not (
        all(isinstance(text, str) for text in texts)
        and part.get("where", "client") in ("client", "server")  # a tuple, as the value may be unhashable
        and isinstance(part.get("is_error", False), bool)
    ):
        refuse(number, f"the part {item!r:.200} is broken")
    try:
        return codec.decode_part(part)
    except ValueError as error:
        refuse(number, str(error))


def parse_extras(entry: Mapping[str, Json], message: ParsedMessage, number: int) -> ParsedMessage:
    """Return the message with the metadata and options of its entry.

    Raises:
        InputsInvalid: metadata is not an object, or options are not a list of objects.
    """
    metadata, options, name = entry.get("metadata"), entry.get("options"), entry.get("name")
    if isinstance(name, str) and name and metadata is None:
        metadata = {"name": name}
    if metadata is None and options is None:
        return message
    if metadata is not None and not isinstance(metadata, dict):
        refuse(number, f"metadata is {metadata!r:.200}; make it an object")
    if options is not None and not (isinstance(options, list) and all(isinstance(each, dict) for each in options)):
        refuse(number, f"options are {options!r:.200}; make them a list of objects")
    return ParsedMessage(
        message.role,
        message.content,
        codec.clean_json(metadata) or None,
        tuple(codec.clean_json(options or ())) or None,
    )
