"""Only the assistant's text, as `text/plain`, without thoughts, files and metadata."""

from __future__ import annotations

from chatserve.contracts.streams import StreamForm
from chatserve.core.events import (
    Delta,
    Done,
    Failed,
    HistoryChanged,
    MessageOpened,
    MetadataChanged,
    NumberedEvent,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
    TurnAccepted,
)
from chatserve.core.types import TurnError
from chatserve.settings import Settings


class Plain:
    """The format: plain text, for terminals and pipes."""

    name = "plain"
    form = StreamForm("text/plain", framing="bare", ping=b"", awaits_words=True)

    def __init__(self, _settings: Settings) -> None: ...

    def encoder(self) -> PlainEncoder:
        return PlainEncoder()


class PlainEncoder:
    """Encodes one turn's text. If text that was already sent changes, the new text follows on a new line."""

    is_per_turn = True
    is_complete = False

    def __init__(self) -> None:
        self.failure: TurnError | None = None
        self._sent = ""
        self._is_silent = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        event = numbered.event
        match event:
            case MessageOpened():
                self._is_silent = event.role != "assistant" or bool(event.metadata and event.metadata.get("title"))
                return self._line_break() if not self._is_silent else b""
            case Delta() if not self._is_silent:
                self._sent = event.text
                return event.text.encode()
            case Replaced(message_id=None) if not self._is_silent:
                return self._line_break() + self._said(event.text)
            case Failed(error):
                self.failure = error
                return b""
            case Done(status="interrupted"):
                self.failure = TurnError("interrupted", "the turn was interrupted", "", retryable=True)
                return b""
            case Snapshot():
                self.failure = None if event.turn is None else event.turn.error
                texts = [each.text for each in event.messages if each.role == "assistant" and not each.is_thought]
                return self._line_break() + self._said("\n".join(texts))
            case (
                Delta()
                | Replaced()
                | TurnAccepted()
                | ReasoningDelta()
                | PartAdded()
                | PartDelta()
                | MetadataChanged()
                | StatusReported()
                | Done()
                | HistoryChanged()
            ):
                return b""

    def farewell(self) -> None:
        """Return None, as the format can express only the answer."""

    def _line_break(self) -> bytes:
        if not self._sent or self._sent.endswith("\n"):
            return b""
        self._sent = "\n"
        return b"\n"

    def _said(self, text: str) -> bytes:
        self._sent = text or self._sent
        return text.encode()
