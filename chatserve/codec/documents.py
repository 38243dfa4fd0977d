"""The JSON of values as pydantic types, which describe responses and check imports.

The types are derived from the same declarations as the codec, see `chatserve.core.members`. Knows no whole document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Annotated, Any, Final, Literal, NotRequired, Union, get_args, get_origin

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import TypedDict

from chatserve.codec.shapes import Member, Shape, bare, marks_of, shape_of, without_none
from chatserve.codec.values import decode_time
from chatserve.core.members import Imported, Mark
from chatserve.core.types import Json, Part

# Types made at run time, which no type checker can follow.
_ANNOTATED: Final[Any] = Annotated
_LITERAL: Final[Any] = Literal
_NOT_REQUIRED: Final[Any] = NotRequired
_TYPED_DICT: Final[Any] = TypedDict
_UNION: Final[Any] = Union


def _check_time(text: str) -> str:
    if not text.endswith("Z"):
        raise ValueError("not a time in UTC, like 2026-01-31T12:00:00.000Z")
    decode_time(text)
    return text


_TIME: Final[Any] = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
_IMPORTED_TIME: Final[Any] = Annotated[
    str, AfterValidator(_check_time), WithJsonSchema({"type": "string", "format": "date-time", "pattern": "Z$"})
]
_OWN_SESSION: Final[Any] = Annotated[str | None, Field(description="null for a stateless turn")]
_EVENT_NAME: Final = re.compile(r"^`\w+`: ")


class DocumentTypes:
    """The types of values in responses or, with `is_import`, in imports.

    An import must satisfy the bounds declared for it. It always has content as a list of parts, and may have null where
    a response omits the member. Validation of a list ends at the first wrong entry, which limits the number of errors.
    """

    def __init__(self, *, is_import: bool) -> None:
        self.is_import = is_import
        self._records: dict[str, Any] = {}

    def record(self, shape: Shape[Any], name: str | None = None, held: Sequence[Member] = ()) -> Any:
        """Return the type of a shape's JSON: an object with its members and no others.

        `held` are members of another value that are written into this object, before its own members.
        """
        name = name or f"{'Added' if held else ''}{shape.cls.__name__}{'Document' if self.is_import else ''}"
        if name not in self._records:
            tag = {} if shape.tag is None else {"type": _LITERAL[shape.tag]}
            self._records[name] = object_type(
                name,
                {each.name: self.of(each.hint) for each in held} | tag | self.members(shape),
                description=_EVENT_NAME.sub("", shape.cls.__doc__ or "").partition(". ")[0].rstrip("."),
            )
        return self._records[name]

    def members(self, shape: Shape[Any]) -> dict[str, Any]:
        """Return the types of a shape's members by name."""
        members: dict[str, Any] = {}
        for member in shape.members:
            held = [each for each in shape.members if each.holder == member.name]
            if member.is_optional:
                hint = member.hint if self.is_import else without_none(member.hint)
                members[member.name] = _NOT_REQUIRED[self.of(hint)]
            elif held:
                members[member.name] = self._part(held)
            elif member.holder is None:
                members[member.name] = self.of(member.hint)
        return members

    def of(self, hint: Any) -> Any:
        """Return the JSON type of a declared type."""
        marks = marks_of(hint)
        if Mark.TIME in marks:
            return _IMPORTED_TIME if self.is_import else _TIME
        if Mark.EMPTY_IS_NULL in marks and not self.is_import:
            return _OWN_SESSION
        json_type = self._unmarked(bare(hint))
        if Mark.CONTENT in marks and not self.is_import:
            json_type = str | json_type
        bounds = [mark for mark in marks if isinstance(mark, FieldInfo)]
        if self.is_import:
            bounds += [mark.bound for mark in marks if isinstance(mark, Imported)]
        return _ANNOTATED[(json_type, *bounds)] if bounds else json_type

    def _unmarked(self, hint: Any) -> Any:
        origin = get_origin(hint)
        if (inner := without_none(hint)) is not None:
            return _UNION[self.of(inner), None]
        if hint == Part:
            return self._part()
        if origin is tuple:
            return list_type(self.of(get_args(hint)[0]))
        if origin is Mapping:
            return dict[str, Any]
        return self.record(shape_of(hint)) if isinstance(hint, type) and is_dataclass(hint) else hint

    def _part(self, held: Sequence[Member] = ()) -> Any:
        records = tuple(self.record(shape_of(cls), held=held) for cls in get_args(Part))
        return _ANNOTATED[_UNION[records], Field(discriminator="type")]


def object_type(name: str, members: Mapping[str, Any], *, description: str | None = None) -> Any:
    """Return the type of an object with these members and no others."""
    record = _TYPED_DICT(name, members)
    record.__doc__ = description
    record.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    return record


def list_type(entry: Any) -> Any:
    """Return the type of a list whose validation ends at the first wrong entry."""
    return _ANNOTATED[list[entry], Field(fail_fast=True)]


def schemas_of(types: Mapping[str, Any], reference: str) -> dict[str, Json]:
    """Return the JSON Schemas of object types and of all types they refer to, by name."""
    adapter: TypeAdapter[Any] = TypeAdapter(object_type("All", types))
    schema = adapter.json_schema(ref_template=reference, schema_generator=_Schemas)
    definitions: dict[str, Json] = schema["$defs"]
    return definitions


class _Schemas(GenerateJsonSchema):
    """Generates JSON Schemas without titles for members, and always with `required`."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def typed_dict_schema(self, schema: Any) -> dict[str, Any]:
        return {"required": []} | super().typed_dict_schema(schema)
