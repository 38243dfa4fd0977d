"""Values with as few and with as many members as they may have: one pair of every part and event."""

from dataclasses import replace

from chatserve.core.events import (
    Bye,
    Delta,
    Done,
    Event,
    Failed,
    HistoryChanged,
    MessageOpened,
    MetadataChanged,
    PartAdded,
    PartDelta,
    ReasoningDelta,
    Replaced,
    Snapshot,
    StatusReported,
    TurnAccepted,
)
from chatserve.core.types import (
    DataPart,
    Feedback,
    FilePart,
    Message,
    Part,
    ReasoningPart,
    Session,
    SourcePart,
    StoredFile,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    TurnError,
    Usage,
)

NOW = 1.5
MESSAGE = Message("m_1", "user", (TextPart("hi"),), NOW)
RICH_MESSAGE = Message(
    "m_2",
    "assistant",
    (TextPart("a"), ReasoningPart("b"), FilePart("f_1", "x.txt", "text/plain", 3)),
    NOW,
    "t_1",
    "m_1",
    {"title": "Search"},
    ({"value": "yes", "label": "Yes"},),
    "stopped",
    Feedback("like", "good"),
)
ERROR = TurnError("overloaded", "try again", "e_1", retryable=True, status_code=503)
TURN = Turn("t_1", "", "echo", "running", None, NOW)
RICH_TURN = Turn("t_1", "s_1", "echo", "failed", "m_1", NOW, 2.5, "error", Usage(1, 2), ERROR, 1, 9, 4)

PARTS: list[tuple[Part, Part]] = [
    (TextPart("a"), TextPart("a")),
    (ReasoningPart("a"), ReasoningPart("a")),
    (FilePart("f_1", "x", "text/plain", 0), FilePart("f_1", "x", "text/plain", 0)),
    (DataPart(None), DataPart({"a": [1, 2.5, None]}, "table")),
    (SourcePart("https://a.example"), SourcePart("https://a.example", "A")),
    (ToolCallPart("c", "f", "{}"), ToolCallPart("c", "f", "{}", "server", "custom")),
    (ToolResultPart("c", None), ToolResultPart("c", {"x": 1}, is_error=True)),
]
EVENTS: list[tuple[Event | Bye, Event | Bye]] = [
    (TurnAccepted(TURN, None, 0), TurnAccepted(replace(RICH_TURN, status="queued"), MESSAGE, 3, 2, 1.5)),
    (MessageOpened("m_1", "assistant"), MessageOpened("m_1", "tool", {"title": "x"})),
    (Delta(""), Delta("a")),
    (Replaced("a"), Replaced("a", "m_1")),
    (ReasoningDelta("a"), ReasoningDelta("a")),
    *((PartAdded("m_1", "p_1", least), PartAdded("m_1", "p_1", most)) for least, most in PARTS),
    (PartDelta("p_1", "{"), PartDelta("p_1", "{")),
    (MetadataChanged("m_1"), MetadataChanged("m_1", {"status": None}, ({"value": 1},))),
    (StatusReported(), StatusReported("busy", 1, 2.5)),
    (Failed(ERROR), Failed(ERROR)),
    (Done("t_1", "completed", "stop", ()), Done("t_1", "failed", "error", (RICH_MESSAGE,), Usage(1, 2), 3)),
    (Snapshot(None, ()), Snapshot(RICH_TURN, (MESSAGE, RICH_MESSAGE))),
    (HistoryChanged(1, "undo"), HistoryChanged(1, "clear")),
    (Bye(), Bye()),
]
SESSION = Session("s_1", "", None, {}, {}, 1, None, 0, NOW, NOW)
RICH_SESSION = Session("s_1", "", "T", {"a": 1}, {"n": 1}, 1, "m_1", 3, NOW, NOW, NOW)
FILE = StoredFile("f_1", "", None, "x", "text/plain", 1, NOW)
