"""Reads a chat function's signature: which parameter is of which kind, and how each is passed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chatserve.chat_function.signature.foreign import foreign_reason
from chatserve.chat_function.signature.injected import NEEDS_CONTEXT, Kind, Surroundings, given_to, injected_kind
from chatserve.chat_function.signature.inputs import Inputs, has_default, is_input, read_inputs
from chatserve.chat_function.signature.parameters import (
    POSITIONAL,
    VARIADIC,
    Parameter,
    bound_names,
    parameters_of,
)
from chatserve.core.errors import ConfigurationError

_FROM_ARGS: Final = ("*message", "*history")
"""Names of what a function takes as part of its `*args`. No parameter can have them."""

_MAX_TYPE: Final = 200


@dataclass(frozen=True, slots=True)
class Signature:
    """What a chat function takes, and how.

    `injected` has the kind of each injected parameter. `by_position` are the parameters that are passed by position, in
    order; `message` and `history` are among them, or are passed by name because a partial bound one before them.
    """

    inputs: Inputs
    injected: Mapping[str, Kind]
    message: str
    history: str
    by_position: tuple[str, ...]

    @property
    def needs_context(self) -> bool:
        """Whether a call needs the context of its turn."""
        return not NEEDS_CONTEXT.isdisjoint(self.injected.values())

    def arguments(
        self, message: Any, history: list[Any], inputs: Mapping[str, Any], around: Surroundings
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Return the arguments of a call, by position and by name."""
        named = {self.message: message, self.history: history}
        for name, kind in self.injected.items():
            named[name] = given_to(kind, name, around)
        by_position = [named.pop(name) for name in self.by_position]
        named.update(inputs)
        return by_position, named


def read_signature(function: Callable[..., Any], chat: str) -> Signature:
    """Read the parameters of a chat function.

    Raises:
        ConfigurationError: it cannot take a message and a history, or has a parameter that nothing can fill.
    """
    parameters = _parameters(function, chat)
    bound = bound_names(function)
    free = [parameter for parameter in parameters if parameter.name not in bound]
    injected = {p.name: kind for p in free if p.kind not in VARIADIC and (kind := injected_kind(p)) is not None}
    others = [parameter for parameter in free if parameter.name not in injected]
    message, history = _message_and_history(others, chat, by_name=bool(bound))
    rest = [p for p in others if p.kind not in VARIADIC and p.name not in (message, history)]
    inputs = read_inputs([parameter for parameter in rest if _is_input(parameter, chat)])
    return Signature(inputs, injected, message, history, _by_position(parameters, injected, (message, history)))


def _parameters(function: Callable[..., Any], chat: str) -> list[Parameter]:
    try:
        return parameters_of(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"chat function {chat!r} cannot be inspected: {error}") from error


def _message_and_history(others: Sequence[Parameter], chat: str, *, by_name: bool) -> tuple[str, str]:
    """Return the names of the first two parameters that can be message and history; `*args` may be both."""
    kinds = (*POSITIONAL, Parameter.KEYWORD_ONLY) if by_name else POSITIONAL
    names = [parameter.name for parameter in others if parameter.kind in kinds][:2]
    if len(names) < 2 and any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in others):
        names += _FROM_ARGS[len(names) :]
    if len(names) < 2:
        raise ConfigurationError(
            f"chat function {chat!r} takes {len(names)} positional parameter(s): "
            "the first two must be the message and the history, as in `def predict(message, history)`"
        )
    return names[0], names[1]


def _is_input(parameter: Parameter, chat: str) -> bool:
    """Whether a parameter is an input; if not, the function keeps its default.

    Raises:
        ConfigurationError: nothing can fill the parameter, or another framework would.
    """
    reason = foreign_reason(parameter)
    if reason is None and is_input(parameter):
        if parameter.kind is not Parameter.POSITIONAL_ONLY:
            return True
        reason = "it is taken by position only, but inputs are passed by name; remove the `/` after it"
    elif reason is None and not has_default(parameter):
        reason = (
            f"no client can send {_type_of(parameter)}; give it a default, bind it with functools.partial, "
            "or annotate a type that pydantic can check"
        )
    if reason is not None:
        raise ConfigurationError(f"chat {chat!r}: parameter {parameter.name!r}: {reason}")
    return False


def _type_of(parameter: Parameter) -> str:
    return " ".join(inspect.formatannotation(parameter.annotation).split())[:_MAX_TYPE]


def _by_position(
    parameters: Sequence[Parameter], injected: Container[str], message_and_history: Sequence[str]
) -> tuple[str, ...]:
    """Return the parameters to pass by position: all up to the history, and what can be passed in no other way."""
    names: list[str] = []
    missing = set(message_and_history)
    for parameter in parameters:
        is_filled = parameter.name in missing or parameter.name in injected
        if not is_filled or parameter.kind not in POSITIONAL:
            break
        if missing or parameter.kind is Parameter.POSITIONAL_ONLY:
            names.append(parameter.name)
            missing.discard(parameter.name)
    return (*names, *(name for name in _FROM_ARGS if name in missing))
