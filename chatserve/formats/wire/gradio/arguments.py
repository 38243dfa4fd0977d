"""Converts the arguments of a client's call to a turn: values in the order of the parameters, or by name.

`null` stands for a parameter's default. Gradio's own chats have a hidden state after the message, which scripts written
for them send as `null`. So if there is one value more than there are parameters, it is treated as that state. Files are
named by the ids from `/upload`, or by the paths of answers; addresses are never fetched.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

from chatserve.contracts.turns import TurnCall
from chatserve.contracts.wire import FindFiles, RawRequest, Step
from chatserve.core.errors import FileUnknown, InputsInvalid
from chatserve.core.types import FilePart, Json
from chatserve.formats.shared.message_array import field_invalid
from chatserve.formats.wire.gradio.apis import Api
from chatserve.formats.wire.gradio.components import takes_null
from chatserve.formats.wire.gradio.values import FILE_PATH, file_id_of

_PROTOCOL_FIELDS: Final = frozenset(
    {"data", "fn_index", "session_hash", "event_data", "trigger_id", "event_id", "batched", "simple_format", "request"}
)


def read_call(request: RawRequest, api: Api, body: Mapping[str, Json], **policy: Any) -> Generator[Step, Any, TurnCall]:
    """Return the turn that a body with `data` asks for. Raises: InputsInvalid."""
    given = body.get("data")
    named = dict(given) if isinstance(given, Mapping) else _by_name(api, given)
    params = {name: value for name, value in body.items() if name not in _PROTOCOL_FIELDS}
    return (yield from _turn_call(request, api, named, body.get("session_hash"), params, policy))


def read_named_call(
    request: RawRequest, api: Api, body: Mapping[str, Json], **policy: Any
) -> Generator[Step, Any, TurnCall]:
    """Return the turn that a body of parameters by name asks for. Raises: InputsInvalid."""
    names = {parameter.name for parameter in api.parameters}
    named = {name: value for name, value in body.items() if name in names}
    params = {name: value for name, value in body.items() if name not in names and name not in _PROTOCOL_FIELDS}
    session_hash = None if "session_hash" in names else body.get("session_hash")
    return (yield from _turn_call(request, api, named, session_hash, params, policy))


def _by_name(api: Api, given: Json) -> dict[str, Json]:
    parameters = api.parameters
    if not isinstance(given, list):
        raise field_invalid("data", f"{given!r:.80} is no list of arguments")
    if len(given) == len(parameters) + 1 and given[1] is None:
        given = [given[0], *given[2:]]
    if len(given) > len(parameters):
        raise field_invalid("data", f"/{api.name} takes {len(parameters)} argument(s), not {len(given)}")
    return {parameter.name: value for parameter, value in zip(parameters, given, strict=False)}


def _turn_call(
    request: RawRequest,
    api: Api,
    named: Mapping[str, Json],
    session_hash: Json,
    params: Mapping[str, Json],
    policy: Mapping[str, Any],
) -> Generator[Step, Any, TurnCall]:
    if session_hash is not None and not (isinstance(session_hash, str) and session_hash):
        raise field_invalid("session_hash", f"{session_hash!r:.80} is no text")
    message = api.message_name
    text, paths = _read_message(named.get(message), request.base_url)
    if paths and not api.chat.takes_files:
        raise field_invalid("message", f"/{api.name} takes no files; send text")
    return TurnCall(
        api.chat.name,
        text,
        files=(yield from _find(paths)),
        session_key=session_hash,
        is_greeted=True,
        inputs={name: value for name, value in named.items() if name != message and _is_given(api, name, value)},
        params=params,
        when_busy="queue",
        **policy,
    )


def _is_given(api: Api, name: str, value: Json) -> bool:
    """Whether the value is an argument: null is one only if the parameter has no default and its type allows null."""
    if value is not None:
        return True
    parameter = next((each for each in api.parameters if each.name == name), None)
    return parameter is None or (parameter.is_required and takes_null(parameter.schema, parameter.definitions))


def _read_message(message: Json, base_url: str) -> tuple[str, tuple[str, ...]]:
    """Return the text of a message, and the ids of its files."""
    if isinstance(message, str):
        return message, ()
    if message is None:
        raise field_invalid("message", "the message is missing")
    if not isinstance(message, Mapping):
        raise field_invalid("message", f"{message!r:.80} is neither text nor {{'text', 'files'}}")
    text, files = message.get("text") or "", message.get("files") or []
    if not isinstance(text, str) or not isinstance(files, list):
        raise field_invalid("message", "text must be text, and files a list")
    return text, tuple(_file_id(file, base_url) for file in files)


def _file_id(file: Json, base_url: str) -> str:
    path = file.get("path") if isinstance(file, Mapping) else file
    if not isinstance(path, str):
        raise field_invalid("message", f"the file {file!r:.80} has no path; upload it first")
    own = f"{base_url}{FILE_PATH}"
    if path.startswith(own):
        return file_id_of(path.removeprefix(own))
    if "://" in path or path.startswith("data:"):
        raise field_invalid("message", f"the file {path!r:.80} is an address, which is not fetched; upload its bytes")
    return file_id_of(path)


def _find(paths: Sequence[str]) -> Generator[Step, Any, tuple[FilePart, ...]]:
    if not paths:
        return ()
    try:
        return (yield from FindFiles(tuple(paths)))
    except FileUnknown as error:
        raise InputsInvalid(
            f"message: {error.detail}; upload it first", errors=[{"field": "message", "message": error.detail}]
        ) from error
