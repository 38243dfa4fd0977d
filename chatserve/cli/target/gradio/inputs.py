"""Reads Gradio's components as inputs: the type that their values have, their bounds and choices, and their default.

A component that hands the function something JSON has no form for, like a file or a picture, is no input: the function
is given its value. Knows no function.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, WithJsonSchema

from chatserve.cli.target.gradio.record import given_to, kinds_of, read

SHORTCUTS: Final[Mapping[str, str]] = {"text": "textbox", "state": "state", "checkboxgroup": "checkboxgroup"}
_STATES: Final = frozenset({"State", "BrowserState"})
_FILES: Final = frozenset(
    {"File", "Files", "UploadButton", "Image", "ImageEditor", "Audio", "Video", "Gallery", "MultimodalTextbox", "Plot"}
)
"""Components whose values are files, which inputs cannot be."""

_JSON: Final = TypeAdapter(JsonValue)


@dataclass(frozen=True, slots=True)
class Typed:
    """An input: the type of its values, and the component's own value. `convert` makes the argument of a value."""

    annotation: Any
    default: Any
    convert: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Fixed:
    """The component is no input: the function is given this value."""

    value: Any


@dataclass(frozen=True, slots=True)
class State:
    """The component keeps a value with the session. `initial` is that of a new session."""

    initial: Any


Reading = Typed | Fixed | State


def read_component(component: Any) -> Reading:
    """Return how a component, or the name of one, is given to the function."""
    if isinstance(component, str):
        component = _Shortcut(component)
    kinds = _names(component)
    value = _value_of(component)
    if is_state(component):
        return State(value)
    if is_file(component) or not is_json(value):
        return Fixed(value)
    for kind, reader in _READERS.items():
        if kind in kinds:
            return reader(component, value)
    return Typed(_described(Any, component), value)


def label_of(component: Any, fallback: str) -> str:
    """Return a component's label as a name: lower case, words joined by an underscore."""
    label = read(component, "label") if hasattr(component, "__dict__") else ""
    words = re.findall(r"[^\W_]+", label.lower()) if isinstance(label, str) else []
    name = "_".join(words) or fallback
    return name if name.isidentifier() else f"{fallback}_{name}"


def is_state(component: Any) -> bool:
    """Whether a component keeps a value with the session."""
    return not _STATES.isdisjoint(_names(component))


def is_file(component: Any) -> bool:
    """Whether a component's values are files."""
    return not _FILES.isdisjoint(_names(component))


class _Shortcut:
    """A component that is named by a text, as in `additional_inputs=["text", "slider"]`."""

    def __init__(self, name: str) -> None:
        self.name = SHORTCUTS.get(name.lower(), name.lower())


def _names(component: Any) -> set[str]:
    if isinstance(component, _Shortcut):
        known = {kind.lower(): kind for kind in (*_READERS, *_STATES, *_FILES)}
        return {known.get(component.name, component.name)}
    return set(kinds_of(component))


def _value_of(component: Any) -> Any:
    """Return the value a component begins with; one that is made when it is needed is made now."""
    given = given_to(component).get("value") if read(component, "value") is None else None
    value = read(component, "value") if given is None else given
    return value() if callable(value) else copy.copy(value)


def is_json(value: Any) -> bool:
    """Whether JSON has a form for a value."""
    try:
        _JSON.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


# each kind of component


def _text(component: Any, value: Any) -> Typed:
    return Typed(_described(str, component), "" if value is None else value)


def _number(component: Any, value: Any) -> Typed:
    low, high = (_limit(component, name) for name in ("minimum", "maximum"))
    bounds = {name: limit for name, limit in (("minimum", low), ("maximum", high)) if limit is not None}
    number: Any = Annotated[int | float, Field(ge=low, le=high), WithJsonSchema({"type": "number", **bounds})]
    if read(component, "precision") == 0:
        number = Annotated[int, Field(ge=low, le=high)]
    if value is None:
        return Typed(_described(number | None, component), None)
    return Typed(_described(number, component), value)


def _slider(component: Any, value: Any) -> Typed:
    return _number(component, (_limit(component, "minimum") or 0) if value is None else value)


def _limit(component: Any, name: str) -> int | float | None:
    limit = read(component, name)
    return limit if isinstance(limit, int | float) else None


def _checkbox(component: Any, value: Any) -> Typed:
    return Typed(_described(bool, component), bool(value))


def _one_choice(component: Any, value: Any) -> Typed:
    choices = _choices(component)
    if not choices or read(component, "allow_custom_value"):
        return Typed(_described(JsonValue, component), value)
    if read(component, "multiselect"):
        return _many_choices(component, value)
    if value is None and "Dropdown" in kinds_of(component) and "value" not in given_to(component):
        value = choices[0]
    annotation = Literal[tuple(choices)]  # type: ignore[valid-type]
    return Typed(
        _described(annotation if value is not None else annotation | None, component), value, _index(component)
    )


def _many_choices(component: Any, value: Any) -> Typed:
    choices = _choices(component)
    annotation = list[Literal[tuple(choices)]] if choices else list[JsonValue]  # type: ignore[misc]
    chosen = [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
    index = _index(component)
    return Typed(_described(annotation, component), chosen, index and (lambda values: [index(each) for each in values]))


def _choices(component: Any) -> list[Any]:
    """Return the values of the choices; a choice is a value, or a label and a value."""
    choices = read(component, "choices") or ()
    return [each[1] if isinstance(each, tuple | list) and len(each) == 2 else each for each in choices]


def _index(component: Any) -> Callable[[Any], Any] | None:
    """Return what makes of a choice its place, if that is what the function is given."""
    choices = _choices(component)
    if read(component, "type") != "index":
        return None
    return lambda choice: choices.index(choice) if choice in choices else None


def _json(component: Any, value: Any) -> Typed:
    return Typed(_described(JsonValue, component), value)


_READERS: Final[Mapping[str, Callable[[Any, Any], Typed]]] = {
    "Slider": _slider,
    "Number": _number,
    "CheckboxGroup": _many_choices,
    "Checkbox": _checkbox,
    "Dropdown": _one_choice,
    "Radio": _one_choice,
    "JSON": _json,
    "Textbox": _text,
    "TextArea": _text,
    "Text": _text,
    "Code": _text,
    "Markdown": _text,
    "HTML": _text,
    "ColorPicker": _text,
}
"""How each kind of component is read, subclasses of one before it; all others take any JSON value."""


def _described(annotation: Any, component: Any) -> Any:
    """Return a type with a component's label and explanation."""
    texts = {"title": read(component, "label"), "description": read(component, "info")}
    said: Sequence[tuple[str, Any]] = [(name, text) for name, text in texts.items() if isinstance(text, str) and text]
    return Annotated[annotation, Field(**dict(said))] if said else annotation
