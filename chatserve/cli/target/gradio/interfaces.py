"""Reads recorded chat interfaces as chats: a function and its options, and what is and is not carried over."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Literal

from chatserve.cli.target.functions import name_in
from chatserve.cli.target.gradio.adapter import ANSWER, Adapted, adapt
from chatserve.cli.target.gradio.parameters import CHATBOT, EVENTS, LOOKS, PARAMETERS, QUEUE, Fate
from chatserve.cli.target.gradio.record import Interface, Record, given_to, is_gradio, read
from chatserve.cli.target.place import TargetError

_LOST: Final = "not carried over"


@dataclass(frozen=True, slots=True)
class ChatReading:
    """A chat read from a `gr.ChatInterface`.

    `original` is the function as the file has it. `declared` is its `type`, None if it is not given. `fates` tell for
    each kind of fate the names of what the file gave.
    """

    interface: Interface
    original: Callable[..., Any]
    function: Callable[..., Any]
    name: str
    options: Mapping[str, Any]
    declared: Literal["messages", "tuples"] | None
    fates: Mapping[Fate, tuple[str, ...]]


def read_interfaces(
    record: Record, chosen: Sequence[Interface], module: ModuleType, tree: ast.Module
) -> list[ChatReading]:
    """Return the chats that these interfaces make. `tree` is the source of the module.

    Raises:
        TargetError: an interface has no function, or inputs that the function does not take.
    """
    readings: list[ChatReading] = []
    events = tuple(_events(module, tree))
    for interface in chosen:
        taken = {reading.name for reading in readings}
        readings.append(_read_interface(interface, record, module, taken, events))
    return readings


def _read_interface(
    interface: Interface, record: Record, module: ModuleType, taken: set[str], events: tuple[str, ...]
) -> ChatReading:
    given = interface.given
    function = _function_of(interface)
    name = _free_name(_name_of(given, function, module), taken)
    outputs = [ANSWER, *_listed(given.get("additional_outputs"))]
    adapted = adapt(function, name, _listed(given.get("additional_inputs")), outputs, vars(module))
    return ChatReading(
        interface,
        function,
        adapted.function,
        name,
        {key: value for key, value in _options(given, record, adapted).items() if value is not None},
        _declared_type(given),
        _fates(given, record, adapted, events),
    )


def _function_of(interface: Interface) -> Callable[..., Any]:
    function: Any = interface.given.get("fn")
    if is_gradio(function):
        function = read(function, "fn")  # one interface made from another
    if not callable(function):
        raise TargetError("a gr.ChatInterface has no function; give it one, as in gr.ChatInterface(predict)")
    chat_function: Callable[..., Any] = function
    return chat_function


def _name_of(given: Mapping[str, Any], function: Callable[..., Any], module: ModuleType) -> str:
    """Return the chat's name: the interface's `api_name`, else the function's name in the module."""
    api_name = given.get("api_name")
    if isinstance(api_name, str) and api_name.strip("/"):
        return api_name.strip("/")
    own = str(getattr(function, "__name__", type(function).__name__.lower()))
    return name_in(vars(module), function) or (own if own.isidentifier() else "chat")


def _free_name(name: str, taken: set[str]) -> str:
    """Return a name that no other chat has, as Gradio makes one."""
    number = 0
    free = name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _listed(components: Any) -> list[Any]:
    if components is None:
        return []
    return list(components) if isinstance(components, list | tuple) else [components]


def _declared_type(given: Mapping[str, Any]) -> Literal["messages", "tuples"] | None:
    chatbot = given.get("chatbot")
    of_chatbot = given_to(chatbot) | vars(chatbot) if is_gradio(chatbot) else {}
    kind = given.get("type") or given_to(chatbot).get("type") if of_chatbot else given.get("type")
    return kind if kind in ("messages", "tuples") else None


# the options


