"""What this server sends as responses is what OpenAI's own types say: nothing missing, nothing of another type.

The library reads leniently; here its types are read strictly, and every key that Open Responses names must be there.
"""

from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from chatserve.formats.wire.openai_responses.documents import response_json
from tests.formats.response_grammar import KEYS, read_frames
from tests.formats.scenarios import SCENARIOS, Scenario
from tests.formats.test_wire_openai_responses import BASE, encode, late, tell
from tests.support.libraries import require

require("openai")
types = require("openai.types.responses")
conversation_types = require("openai.types.conversations")

OWN_CODES = {"chat_function_failed", "closed", "turn_timeout", "interrupted"}
"""Codes of errors are this server's; OpenAI's types list their own only."""


def check(value: Any, type_: Any) -> None:
    """Validate JSON against a type of the library. Raises: ValidationError."""
    TypeAdapter(type_).validate_python(value, strict=False)


def check_response(response: dict[str, Any]) -> None:
    assert set(response) == KEYS
    error = response["error"]
    if error is not None:
        assert error["code"] in OWN_CODES
        response = response | {"error": error | {"code": "server_error"}}
    check(response, types.Response)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_every_event_and_document_is_of_openais_types(scenario: Scenario, tmp_path: Path) -> None:
    told = await tell(scenario, tmp_path)
    check_response(response_json(told.record, BASE))
    for event in [*read_frames(encode(told.events)), *read_frames(encode(late(told.record)))]:
        if "response" in event:
            check_response(event["response"])
            event = event | {"response": {**event["response"], "error": None}}
        check(event, event_type(event["type"]))


def event_type(name: str) -> type[BaseModel]:
    """Return the one type of the library's events that has this name."""
    found = [
        each for each in members(types.ResponseStreamEvent) if name in get_args(each.model_fields["type"].annotation)
    ]
    (only,) = found
    return only


def members(type_: Any) -> list[Any]:
    """Return the types a union is made of."""
    if get_origin(type_) in {Union, UnionType}:
        return [each for part in get_args(type_) for each in members(part)]
    arguments = get_args(type_)
    return members(arguments[0]) if arguments else [type_]


@pytest.mark.parametrize("key", ["id", "output", "tools", "tool_choice", "parallel_tool_calls", "created_at"])
async def test_missing_key_is_noticed(key: str, tmp_path: Path) -> None:
    told = await tell(SCENARIOS[0], tmp_path)
    response = response_json(told.record, BASE)
    del response[key]
    with pytest.raises(ValidationError):
        check(response, types.Response)
