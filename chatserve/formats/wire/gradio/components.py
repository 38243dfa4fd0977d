"""Converts the JSON Schema of inputs to Gradio's components and Python types. Knows no chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chatserve.core.types import Json

Schema = Mapping[str, Any]

FILES_COMPONENT: Final = "MultimodalTextbox"
_TYPES: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_COMPONENTS: Final = {"string": "Textbox", "boolean": "Checkbox"}

FILE_SCHEMA: Final[Schema] = {
    "type": "object",
    "title": "FileData",
    "properties": {
        "path": {"type": "string"},
        "url": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "size": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "orig_name": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "mime_type": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "is_stream": {"type": "boolean", "default": False},
        "meta": {"type": "object", "properties": {"_type": {"type": "string", "const": "gradio.FileData"}}},
    },
    "required": ["path", "meta"],
}
"""The schema of a file. Clients recognize it by `meta._type` and upload the file."""

OLD_FILE_SCHEMA: Final[Schema] = {
    "type": "object",
    "properties": {name: FILE_SCHEMA["properties"][name] for name in ("path", "url", "size", "orig_name", "mime_type")},
}
"""How clients of Gradio 4 recognize a file in a component's `api_info`. Source: gradio_client 0.17 `utils`."""

TEXT_SCHEMA: Final[Schema] = {"type": "string"}
MULTIMODAL_SCHEMA: Final[Schema] = {
    "type": "object",
    "title": "MultimodalData",
    "properties": {
        "text": {"type": "string"},
        "files": {"type": "array", "items": FILE_SCHEMA, "default": []},
    },
    "required": ["text"],
}


def component_of(schema: Schema, definitions: Schema) -> str:
    """Return the component for values of this schema."""
    schema, definitions = _resolved(schema, definitions)
    if members := _members(schema):
        return component_of(members[0], definitions) if len(members) == 1 else "Json"
    if "enum" in schema or "const" in schema:
        return "Dropdown"
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return "Slider" if _has_bounds(schema) else "Number"
    if schema is MULTIMODAL_SCHEMA:
        return FILES_COMPONENT
    return _COMPONENTS.get(str(kind), "Json")


def _has_bounds(schema: Schema) -> bool:
    return bool({"minimum", "exclusiveMinimum"} & schema.keys() and {"maximum", "exclusiveMaximum"} & schema.keys())


def python_type(schema: Schema, definitions: Schema) -> str:
    """Return a schema as a Python type, in the notation that clients print."""
    schema, definitions = _resolved(schema, definitions)
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return " | ".join(dict.fromkeys(python_type(each, definitions) for each in alternatives))
    kind = schema.get("type")
    if kind == "array":
        return f"list[{python_type(schema.get('items', {}), definitions)}]"
    if kind == "object":
        return _object_type(schema, definitions)
    return _TYPES.get(str(kind), "Any")


def _object_type(schema: Schema, definitions: Schema) -> str:
    if schema is FILE_SCHEMA:
        return "filepath"
    members = schema.get("properties", {})
    if not members:
        others = schema.get("additionalProperties")
        return f"dict[str, {python_type(others if isinstance(others, Mapping) else {}, definitions)}]"
    return f"dict({', '.join(f'{name}: {python_type(each, definitions)}' for name, each in members.items())})"


def type_description(schema: Schema) -> str:
    """Return the description of a value besides its type: the author's description, and bounds."""
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    said = [str(schema["description"])] if "description" in schema else []
    return ", ".join([*said, *(f"{word} {schema[name]}" for name, word in bounds.items() if name in schema)])


def takes_null(schema: Schema, definitions: Schema) -> bool:
    """Whether null is a value of this schema."""
    schema, definitions = _resolved(schema, definitions)
    if "anyOf" in schema:
        return any(takes_null(each, definitions) for each in schema["anyOf"])
    return schema.get("type") == "null" or not {"type", "enum", "const"} & schema.keys()


def _members(schema: Schema) -> list[Schema]:
    """Return the alternatives of a union, except null."""
    return [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]


def _resolved(schema: Schema, definitions: Schema) -> tuple[Schema, Schema]:
    """Return a schema with its reference resolved, and the remaining definitions without it, which ends recursion."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema, definitions
    name = reference.rpartition("/")[2]
    return definitions.get(name, {}), {other: each for other, each in definitions.items() if other != name}


def with_definitions(schema: Schema, definitions: Schema) -> dict[str, Json]:
    """Return a schema that includes its definitions."""
    return dict(schema) | ({"$defs": dict(definitions)} if definitions and "$ref" in str(schema) else {})
