"""Shapes: the JSON form of the values of `chatserve.core`, derived from their declarations.

`chatserve.core.members` has the rules. For each class this module generates the source of two functions, `encode` and
`decode`, and compiles it once, as `dataclasses` does with `__init__`. A loop over the members would take three times as
long, and every turn writes and reads several values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from functools import cache
from inspect import Parameter, signature
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from chatserve.codec.values import decode_time, encode_time
from chatserve.core.frozen import frozen
from chatserve.core.members import Inlined, Mark, Within, Written
from chatserve.core.types import PART_NAMES, Json, Part, TextPart

Value = TypeVar("Value")

_REQUIRED: Final = Parameter.empty
_COMPUTED: Final = object()


@frozen
class Member:
    """One member of a value's JSON: its name there, and its attribute (`turn.status`) with type and default.

    If it `is_optional`, it is omitted while it is None.
    """

    name: str
    attribute: str
    hint: Any
    default: Any
    is_optional: bool

    def mark(self, kind: type[Value]) -> Value | None:
        """Return the declaration's mark of this kind, or None."""
        return next((mark for mark in marks_of(self.hint) if isinstance(mark, kind)), None)

    @property
    def holder(self) -> str | None:
        """The name of the member that contains this one, or None."""
        within = self.mark(Within)
        return None if within is None else within.member


class Shape(Generic[Value]):
    """The JSON of a class: its members in order, and the functions that write and read its values.

    `tag` is the member `type` of a part. `decode` takes values that are not in the JSON as keywords. It raises KeyError
    or TypeError if the JSON has another shape.
    """

    def __init__(self, cls: type[Value], *, is_export: bool = False) -> None:
        declared = list(_declared(cls))
        written = [member for member in declared if _is_written(member, is_export=is_export)]
        self.cls = cls
        self.tag = PART_NAMES.get(cls)
        self.members = _in_order(written)
        names = {"cls": cls, **_NAMES}
        self.encode: Callable[[Value], dict[str, Json]] = _compile(_encoder(self, names), names)
        self.decode: Callable[..., Value] = _compile(_decoder(declared, written, names), names)


@cache
def shape_of(cls: type[Value]) -> Shape[Value]:
    """Return the shape of a class."""
    return Shape(cls)


# --- declarations ------------------------------------------------------------------------------------------------


def _declared(cls: type) -> Iterator[Member]:
    """Yield the fields of a class, then its properties."""
    hints = get_type_hints(cls, include_extras=True)
    for name, parameter in signature(cls).parameters.items():
        yield _member(name, hints[name], parameter.default)
    for name, attribute in vars(cls).items():
        if isinstance(attribute, property):
            yield _member(name, get_type_hints(attribute.fget, include_extras=True)["return"], _COMPUTED)


def _member(attribute: str, hint: Any, default: Any) -> Member:
    member = Member(attribute, attribute, hint, default, is_optional=default is None)
    written = member.mark(Written)
    if written is None:
        return member
    return replace(member, name=written.name or attribute, is_optional=default is None and not written.is_always_there)


def _is_written(member: Member, *, is_export: bool) -> bool:
    marks = marks_of(member.hint)
    if member.default is _COMPUTED:
        return member.mark(Written) is not None
    return Mark.INTERNAL not in marks and (is_export or Mark.EXPORTED not in marks)


def _in_order(declared: Sequence[Member]) -> tuple[Member, ...]:
    members: list[Member] = []
    for member in sorted(declared, key=lambda each: (Mark.EXPORTED in marks_of(each.hint), each.is_optional)):
        members += [member] if (inlined := member.mark(Inlined)) is None else _inlined(member, inlined)
    for member in declared:
        if (written := member.mark(Written)) is not None and written.after is not None:
            members.remove(member)
            members.insert([each.name for each in members].index(written.after) + 1, member)
    return tuple(members)


def _inlined(holder: Member, inlined: Inlined) -> Iterator[Member]:
    """Yield the members of an inlined value, which replace their holder."""
    for member in shape_of(bare(holder.hint)).members:
        if member.name in inlined.members:
            hint = inlined.narrowed.get(member.name, member.hint)
            yield replace(member, attribute=f"{holder.attribute}.{member.attribute}", hint=hint)


def marks_of(hint: Any) -> tuple[Any, ...]:
    """Return the marks on a type."""
    return tuple(hint.__metadata__) if get_origin(hint) is Annotated else ()