def _options(given: Mapping[str, Any], record: Record, adapted: Adapted) -> dict[str, Any]:
    """Return the options of the chat; None where the interface says nothing."""
    examples = tuple(_example(each, adapted) for each in given.get("examples") or ())
    return {
        "title": _text(given.get("title")),
        "description": _text(given.get("description")) or _text(given.get("api_description")),
        "multimodal": given.get("multimodal") or None,
        "examples": examples or None,
        "cache_examples": _cache(given) if examples else None,
        "concurrency_limit": _concurrency(given, record),
        "max_queue": record.queued.get("max_size"),
        "validator": _validator(given.get("validator")),
        "feedback": _feedback(given),
        "greeting": greeting_of(given.get("chatbot")),
        "additional_outputs": adapted.outputs or None,
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _example(example: Any, adapted: Adapted) -> Any:
    """Return an example with its inputs by name; those of states and files are left out."""
    if not isinstance(example, list | tuple):
        return example
    message, *values = example
    named = {name: value for name, value in zip(adapted.rows, values, strict=False) if name and value is not None}
    return {"message": message, "inputs": named} if named else message


def _cache(given: Mapping[str, Any]) -> str | None:
    """Return when examples are cached. Gradio 5 has `cache_examples="lazy"` too."""
    if not given.get("cache_examples"):
        return None
    return "lazy" if "lazy" in (given["cache_examples"], given.get("cache_mode")) else "eager"


def _concurrency(given: Mapping[str, Any], record: Record) -> int | Literal["default"] | None:
    """Return how many turns run at once. What is given as None in Gradio is no limit: chatserve's own default."""
    limit = given.get("concurrency_limit", "default")
    if limit == "default":
        limit = record.queued.get("default_concurrency_limit", record.queued.get("concurrency_count"))
    return limit if isinstance(limit, int) and limit > 0 else None


def _feedback(given: Mapping[str, Any]) -> tuple[str, ...] | None:
    options = given.get("flagging_options")
    return tuple(options) if given.get("flagging_mode") == "manual" and options else None


def _validator(validator: Any) -> Callable[..., Any] | None:
    """Return a validator of the message, as chatserve calls it, from one that returns what `gr.validate` does."""
    if validator is None:
        return None

    async def check(message: Any, **_inputs: Any) -> Any:
        return _verdict(await validator(message))

    def check_in_thread(message: Any, **_inputs: Any) -> Any:
        return _verdict(validator(message))

    return check if inspect.iscoroutinefunction(validator) else check_in_thread


def _verdict(said: Any) -> Any:
    results = said if isinstance(said, list | tuple) else [said]
    refusals = [each for each in results if isinstance(each, dict) and each.get("__type__") == "validate"]
    if len(refusals) != len(results):
        return said
    messages = [each.get("message") or False for each in refusals if not each.get("is_valid")]
    return None if not messages else "; ".join(map(str, messages)) if all(messages) else False


def greeting_of(chatbot: Any) -> list[Any] | None:
    """Return the first messages of a `gr.Chatbot`, if they are texts of the assistant, as pairs or as messages."""
    value = given_to(chatbot).get("value") if is_gradio(chatbot) else None
    entries = [_said_first(entry) for entry in value] if isinstance(value, list | tuple) else []
    return entries if entries and None not in entries else None


def _said_first(entry: Any) -> Any:
    """Return an entry that is a text of the assistant, and None for any other."""
    if isinstance(entry, list | tuple):
        return _text(entry[1]) if len(entry) == 2 and entry[0] is None else None
    if isinstance(entry, Mapping):
        role, content = entry.get("role", "assistant"), entry.get("content")
    else:
        role, content = getattr(entry, "role", None), getattr(entry, "content", None)
    return entry if role == "assistant" and _text(content) else None


# what is carried over


def _fates(
    given: Mapping[str, Any], record: Record, adapted: Adapted, events: tuple[str, ...]
) -> dict[Fate, tuple[str, ...]]:
    """Return the names of what a file gave, by what becomes of it."""
    said = {name: _said(name, value, adapted) for name, value in given.items()}
    fates: dict[Fate, tuple[str, ...]] = {
        fate: tuple(said[name] for name in given if PARAMETERS.get(name, _LOST) == fate)
        for fate in ("carried over", "always so", _LOST)
    }
    chatbot = given.get("chatbot")
    looks = [name for name in given_to(chatbot) if name not in CHATBOT] if is_gradio(chatbot) else []
    lost = [
        *fates[_LOST],
        *(f"chatbot's {name}" for name in looks),
        *(f"additional input {name}" for name in adapted.fixed),
        *(f"queue's {name}" for name in record.queued if name not in QUEUE),
        *(f"launch's {name}" for name in record.launched),
        *(f"page's {name}" for page in record.pages for name in _looks(page)),
        *events,
    ]
    if is_gradio(chatbot) and given_to(chatbot).get("value") and greeting_of(chatbot) is None:
        lost.append("chatbot's value")
    return fates | {_LOST: tuple(dict.fromkeys(lost))}


def _looks(page: Any) -> list[str]:
    """Return what is given for the looks of a page."""
    return [name for name, value in given_to(page).items() if value and name in LOOKS]


def _said(name: str, value: Any, adapted: Adapted) -> str:
    """Return the name of a parameter, with the names of what it brings."""
    brought = {"additional_inputs": (*adapted.inputs, *adapted.states), "additional_outputs": adapted.outputs}
    names = brought.get(name, ())
    return f"{name} ({', '.join(names)})" if names and value else name


def _events(module: ModuleType, tree: ast.Module) -> Iterator[str]:
    """Yield the events that a file connects: calls of `button.click` and the like on Gradio's objects."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for called in sorted(calls, key=lambda each: each.lineno):
        match called:
            case ast.Attribute(ast.Name(owner), event) if event in EVENTS and is_gradio(vars(module).get(owner)):
                yield f"{owner}.{event}"
            case _:
                pass
