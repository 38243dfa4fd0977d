"""The parameters of any callable, with their annotations evaluated, and the names that a partial has bound.

Knows no kind of parameter.
"""

from __future__ import annotations

import ast
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

Parameter = inspect.Parameter

POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
VARIADIC: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

_PARTIALMETHOD: Final = ("__partialmethod__", "_partialmethod")
"""Where Python 3.13 and before it keep the `partialmethod` behind a method."""


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """Return the parameters of a call. An annotation whose names exist only for type checkers stays text.

    Raises:
        ValueError, TypeError: the callable does not tell them.
    """
    names = _names_around(function)
    return [
        parameter.replace(annotation=_evaluated(parameter.annotation, names))
        for parameter in inspect.signature(function).parameters.values()
    ]


def bound_names(function: Callable[..., Any]) -> frozenset[str]:
    """Return the parameters that partials bind by name. Those bound by position are no parameters any more."""
    partials = (each for each in _layers(function) if isinstance(each, functools.partial | functools.partialmethod))
    return frozenset(name for each in partials for name in each.keywords)


def _innermost(function: Callable[..., Any]) -> Any:
    """Return the function that a developer wrote inside of partials, wrappers, methods and callable objects."""
    return list(_layers(function))[-1]


def _layers(function: Callable[..., Any]) -> Iterator[Any]:
    """Yield a callable, and each callable inside of it."""
    layer: Any = function
    while layer is not None:
        yield layer
        layer = _inside(layer)


def _inside(layer: Any) -> Any:
    if isinstance(layer, functools.partial | functools.partialmethod):
        return layer.func
    for name in ("__wrapped__", *_PARTIALMETHOD, "__func__"):
        if name in getattr(layer, "__dict__", {}) or (name == "__func__" and inspect.ismethod(layer)):
            return getattr(layer, name)
    if inspect.isroutine(layer) or isinstance(layer, type):
        return None
    call = getattr(type(layer), "__call__", None)  # noqa: B004 - the method itself is wanted
    return call if inspect.isfunction(call) or isinstance(call, functools.partialmethod) else None


def _names_around(function: Callable[..., Any]) -> dict[str, Any]:
    names: dict[str, Any] = getattr(_innermost(function), "__globals__", {})
    return names


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if annotation is Parameter.empty:
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["it"]
    except Exception:  # noqa: BLE001 - the text of an annotation may be any code
        return annotation


# --- what an annotation says ---------------------------------------------------------------------------------------


def plain_type(annotation: Any) -> Any:
    """Return the `X` of `X`, `X | None`, `Optional[X]` and `Annotated[X, …]`; of text, the dotted name of X."""
    if isinstance(annotation, str):
        return _plain_name(annotation)
    if isinstance(annotation, typing.ForwardRef):
        return _plain_name(annotation.__forward_arg__)
    if typing.get_origin(annotation) is Annotated:
        return plain_type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
        return plain_type(members[0]) if len(members) == 1 else annotation
    return annotation


def takes_none(annotation: Any) -> bool:
    """Whether the annotation allows None."""
    if isinstance(annotation, str):
        return "None" in annotation or "Optional" in annotation
    if typing.get_origin(annotation) is Annotated:
        return takes_none(typing.get_args(annotation)[0])
    return types.NoneType in typing.get_args(annotation)


def metadata_of(annotation: Any) -> tuple[Any, ...]:
    """Return what `Annotated` adds to a type."""
    return annotation.__metadata__ if typing.get_origin(annotation) is Annotated else ()


def _plain_name(text: str) -> str:
    try:
        return _name_of(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError:
        return text


def _name_of(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return _plain_name(text)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _name_of(right if _is_none(left) else left) if _is_none(left) or _is_none(right) else ""
        case ast.Subscript(value=holder, slice=ast.Tuple(elts=[first, *_])):
            return _name_of(first) if _name_of(holder).endswith("Annotated") else ""
        case ast.Subscript(value=holder, slice=inner):
            return _name_of(inner) if _name_of(holder).endswith("Optional") else ""
        case ast.Attribute() | ast.Name():
            return ast.unparse(node)
        case _:
            return ""


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


# --- where a class comes from --------------------------------------------------------------------------------------


def package_of(cls: type) -> str:
    """Return the name of the package that a class belongs to."""
    return str(cls.__module__).partition(".")[0]


def class_named(cls: Any, names: Mapping[str, Any], package: str) -> str | None:
    """Return the first of the names that the class, or one above it, has in the package."""
    if not isinstance(cls, type):
        return None
    return next((base.__name__ for base in cls.__mro__ if base.__name__ in names and package_of(base) == package), None)
