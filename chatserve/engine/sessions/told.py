"""What a chat function is told of a branch, so that it can hand its history to a model as it is. Pure.

Left out are turns that failed, were stopped or were interrupted before their first word, with the user's message; calls
of tools without a result, or with arguments that are no whole JSON; results without a call. What a model calls and what
the tools answer stands side by side: a result that came later is moved to its call.

A branch is looked at in units, which do not depend on one another. A unit begins with a message of the user, or after
the results with which a client began a turn. Knows no shape of a history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from chatserve import codec
from chatserve.core.frozen import replace, replacer_of
from chatserve.core.types import Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

_changed: Final = replacer_of(Message)
_TOOLS: Final = (ToolCallPart, ToolResultPart)


def is_plain(message: Message) -> bool:
    """Whether all of a message is told, whatever stands beside it."""
    if message.status is not None or message.role == "tool":
        return False
    content = message.content
    if len(content) == 1:
        return not isinstance(content[0], _TOOLS)
    return not any(isinstance(part, _TOOLS) for part in content)


def units_of(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Split a branch into its units."""
    start = 0
    for index in range(1, len(messages)):
        if _begins_unit(messages, index):
            yield messages[start:index]
            start = index
    if messages:
        yield messages[start:]


def _begins_unit(messages: Sequence[Message], index: int) -> bool:
    role, turn_id = messages[index].role, messages[index - 1].turn_id
    if role == "user":
        return True
    start = index
    while start and messages[start - 1].role == "tool" and messages[start - 1].turn_id == turn_id:
        start -= 1
    if role != "assistant" or start == index:
        return False
    return turn_id is None or start == 0 or messages[start - 1].turn_id != turn_id


def awaits_results(unit: Sequence[Message]) -> bool:
    """Whether a unit has calls that the next turn may bring the results of."""
    places = _places_of(unit)
    pairs = _pairs_of(places)
    return any(isinstance(part, ToolCallPart) and at not in pairs for at, (_, part) in enumerate(places))


def told_of(unit: Sequence[Message]) -> Sequence[Message]:
    """Return the messages of a unit as they are told; none, if the turn ended before its first word."""
    if all(map(is_plain, unit)):
        return unit
    kept = [
        message if content == message.content else _changed(message, content=content)
        for message, content in zip(unit, _contents_of(unit), strict=True)
        if _is_told(message, content)
    ]
    if unit[0].role != "user" or not any(message.status for message in unit if message.role != "tool"):
        return kept
    return kept if any(not message.is_thought for message in kept[1:]) else ()


def _is_told(message: Message, content: Sequence[Part]) -> bool:
    """Whether a message has anything to tell with this content. Silence is told if the function chose it."""
    if message.role == "user":
        return True
    if message.role == "tool":
        return bool(content)
    return _says_something(content) or (message.status is None and content == message.content)


def _says_something(content: Sequence[Part]) -> bool:
    return any(not isinstance(part, ReasoningPart) and part != TextPart("") for part in content)


# --- calls and results -------------------------------------------------------------------------------------------

_SILENCE: Final = (TextPart(""),)
"""Stands for a message of no parts, which parts calls from results too."""

_Places = Sequence[tuple[int, Part]]
"""The parts of a unit in order, each with the index of its message. A message of role tool has nothing but results."""


def _places_of(unit: Sequence[Message]) -> _Places:
    return [
        (number, part)
        for number, message in enumerate(unit)
        for part in message.content or _SILENCE
        if message.role != "tool" or isinstance(part, ToolResultPart)
    ]


def _pairs_of(places: _Places) -> Mapping[int, int]:
    """Return the place of each call that can be told, and that of its result. An answered call's id may occur again."""
    pairs: dict[int, int] = {}
    waiting: dict[str, int] = {}
    for at, (_, part) in enumerate(places):
        if isinstance(part, ToolCallPart):
            waiting.setdefault(part.tool_call_id, at)
        elif isinstance(part, ToolResultPart) and part.tool_call_id in waiting:
            call_at = waiting.pop(part.tool_call_id)
            call = places[call_at][1]
            if isinstance(call, ToolCallPart) and _is_whole(call):
                pairs[call_at] = at
    return pairs


def _is_whole(call: ToolCallPart) -> bool:
    if call.kind == "custom" or not call.arguments:
        return True
    try:
        codec.loads(call.arguments)
    except ValueError:
        return False
    return True


def _contents_of(unit: Sequence[Message]) -> list[tuple[Part, ...]]:
    """Return the contents of a unit's messages with paired calls and results only, each result beside its call.

    Calls of one message that no kept result separates are made together. Their results follow before the next words:
    those that came in time stay in their own messages, the others join the message of the call.
    """
    places = _places_of(unit)
    pairs = _pairs_of(places)
    results, contents = set(pairs.values()), [list[Part]() for _ in unit]
    open_calls: list[int] = []
    has_results, current = False, -1
    for at, (number, part) in enumerate(places):
        if isinstance(part, ToolResultPart):
            has_results = has_results or at in results
            continue
        if has_results or number != current:
            _add_results(contents, places, [(call, pairs[call]) for call in open_calls], before=at)
            open_calls, has_results, current = [], False, number
        if not isinstance(part, ToolCallPart):
            contents[number].append(part)
        elif at in pairs:
            contents[number].append(part if part.arguments or part.kind else replace(part, arguments="{}"))
            open_calls.append(at)
    _add_results(contents, places, [(call, pairs[call]) for call in open_calls], before=len(places))
    return [tuple(content) if message.content else () for message, content in zip(unit, contents, strict=True)]


def _add_results(
    contents: Sequence[list[Part]], places: _Places, pairs: Sequence[tuple[int, int]], *, before: int
) -> None:
    for call_at, result_at in pairs:
        number, _ = places[result_at if result_at < before else call_at]
        contents[number].append(places[result_at][1])
