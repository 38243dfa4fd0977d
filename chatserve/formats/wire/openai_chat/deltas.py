"""The steps of an answer as `delta` objects of Chat Completions.

- Text is `content`. Each message of the answer and each file is a paragraph of it; files are links, images embedded.
- Reasoning and thoughts are both `reasoning_content` and `reasoning`: each client reads one of them.
- Tool calls for the client are `tool_calls`. Calls of tools that ran on the server are left out, because the client
  would run them again. A call that arrives whole is held back to the end, because the function may answer it itself; a
  call whose arguments stream is sent as they come.
- Sources are `annotations`, all in the last delta, each with the place in the text where it was given.
- Data is left out. If an answer has only data, its text is that data as JSON.

Source: OpenAI API reference, "The chat completion chunk object"; for reasoning, what vLLM, DeepSeek and OpenRouter
send.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, TypeAlias

from chatserve.codec import dumps
from chatserve.core.events import Done
from chatserve.core.types import DataPart, FilePart, Json, SourcePart, ToolCallPart, ToolResultPart
from chatserve.formats.shared.appended import (
    BREAK,
    ArgumentsAdded,
    CallClosed,
    CallOpened,
    Ended,
    MessageBegun,
    PartShown,
    ReasoningAdded,
    ResultAdded,
    Said,
    TextAdded,
)
from chatserve.formats.shared.file_links import file_link

DeltaObject: TypeAlias = dict[str, Any]

NO_ARGUMENTS: Final = "{}"
"""The arguments of a call without arguments: clients must be able to parse them."""


class Deltas:
    """The deltas of one answer.

    `told_length` counts the characters of content. `owes_break`: the next text begins a new paragraph.
    """

    def __init__(self, base_url: str) -> None:
        self.told_length = 0
        self.owes_break = False
        self._base_url = base_url
        self._indices: dict[str, int] = {}  # of the calls that were sent
        self._custom: set[str] = set()  # those whose input is any text
        self._answered: set[str] = set()
        self._held: dict[str, ToolCallPart] = {}
        self._has_reasoning = False
        self._owes_reasoning_break = False
        self._annotations: list[Json] = []

    def tell(self, said: Said) -> Iterator[DeltaObject]:  # noqa: C901 - one case per step
        """Yield the deltas of a step."""
        match said:
            case TextAdded(text):
                yield self._content(text)
            case ReasoningAdded(text):
                yield self._reasoning(text)
            case MessageBegun(is_thought=is_thought):
                self.owes_break = self.told_length > 0 and not is_thought
                self._owes_reasoning_break = self._has_reasoning
            case CallOpened(ToolCallPart(tool_call_id, where="client") as call):
                if tool_call_id not in self._indices:
                    self._held[tool_call_id] = call
            case ArgumentsAdded(tool_call_id, text):
                yield from self._arguments(tool_call_id, text)
            case ResultAdded(ToolResultPart(tool_call_id)):
                self._held.pop(tool_call_id, None)
                self._answered.add(tool_call_id)
            case PartShown(part=part):
                yield from self._part(part)
            case Ended(done):
                yield from self._rest(done)
            case CallOpened() | CallClosed():
                return

    def last(self) -> DeltaObject:
        """Return the delta of the chunk with the finish reason."""
        return {"annotations": self._annotations} if self._annotations else {}

    @property
    def awaits_tools(self) -> bool:
        """True when a call was sent that the function did not answer itself."""
        return not self._indices.keys() <= self._answered

    # words

    def _content(self, text: str) -> DeltaObject:
        if self.owes_break:
            self.owes_break = False
            text = BREAK + text
        self.told_length += len(text)
        return {"content": text}

    def _reasoning(self, text: str) -> DeltaObject:
        if self._owes_reasoning_break:
            self._owes_reasoning_break = False
            text = BREAK + text
        self._has_reasoning = True
        return {"reasoning_content": text, "reasoning": text}

    # calls

    def _arguments(self, tool_call_id: str, text: str) -> Iterator[DeltaObject]:
        if tool_call_id in self._held:
            yield self._open(tool_call_id)
        if tool_call_id in self._indices:
            called = {"custom": {"input": text}} if tool_call_id in self._custom else {"function": {"arguments": text}}
            yield {"tool_calls": [{"index": self._indices[tool_call_id], **called}]}

    def _open(self, tool_call_id: str) -> DeltaObject:
        call = self._held.pop(tool_call_id)
        index = self._indices[tool_call_id] = len(self._indices)
        opened: dict[str, Any] = {"index": index, "id": tool_call_id}
        if call.kind == "custom":
            self._custom.add(tool_call_id)
            opened |= {"type": "custom", "custom": {"name": call.name, "input": call.arguments}}
        else:
            opened |= {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        return {"tool_calls": [opened]}

    # parts and the end

    def _part(self, part: FilePart | DataPart | SourcePart) -> Iterator[DeltaObject]:
        match part:
            case FilePart():
                self.owes_break = self.told_length > 0
                yield self._content(file_link(part, self._base_url))
                self.owes_break = True
            case SourcePart():
                self._annotations.append(self._citation(part))
            case DataPart():
                return

    def _citation(self, source: SourcePart) -> Json:
        place = {"start_index": self.told_length, "end_index": self.told_length}
        return {
            "type": "url_citation",
            "url_citation": {**place, "url": source.url, "title": source.title or source.url},
        }

    def _rest(self, done: Done) -> Iterator[DeltaObject]:
        """Yield the deltas that were held back, with their final content.

        There are none for an answer that was cut off: its calls may be incomplete.
        """
        if done.status != "completed":
            return
        parts = [part for message in done.messages for part in message.content]
        for part in parts:
            if isinstance(part, ToolCallPart) and part.tool_call_id in self._held:
                empty = "" if part.kind == "custom" else NO_ARGUMENTS
                self._held[part.tool_call_id] = replace(part, arguments=part.arguments or empty)
                yield self._open(part.tool_call_id)
        data = [dumps(part.data).decode() for part in parts if isinstance(part, DataPart)]
        if data and not self.told_length and not self._indices:
            yield self._content("\n".join(data))
