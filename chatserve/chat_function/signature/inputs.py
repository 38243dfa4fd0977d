"""The inputs of a chat function: which parameters are some, and the pydantic model that checks and describes them.

A default is passed by Python, not by the model: the function is given only what a client sends. So the default may be
any object; one that is not JSON is not described either.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from chatserve.chat_function.signature.parameters import Parameter, package_of, plain_type
from chatserve.core.types import Json
from chatserve.core.validation import Location, shape_invalid

_CONFIG = ConfigDict(extra="forbid", protected_namespaces=(), validate_default=False, allow_inf_nan=False)
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of one function.

    `model` checks them; `parameters` are the parameters that its fields stand for, by field. `defaults` are Python's
    own, by parameter. `filled` are the fields whose default the model knows and Python does not.
    """

    model: type[BaseModel]
    parameters: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    filled: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which clients send them, in the order of the parameters."""
        return tuple(field.alias or name for name, field in self.model.model_fields.items())

    @property
    def schema(self) -> dict[str, Json]:
        """Their JSON Schema, an object."""
        schema = self.model.model_json_schema()
        schema.pop("title", None)
        return schema

    def check(self, raw: Mapping[str, Json]) -> dict[str, Any]:
        """Return keyword arguments for the inputs that a client sent.

        Raises:
            InputsInvalid: one is missing, unknown or wrong; `errors` names each.
        """
        if not raw and not self.parameters:
            return {}
        try:
            checked = self.model.model_validate(copy.deepcopy(dict(raw)))
        except ValidationError as error:
            raise shape_invalid(error, name_of_input) from error
        given = checked.model_fields_set | self.filled
        return {name: getattr(checked, field) for field, name in self.parameters.items() if field in given}


def name_of_input(location: Location) -> str:
    """Return the name of an input, or of what is inside of it, for an error."""
    return ".".join(["inputs", *map(str, location)])


def read_inputs(parameters: Sequence[Parameter]) -> Inputs:
    """Return the inputs that these parameters are. All of them must satisfy `is_input`."""
    fields: dict[str, tuple[Any, Any]] = {}
    names: dict[str, str] = {}
    filled: set[str] = set()
    written = frozenset(parameter.name for parameter in parameters)
    for parameter in parameters:
        name, described = _field_of(parameter, written, frozenset(names))
        fields[name], names[name] = described, parameter.name
        if not has_default(parameter):
            filled.add(name)
    model: type[BaseModel] = create_model("Inputs", __config__=_CONFIG, **fields)  # type: ignore[call-overload] # fields
    defaults = {p.name: p.default for name, p in zip(names, parameters, strict=True) if name not in filled}
    return Inputs(model, names, defaults, frozenset(filled))


def is_input(parameter: Parameter) -> bool:
    """Whether clients may send this parameter: by its type if it has one that says something, else by its default."""
    is_typed = _says_something(parameter.annotation)
    if is_typed and not _has_schema(parameter):
        return False
    if not has_default(parameter) or is_json(parameter.default):
        return True
    return is_typed and _fits(parameter.annotation, parameter.default)


def has_default(parameter: Parameter) -> bool:
    """Whether Python has a default for the parameter. A pydantic `Field` as default describes one for the model."""
    return parameter.default is not Parameter.empty and not isinstance(parameter.default, FieldInfo)


def _says_something(annotation: Any) -> bool:
    return annotation is not Parameter.empty and not isinstance(annotation, str) and annotation not in (Any, object)


def _has_schema(parameter: Parameter) -> bool:
    """Whether pydantic can check and describe the type. Settings are the operator's, although it could."""
    cls = plain_type(parameter.annotation)
    if isinstance(cls, type) and any(package_of(base) == "pydantic_settings" for base in cls.__mro__):
        return False
    try:
        read_inputs([parameter]).schema  # noqa: B018 - it raises
    except Exception:  # noqa: BLE001 - pydantic raises errors of many types for types it cannot read
        return False
    return True


def _fits(annotation: Any, default: Any) -> bool:
    """Whether a default has a JSON form of its type: whether it comes back the same."""
    try:
        adapter = TypeAdapter(annotation)
        plain = adapter.dump_python(default, mode="json", warnings=False)
        back = adapter.validate_python(plain)
        return type(back) is type(default) and bool(back == default)
    except Exception:  # noqa: BLE001 - the default's own methods may raise anything
        return False


def is_json(value: Any, depth: int = 0) -> bool:
    """Whether a value is a JSON value; a tuple counts as a list."""
    if value is None or isinstance(value, str | int):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, list | tuple):
        return all(is_json(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return all(isinstance(name, str) and is_json(item, depth + 1) for name, item in value.items())
    return False


def _field_of(parameter: Parameter, written: frozenset[str], taken: frozenset[str]) -> tuple[str, tuple[Any, Any]]:
    """Return the model's field. Where pydantic cannot have a field of the input's name, that name is its alias."""
    annotation, default = parameter.annotation, _described_default(parameter.default)
    expected = annotation if _says_something(annotation) else Any
    name = parameter.name.lstrip("_") or "input"
    public = parameter.name if name in written else name
    while name in taken or hasattr(BaseModel, name):
        name = f"{name}_input"
    if name == public:
        return name, (expected, default)
    return name, (Annotated[expected, Field(alias=public)], default)


def _described_default(default: Any) -> Any:
    """Return the default to describe. Only JSON values and members of enumerations are shown to clients."""
    if default is Parameter.empty:
        return ...
    if isinstance(default, FieldInfo | Enum) or is_json(default):
        return default
    return Field(default_factory=lambda: None)
