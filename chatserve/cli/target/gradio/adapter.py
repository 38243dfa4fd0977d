"""Wraps the function of a `gr.ChatInterface` as a chat function: inputs by name and with types, states in the session.

Gradio calls its function by position: message, history, and the value of each additional input, in their order; what an
annotation asks for, like `gr.Request`, is put in between. A parameter beyond those has its default.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from chatserve.chat_function import ChatContext
from chatserve.chat_function.kinds import is_async, is_generator
from chatserve.chat_function.signature.injected import injected_kind
from chatserve.chat_function.signature.parameters import POSITIONAL, parameters_of
from chatserve.cli.target.functions import name_in
from chatserve.cli.target.gradio.inputs import Fixed, State, Typed, is_file, is_state, label_of, read_component
from chatserve.cli.target.gradio.record import is_chatbot, is_gradio, read
from chatserve.cli.target.gradio.states import States
from chatserve.cli.target.place import TargetError

Parameter = inspect.Parameter

CONTEXT: Final = "chatserve_context"


Kind: TypeAlias = Literal["answer", "data", "file", "state", "nothing"]

ANSWER: Final = object()
"""Stands among the outputs of an interface for the answer."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """A chat function; the names of its inputs, and those that are none; those of its states and additional outputs."""

    function: Callable[..., Any]
    inputs: tuple[str, ...]
    fixed: tuple[str, ...]
    states: tuple[str, ...]
    outputs: tuple[str, ...]
    rows: tuple[str | None, ...]
    """For each additional input its name, or None if it is no input of the chat."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """An argument of the function: what it is filled with (None: the server fills it), by name or by position."""

    name: str
    filled: Literal["message", "history"] | Typed | Fixed | State | None
    parameter: Parameter
    is_by_name: bool = False


@dataclass(frozen=True, slots=True)
class _Result:
    """An output: the answer, or an additional one that becomes data of that name, a file, a state, or nothing."""

    name: str
    kind: Kind


def adapt(
    function: Callable[..., Any],
    name: str,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    variables: Mapping[str, Any],
    *,
    is_page: bool = False,
) -> Adapted:
    """Return the function as a chat function.

    `inputs` are the components that fill its parameters after the first two, `outputs` those that its values go to:
    of an interface `ANSWER` and the additional ones, of a page its `gr.Chatbot` for the answer and others. `variables`
    are those of the module; they name components that have no label.

    Raises:
        TargetError: there are more or fewer inputs than the function takes.
    """
    slots = tuple(_slots(function, name, inputs, variables))
    filled = [slot for slot in slots if isinstance(slot.filled, Typed | Fixed | State)]
    names = {id(component): slot.name for component, slot in zip(inputs, filled, strict=True)}
    results = tuple(_results(outputs, names, variables, is_page=is_page))
    state_names = [slot.name for slot in filled if isinstance(slot.filled, State)]
    states = tuple(dict.fromkeys([*state_names, *(each.name for each in results if each.kind == "state")]))
    adapted = function
    if len(slots) > 2 or len(results) > 1 or _parameters_beyond(function, slots):
        adapted = _wrap(function, _Call(function, slots, results))
        adapted.__signature__ = _signature(slots, has_context=bool(states))  # type: ignore[attr-defined]
    rows = tuple(slot.name if isinstance(slot.filled, Typed) else None for slot in filled)
    return Adapted(
        adapted,
        tuple(each for each in rows if each is not None),
        tuple(slot.name for slot in filled if isinstance(slot.filled, Fixed)),
        states,
        tuple(each.name for each in results if each.kind in ("data", "file")),
        rows,
    )


# what the function takes


def _slots(
    function: Callable[..., Any], name: str, components: Sequence[Any], variables: Mapping[str, Any]
) -> Iterator[_Slot]:
    waiting = list(components)
    wanted: list[Literal["message", "history"]] = ["message", "history"]
    is_by_name = False
    for parameter in parameters_of(function):
        if injected_kind(parameter) is not None:
            by_name = is_by_name or parameter.kind is Parameter.KEYWORD_ONLY
            yield _Slot(parameter.name, None, parameter, by_name)
        elif parameter.kind is Parameter.VAR_POSITIONAL:
            yield from (_Slot(f"{word}", word, parameter) for word in wanted)
            yield from _variable_slots(parameter, waiting, variables)
            wanted, waiting, is_by_name = [], [], True
        elif parameter.kind not in POSITIONAL:
            continue
        elif wanted:
            yield _Slot(parameter.name, wanted.pop(0), parameter)
        elif waiting:
            yield _Slot(parameter.name, read_component(waiting.pop(0)), parameter)
        elif parameter.default is Parameter.empty:
            raise TargetError(f"chat {name!r}: no additional input of its gr.ChatInterface fills {parameter.name!r}")
        else:
            is_by_name = True
    if wanted:
        raise TargetError(f"chat {name!r}: its function must take a message and a history")
    if waiting:
        raise TargetError(
            f"chat {name!r}: its gr.ChatInterface has {len(components)} additional inputs, "
            f"and its function takes {len(components) - len(waiting)}"
        )


def _variable_slots(parameter: Parameter, components: Sequence[Any], variables: Mapping[str, Any]) -> Iterator[_Slot]:
    """Yield the inputs that a function takes as `*args`, named by their labels or variables."""
    taken: set[str] = set()
    for number, component in enumerate(components, 1):
        name = label_of(component, name_in(variables, component) or f"input_{number}")
        name = f"{name}_{number}" if name in taken else name
        taken.add(name)
        yield _Slot(name, read_component(component), parameter)


def _parameters_beyond(function: Callable[..., Any], slots: Sequence[_Slot]) -> bool:
    """Whether a function has parameters that Gradio leaves to their defaults."""
    filled = {slot.name for slot in slots}
    kinds = (*POSITIONAL, Parameter.KEYWORD_ONLY)
    return any(each.name not in filled for each in parameters_of(function) if each.kind in kinds)


def _signature(slots: Sequence[_Slot], *, has_context: bool) -> inspect.Signature:
    """Return the signature of the chat function: message, history, what the server fills, and inputs by name."""
    first = [slot.name for slot in slots if slot.filled in ("message", "history")]
    parameters = [Parameter(name, Parameter.POSITIONAL_ONLY) for name in first]
    for slot in slots:
        if isinstance(slot.filled, Typed):
            kept = {"default": slot.filled.default, "annotation": slot.filled.annotation}
            parameters.append(Parameter(slot.name, Parameter.KEYWORD_ONLY, **kept))
        elif slot.filled is None:
            parameters.append(slot.parameter.replace(kind=Parameter.KEYWORD_ONLY))
    if has_context:
        parameters.append(Parameter(CONTEXT, Parameter.KEYWORD_ONLY, annotation=ChatContext))
    return inspect.Signature(parameters)


def _results(
    outputs: Sequence[Any], names: Mapping[int, str], variables: Mapping[str, Any], *, is_page: bool
) -> Iterator[_Result]:
    """Yield the outputs; one that is an input too has that one's name.

    No data is named `state`, which as an additional output is the session's.
    """
    taken = {"state"}
    for number, component in enumerate(outputs):
        kind = _kind_of(component, is_page=is_page)
        name = names.get(id(component)) or label_of(component, name_in(variables, component) or f"output_{number}")
        name = f"{name}_{number}" if name in taken and kind != "state" else name
        taken.add(name)
        yield _Result(name, kind)


def _kind_of(component: Any, *, is_page: bool) -> Kind:
    """Return what becomes of the values that go to a component; what a page shows elsewhere is lost."""
    if component is ANSWER or (is_page and is_chatbot(component)):
        return "answer"
    if is_state(component):
        return "state"
    if is_page:
        return "nothing"
    return "file" if is_file(component) else "data"


# calling it


class _Call:
    """Calls the function with the arguments of the chat function, and turns what it gives back into an answer."""

    def __init__(self, function: Callable[..., Any], slots: Sequence[_Slot], results: Sequence[_Result]) -> None:
        self._function = function
        self._slots = slots
        self._results = results
        self._states = States()

    def start(self, message: Any, history: Any, given: Mapping[str, Any]) -> Any:
        """Call the function."""
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for slot in self._slots:
            value = self._argument(slot, message, history, given)
            if slot.is_by_name:
                named[slot.name] = value
            else:
                positional.append(value)
        return self._function(*positional, **named)

    def _argument(self, slot: _Slot, message: Any, history: Any, given: Mapping[str, Any]) -> Any:
        match slot.filled:
            case "message":
                return message
            case "history":
                return history
            case Typed(_, default, convert):
                value = given[slot.name] if slot.name in given else copy.deepcopy(default)
                return value if convert is None else convert(value)
            case Fixed(value):
                return value
            case State(initial):
                return self._states.get(given[CONTEXT].session, slot.name, initial)
            case None:
                return given.get(slot.name, slot.parameter.default)

    def answer(self, value: Any, given: Mapping[str, Any]) -> Any:
        """Return what a value of the function answers, and keep its states; outputs come as a tuple or a list."""
        if len(self._results) < 2 or not isinstance(value, tuple | list) or len(value) != len(self._results):
            return value
        answer: Any = None
        shown = []
        for result, output in zip(self._results, value, strict=True):
            match result.kind:
                case "answer":
                    answer = output
                case "data":
                    shown.append(_plain(output))
                case "file":
                    shown.append(_as_file(_plain(output)))
                case "state":
                    if not _is_skip(output):
                        self._states.put(given[CONTEXT].session, result.name, output)
                case "nothing":
                    pass
        return (answer, *shown) if shown else answer


def _is_skip(output: Any) -> bool:
    return isinstance(output, dict) and output.get("__type__") == "update" and "value" not in output


def _plain(output: Any) -> Any:
    """Return the value of an output: of `gr.update(value=…)`, of a component, or itself."""
    if isinstance(output, dict) and output.get("__type__") == "update":
        return output.get("value")
    return read(output, "value") if is_gradio(output) else output


def _as_file(output: Any) -> Any:
    """Return the path that goes to a component for files as a file."""
    return {"path": output} if isinstance(output, str) else output


def _wrap(function: Callable[..., Any], call: _Call) -> Callable[..., Any]:
    """Return a function of the same kind that takes its inputs by name."""
    kinds = {
        (False, False): _wrap_function,
        (True, False): _wrap_coroutine,
        (False, True): _wrap_generator,
        (True, True): _wrap_async_generator,
    }
    wrapped = kinds[is_async(function), is_generator(function)](call)
    wrapped.__doc__ = getattr(function, "__doc__", None) if inspect.isroutine(function) else None
    return wrapped


def _wrap_function(call: _Call) -> Callable[..., Any]:
    def answer(message: Any, history: Any, /, **given: Any) -> Any:
        return call.answer(call.start(message, history, given), given)

    return answer


def _wrap_coroutine(call: _Call) -> Callable[..., Any]:
    async def answer(message: Any, history: Any, /, **given: Any) -> Any:
        return call.answer(await call.start(message, history, given), given)

    return answer


def _wrap_generator(call: _Call) -> Callable[..., Any]:
    def answer(message: Any, history: Any, /, **given: Any) -> Generator[Any, None, Any]:
        with closing(call.start(message, history, given)) as values:
            while True:
                try:
                    value = next(values)
                except StopIteration as end:
                    return None if end.value is None else call.answer(end.value, given)
                yield call.answer(value, given)

    return answer


def _wrap_async_generator(call: _Call) -> Callable[..., Any]:
    async def answer(message: Any, history: Any, /, **given: Any) -> AsyncIterator[Any]:
        async with aclosing(call.start(message, history, given)) as values:
            async for value in values:
                yield call.answer(value, given)

    return answer