def bare(hint: Any) -> Any:
    """Return a type without its marks."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def without_none(hint: Any) -> Any:
    """Return the X of `X | None`, and None for any other type."""
    choices = get_args(bare(hint))
    return next(each for each in choices if each is not type(None)) if type(None) in choices else None


# --- functions made of them --------------------------------------------------------------------------------------


def _compile(source: str, names: dict[str, Any]) -> Callable[..., Any]:
    exec(compile(source, f"<{names['cls'].__name__} in JSON>", "exec"), names)  # noqa: S102 - source of our own
    function: Callable[..., Any] = names["function"]
    return function


def _encoder(shape: Shape[Any], names: dict[str, Any]) -> str:
    """Return the source of `encode`: a dict of the members up to the first optional one, then one line for each."""
    first = [] if shape.tag is None else [f"'type': {shape.tag!r}"]
    rest: list[str] = []
    for member in shape.members:
        source = f"value.{member.attribute}"
        if member.is_optional:
            written = _form(without_none(member.hint), names).write.format("x")
            rest.append(f"    if (x := {source}) is not None: made[{member.name!r}] = {written}")
        elif member.holder is None:
            written = _form(member.hint, names).write.format(source)
            held = [f"{each.name!r}: value.{each.attribute}" for each in shape.members if each.holder == member.name]
            written = f"{{{', '.join(held)}, **{written}}}" if held else written
            if rest:
                rest.append(f"    made[{member.name!r}] = {written}")
            else:
                first.append(f"{member.name!r}: {written}")
    return "\n".join(["def function(value):", f"    made = {{{', '.join(first)}}}", *rest, "    return made"])


def _decoder(declared: Iterable[Member], written: Sequence[Member], names: dict[str, Any]) -> str:
    """Return the source of `decode`. A field that is not written and has no default becomes a parameter."""
    arguments, given = [], []
    for member in declared:
        if member.default is _COMPUTED:
            continue
        if member in written:
            arguments.append(f"{member.attribute}={_read(member, names)}")
        elif member.default is _REQUIRED:
            arguments.append(f"{member.attribute}={member.attribute}")
            given.append(member.attribute)
    parameters = ", ".join(["value", *(["*"] if given else []), *given])
    return f"def function({parameters}): return cls({', '.join(arguments)})"


def _read(member: Member, names: dict[str, Any]) -> str:
    """Return the source that reads one member; a member that may be None may be missing."""
    if (inlined := member.mark(Inlined)) is not None:
        return _read_inlined(member, inlined, names)
    place = "value" if member.holder is None else f"value[{member.holder!r}]"
    if member.default is not _REQUIRED:
        source = f"{place}.get({member.name!r}, {member.default!r})"
    elif without_none(member.hint) is not None:
        source = f"{place}.get({member.name!r})"
    else:
        source = f"{place}[{member.name!r}]"
    return _form(member.hint, names).read.format(source)


def _read_inlined(holder: Member, inlined: Inlined, names: dict[str, Any]) -> str:
    """Return the source that makes an inlined value from its members, and from other fields it needs, if given."""
    cls = bare(holder.hint)
    names[cls.__name__] = cls
    arguments = [
        f"{member.attribute}={_read(member, names)}"
        for member in _declared(cls)
        if member.name in inlined.members or member.default is _REQUIRED
    ]
    return f"{cls.__name__}({', '.join(arguments)})"


# --- types with a different form in JSON -------------------------------------------------------------------------


class _Form(NamedTuple):
    """The source that writes a value of a type, and the source that reads it; `{}` stands for the value."""

    write: str = "{}"
    read: str = "{}"


_MARKED_FORMS: Final[Mapping[Mark, _Form]] = {
    Mark.TIME: _Form("encode_time({})", "decode_time({})"),
    Mark.CONTENT: _Form("content_json({})", "decode_content({})"),
    Mark.EMPTY_IS_NULL: _Form("{} or None", "{} or ''"),
}


def _form(hint: Any, names: dict[str, Any]) -> _Form:
    """Return the form of a type; add the functions that its source calls to `names`."""
    for mark in marks_of(hint):
        if isinstance(mark, Mark) and mark in _MARKED_FORMS:
            return _MARKED_FORMS[mark]
    cls, origin = bare(hint), get_origin(bare(hint))
    if (inner := without_none(hint)) is not None:
        form = _form(inner, names)
        return _Form(
            *(f"None if (x := {{}}) is None else {each.format('x')}" if each != "{}" else each for each in form)
        )
    if cls == Part:
        return _Form("part_json({})", "decode_part({})")
    if origin is Mapping:
        return _Form("dict({})")
    if origin is tuple:
        write, read = (each.format("each") for each in _form(get_args(cls)[0], names))
        return _Form(f"[{write} for each in {{}}]", f"tuple([{read} for each in {{}}])")
    if isinstance(cls, type) and is_dataclass(cls):
        shape = shape_of(cls)
        names |= {f"write_{shape.cls.__name__}": shape.encode, f"read_{shape.cls.__name__}": shape.decode}
        return _Form(f"write_{shape.cls.__name__}({{}})", f"read_{shape.cls.__name__}({{}})")
    return _Form()


# --- parts -------------------------------------------------------------------------------------------------------


def part_json(part: Part) -> dict[str, Json]:
    """Return the JSON of one part, with `type` first."""
    return _PART_ENCODERS[type(part)](part)


def decode_part(value: Mapping[str, Json]) -> Part:
    """Decode a part. Raises: ValueError that shows the wrong value."""
    try:
        return _PART_DECODERS[value["type"]](value)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a message part: {value!r:.200}") from error


def content_json(content: Sequence[Part]) -> Json:
    """Return a string if the content is only text, else a list of parts."""
    if len(content) == 1:
        only = content[0]
        return only.text if isinstance(only, TextPart) else [part_json(only)]
    if all(isinstance(part, TextPart) for part in content):
        return "".join(part.text for part in content if isinstance(part, TextPart))
    return [part_json(part) for part in content]


def decode_content(value: Json) -> tuple[Part, ...]:
    """Decode the result of `content_json`. Raises: ValueError."""
    if isinstance(value, str):
        return (TextPart(value),)
    if not isinstance(value, list):
        raise ValueError(f"content is neither text nor a list of parts: {value!r:.200}")
    return tuple(map(decode_part, value))


_NAMES: Final[Mapping[str, Any]] = {
    function.__name__: function
    for function in (encode_time, decode_time, content_json, decode_content, part_json, decode_part)
}
_PART_ENCODERS: Final[Mapping[type, Callable[[Any], dict[str, Json]]]] = {
    cls: shape_of(cls).encode for cls in get_args(Part)
}
_PART_DECODERS: Final[Mapping[str, Callable[..., Part]]] = {
    name: shape_of(cls).decode for cls, name in PART_NAMES.items()
}
