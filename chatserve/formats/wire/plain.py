"""Only the words of an answer, as `text/plain`: thoughts, files and metadata have no place here."""

from __future__ import annotations

from chatserve.events import Delta, MessageOpened, NumberedEvent, Replaced, Snapshot


class PlainEncoder:
    """Encodes one turn's text. What cannot be taken back is followed by the new text on a line of its own."""

    is_per_turn = True
    is_complete = False

    def __init__(self) -> None:
        self._sent = ""
        self._is_thought = False

    def encode(self, numbered: NumberedEvent) -> bytes:
        event = numbered.event
        match event:
            case MessageOpened():
                self._is_thought = bool(event.metadata and event.metadata.get("title"))
                return self._line_break() if not self._is_thought else b""
            case Delta() if not self._is_thought:
                self._sent = event.text
                return event.text.encode()
            case Replaced(message_id=None) if not self._is_thought:
                return self._line_break() + self._said(event.text)
            case Snapshot():
                texts = [message.text for message in event.messages if not message.is_thought]
                return self._line_break() + self._said("\n".join(texts))
            case _:
                return b""

    def _line_break(self) -> bytes:
        return b"\n" if self._sent and not self._sent.endswith("\n") else b""

    def _said(self, text: str) -> bytes:
        self._sent = text or self._sent
        return text.encode()
