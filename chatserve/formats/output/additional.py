"""What follows the answer in a tuple `(answer, more…)`: Gradio's additional outputs.

The chat declares their names. Each value becomes a part of the answer's last message, before its text, so that the text
can grow; `state` becomes the session's state. None says nothing. Knows no family: the answer itself is normalized
elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from chatserve.contracts.formats import AnswerSnapshot, Output, ParsedMessage, PartAppended, StateChanged
from chatserve.core.errors import AnswerInvalid
from chatserve.core.frozen import replace
from chatserve.core.types import DataPart, DraftPart
from chatserve.formats.shared.components import is_shown, read_shown
from chatserve.formats.shared.model_answer import json_of

STATE: Final = "state"


class AdditionalOutputs:
    """The additional outputs of one turn. Of an answer that only grows, a part is appended when its value changes."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[DraftPart, ...]] = {}

    def add_to(self, outputs: Sequence[Output], names: Sequence[str], values: Sequence[Any]) -> list[Output]:
        """Return the outputs of an answer together with what its additional outputs stand for.

        Raises:
            AnswerInvalid: there are not as many values as names, or one of them has no JSON form.
        """
        if len(values) != len(names):
            raise AnswerInvalid(
                f"the chat function answered with a tuple of {1 + len(values)} values, and its additional_outputs="
                f"{tuple(names)!r} make it {1 + len(names)}: the answer and one for each name"
            )
        said = {name: _read(name, value) for name, value in zip(names, values, strict=True) if name != STATE}
        state = [
            _state(value) for name, value in zip(names, values, strict=True) if name == STATE and value is not None
        ]
        if outputs and not isinstance(outputs[0], AnswerSnapshot):
            changed = [part for name, parts in said.items() if self._said.get(name) != parts for part in parts]
            self._said = said
            return [*outputs, *map(PartAppended, changed), *state]
        return [*_with_parts(outputs, [part for parts in said.values() for part in parts]), *state]


def _read(name: str, value: Any) -> tuple[DraftPart, ...]:
    if value is None:
        return ()
    return read_shown(value) if is_shown(value) else (DataPart(json_of(value), name),)


def _state(value: Any) -> StateChanged:
    state = json_of(value)
    if not isinstance(state, Mapping):
        raise AnswerInvalid(f"the state of a session may be a dict, not a value of type {type(value).__name__}")
    return StateChanged(state)


def _with_parts(outputs: Sequence[Output], parts: Sequence[DraftPart]) -> Iterator[Output]:
    """Yield the outputs with parts in the last message of the answer, or in one of their own."""
    if not outputs and parts:
        yield AnswerSnapshot((ParsedMessage("assistant", tuple(parts)),))
    for output in outputs:
        if isinstance(output, AnswerSnapshot) and parts:
            *others, last = output.messages or (ParsedMessage("assistant", ()),)
            yield replace(output, messages=(*others, replace(last, content=(*parts, *last.content))))
        else:
            yield output
