"""The draft: whatever a function says, in whatever order, its events obey the grammar and tell the whole answer."""

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatserve.answers.draft import MessageDraft
from chatserve.answers.fold import fold_events
from chatserve.codec import clean_text, decode_events, encode_events, encode_payload, message_json
from chatserve.contracts.formats import (
    AnswerFinished,
    AnswerSnapshot,
    MessageAppended,
    Output,
    ParsedMessage,
    PartAppended,
    ReasoningAppended,
    TextAppended,
    ToolArgumentsAppended,
    ToolCallOpened,
)
from chatserve.core.errors import AnswerInvalid, AnswerTooLarge
from chatserve.core.events import EVENT_NAMES, Delta, Event, NumberedEvent, TurnAccepted
from chatserve.core.types import (
    DataPart,
    FilePart,
    LocalFile,
    Message,
    Part,
    ReasoningPart,
    SourcePart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
    Usage,
)
from tests.support.reducer import ClientAnswer, comparable

TURN = Turn("t_1", "s_1", "chat", "running", "m_0", 1.0)
FILE = FilePart("f_1", "a.txt", "text/plain", 3)
CALL = ToolCallPart("call_1", "search", "")


class Spoken:
    """A draft, and every event it has given."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        ids = count(1)
        self.draft = MessageDraft(TURN, new_message_id=lambda: f"m_{next(ids)}", clock=lambda: 1.0, max_bytes=max_bytes)
        self.events: list[Event] = []

    def say(self, *said: str | Output) -> "Spoken":
        """Say things: plain strings are snapshots."""
        for thing in said:
            self.take(self._snapshot(thing) if isinstance(thing, str) else self.draft.apply(thing))
        return self

    def append(self, *texts: str) -> "Spoken":
        for text in texts:
            grown = self.draft.grow_by(text)
            self.take(self.draft.append_text(text) if grown is None else (Delta(grown),))
        return self

    def _snapshot(self, text: str) -> Iterable[Event]:
        grown = self.draft.grow_to(text)
        return self.draft.snapshot_text(text) if grown is None else (Delta(grown),)

    def take(self, events: Iterable[Event]) -> None:
        self.events.extend(events)

    def end(self) -> "Spoken":
        self.take(self.draft.close())
        return self

    @property
    def names(self) -> list[str]:
        return [EVENT_NAMES[type(event)] for event in self.events]

    @property
    def text(self) -> str:
        return "".join(message.text for message in self.draft.messages())

    @property
    def content(self) -> list[tuple[Part, ...]]:
        return [message.content for message in self.draft.messages()]

    def client(self) -> ClientAnswer:
        """Return what a client makes of the events' bytes."""
        accepted = TurnAccepted(TURN, None, 1)
        return ClientAnswer().apply_all(
            (EVENT_NAMES[type(event)], json.loads(encode_payload(event))) for event in (accepted, *self.events)
        )

    def recovered(self) -> tuple[Message, ...]:
        """Return what recovery makes of the events as they are stored."""
        numbered = [NumberedEvent(seq, "t_1", event) for seq, event in enumerate(self.events, 1)]
        return fold_events(decode_events(encode_events(numbered)), "t_1", status="completed", now=1.0)

    def check(self) -> None:
        """Check that the client, recovery and the draft agree on the answer."""
        messages = self.draft.messages()
        assert self.client().comparable() == [comparable(message_json(message)) for message in messages]
        assert self.recovered() == messages


def message(*content: Part | str, role: str = "assistant", **extra: Any) -> ParsedMessage:
    return ParsedMessage(role, tuple(TextPart(part) if isinstance(part, str) else part for part in content), **extra)


def snapshot(*messages: ParsedMessage | str) -> AnswerSnapshot:
    return AnswerSnapshot(tuple(message(each) if isinstance(each, str) else each for each in messages))


# --- plain text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ([], []),
        ([""], ["message"]),
        (["a"], ["message", "delta"]),
        (["a", "a"], ["message", "delta"]),
        (["a", "ab", "abc"], ["message", "delta", "delta", "delta"]),
        (["a", "b"], ["message", "delta", "replace"]),
        (["ab", "a"], ["message", "delta", "replace"]),
        (["ab", ""], ["message", "delta", "replace"]),
        (["ab", "", "c"], ["message", "delta", "replace", "delta"]),
        (["a", snapshot("ab")], ["message", "delta", "delta"]),
        ([snapshot(message("a", metadata={"title": "t"})), "a"], ["message", "delta", "metadata"]),
        ([snapshot("a", "b"), "a"], ["message", "delta", "message", "delta", "snapshot"]),
        (["a", snapshot(), "b"], ["message", "delta", "snapshot", "message", "delta"]),
    ],
)
def test_snapshots_become_the_shortest_events_there_are(said: list[str | Output], names: list[str]) -> None:
    spoken = Spoken().say(*said)
    assert spoken.names == names
    spoken.check()


@pytest.mark.parametrize("way", ["say", "append"])
def test_words_grow_a_message_that_is_open_and_nothing_else(way: str) -> None:
    spoken = Spoken()
    grow, tell = (
        (spoken.draft.grow_to, spoken.draft.snapshot_text)
        if way == "say"
        else (spoken.draft.grow_by, spoken.draft.append_text)
    )
    assert grow("a") is None
    spoken.take(tell("a"))
    whole = ["ab", "abc"] if way == "say" else ["b", "c"]
    assert [grow(text) for text in whole] == ["b", "c"]
    spoken.take((Delta("b"), Delta("c")))
    assert grow(whole[-1] if way == "say" else "") is None
    spoken.check()
    spoken.take(spoken.draft.apply(MessageAppended(message("new"))))
    assert grow("abcd" if way == "say" else "d") is None


def test_half_a_character_is_not_overtaken_by_words_that_grow() -> None:
    spoken = Spoken().append("a", "\ud83d")
    assert spoken.draft.grow_by("b") is None
    assert spoken.append("b").end().text == "a\ufffdb"


def test_appended_text_goes_into_one_message() -> None:
    spoken = Spoken().append("a", "", "b")
    assert spoken.names == ["message", "delta", "delta"]
    assert spoken.text == "ab"


@pytest.mark.parametrize(
    ("snapshots", "text"),
    [
        (["a\ud83d", "a\ud83d\ude00"], "a\U0001f600"),
        (["a\ud83d", "a\U0001f600"], "a\U0001f600"),
        (["a\ud83d"], "a\ufffd"),
        (["a\ud83d", "a\ud83d"], "a\ufffd"),
        (["a\ud83d", "a\ud83db"], "a\ufffdb"),
        (["a\ud83d", "a"], "a"),
        (["a\ud83d", "b"], "b"),
        (["b", "a\ud83d", "a\ud83d\ude00"], "a\U0001f600"),
        (["\ude00a"], "\ufffda"),
        (["\ud83d", "\ud83d\ude00"], "\U0001f600"),
    ],
)
def test_half_characters_wait_for_their_other_half(snapshots: list[str], text: str) -> None:
    spoken = Spoken().say(*snapshots).end()
    assert spoken.text == text
    spoken.check()


def test_half_a_character_stays_in_the_message_it_was_appended_to() -> None:
    spoken = Spoken().append("a\ud83d").say(MessageAppended(message("b"))).end()
    assert [message.text for message in spoken.draft.messages()] == ["a\ufffd", "b"]
    spoken.check()


def test_half_a_character_does_not_cross_a_part() -> None:
    spoken = Spoken().append("a\ud83d").say(PartAppended(FILE)).append("\ude00").end()
    assert spoken.content == [(TextPart("a\ufffd"), FILE, TextPart("\ufffd"))]
    spoken.check()


def test_characters_split_over_appended_texts_are_joined() -> None:
    spoken = Spoken().append("a\ud83d", "\ude00b").end()
    assert spoken.text == "a\U0001f600b"
    spoken.check()


# --- messages ----------------------------------------------------------------------------------------------------

THOUGHT = {"title": "Looking", "status": "pending"}


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (
            [
                snapshot(message("x", metadata=THOUGHT)),
                snapshot(message("x", metadata={**THOUGHT, "status": "done"}), "y"),
            ],
            ["message", "delta", "metadata", "message", "delta"],
        ),
        (
            [snapshot(message("x", metadata=THOUGHT)), snapshot(message("x", metadata={"title": "Looking"}))],
            ["message", "delta", "metadata"],
        ),
        ([snapshot("a", "b"), snapshot("a", "bc")], ["message", "delta"] * 2 + ["delta"]),
        ([snapshot("a", "b"), snapshot("ac", "b")], ["message", "delta"] * 2 + ["replace"]),
        ([snapshot("a", "b"), snapshot("", "b")], ["message", "delta"] * 2 + ["replace"]),
        ([snapshot("a", "b"), snapshot("a")], ["message", "delta"] * 2 + ["snapshot"]),
        ([snapshot("a"), snapshot(message("a", role="system"))], ["message", "delta", "snapshot"]),
        ([snapshot(message("a", FILE)), snapshot(message("a", FILE, "b"))], ["message", "delta", "part", "delta"]),
        ([snapshot(message("a", FILE)), snapshot(message("b", FILE))], ["message", "delta", "part", "snapshot"]),
        ([snapshot(message("", FILE))] * 2, ["message", "part"]),
        ([snapshot(message(ReasoningPart("a"), ReasoningPart("b")))] * 2, ["message", "reasoning"]),
        (
            [snapshot(message(ReasoningPart("a"))), snapshot(message(ReasoningPart("ab"), "c"))],
            ["message", "reasoning", "reasoning", "delta"],
        ),
        (
            [snapshot(message("a")), snapshot(message("a", options=({"value": "yes"},))), snapshot(message("a"))],
            ["message", "delta", "metadata", "metadata"],
        ),
        (
            [snapshot(message(ToolCallPart("c", "f", "{"))), snapshot(message(ToolCallPart("c", "f", "{}")))],
            ["message", "part", "part_delta"],
        ),
        (
            [snapshot(message(ToolCallPart("c", "f", "{"))), snapshot(message(ToolCallPart("c", "g", "{}")))],
            ["message", "part", "snapshot"],
        ),
    ],
)
def test_message_lists_become_the_shortest_events_there_are(said: list[Output], names: list[str]) -> None:
    spoken = Spoken().say(*said)
    assert spoken.names == names
    spoken.check()


def test_messages_that_stay_keep_their_ids_when_the_answer_is_rewritten() -> None:
    spoken = Spoken().say(snapshot("a", "b", "c"))
    before = [message.message_id for message in spoken.draft.messages()]
    spoken.say(snapshot("x", "y"))
    assert [message.message_id for message in spoken.draft.messages()] == before[:2]
    spoken.check()


def test_tool_arguments_grow_after_the_answer_was_rewritten() -> None:
    first, call = message("a", FILE), ToolCallPart("c", "f", "{")
    spoken = Spoken().say(snapshot(first, message(FILE, call)), snapshot(message("b", FILE), message(FILE, call)))
    assert spoken.names[-1] == "snapshot"
    spoken.say(snapshot(message("b", FILE), message(FILE, ToolCallPart("c", "f", "{}"))))
    assert spoken.names[-1] == "part_delta"
    spoken.check()


@pytest.mark.parametrize("role", ["", "bot", "User", None])
def test_unknown_role_is_refused_and_changes_nothing(role: Any) -> None:
    spoken = Spoken().say("a")
    with pytest.raises(AnswerInvalid, match="unknown role"):
        spoken.say(snapshot("b", message("c", role=role)))
    with pytest.raises(AnswerInvalid, match="unknown role"):
        spoken.say(MessageAppended(message("c", role=role)))
    assert spoken.text == "a"
    spoken.check()


def test_files_must_be_stored_before_and_a_refusal_changes_nothing() -> None:
    spoken = Spoken().say("a")
    for output in (snapshot("a", message(LocalFile(b"x"))), PartAppended(LocalFile(b"x"))):  # type: ignore[arg-type]
        with pytest.raises(AnswerInvalid, match="was not stored"):
            spoken.say(output)
    spoken.check()
    assert spoken.text == "a"


# --- streamed parts ----------------------------------------------------------------------------------------------


def test_streamed_tool_calls_and_reasoning_become_parts_in_their_order() -> None:
    spoken = Spoken().say(
        ReasoningAppended("hm"),
        TextAppended("I look."),
        ToolCallOpened(CALL),
        ToolArgumentsAppended("call_1", '{"q":'),
        ToolCallOpened(ToolCallPart("call_2", "time", "")),
        ToolArgumentsAppended("call_1", "1}"),
        ToolArgumentsAppended("call_2", "{}"),
        PartAppended(ToolResultPart("call_1", {"found": [1]})),
        TextAppended("Found."),
    )
    assert spoken.content == [
        (
            ReasoningPart("hm"),
            TextPart("I look."),
            ToolCallPart("call_1", "search", '{"q":1}'),
            ToolCallPart("call_2", "time", "{}"),
            ToolResultPart("call_1", {"found": [1]}),
            TextPart("Found."),
        )
    ]
    spoken.check()


def test_arguments_for_a_call_that_was_never_opened_are_refused() -> None:
    with pytest.raises(AnswerInvalid, match="never opened"):
        Spoken().say(ToolCallOpened(CALL), ToolArgumentsAppended("call_2", "{}"))


def test_answer_awaits_tools_that_the_client_runs_until_a_result_is_there() -> None:
    spoken = Spoken().say(ToolCallOpened(CALL))
    assert spoken.draft.awaits_tools
    spoken.say(PartAppended(ToolResultPart("call_1", "ok")))
    assert not spoken.draft.awaits_tools
    assert not Spoken().say(ToolCallOpened(ToolCallPart("c", "f", "{}", "server"))).draft.awaits_tools


def test_what_a_model_says_of_its_end_is_kept_and_later_silence_does_not_undo_it() -> None:
    draft = Spoken().say(AnswerFinished("length"), AnswerFinished(usage=Usage(1, 2)), AnswerFinished()).draft
    assert (draft.finish_reason, draft.usage) == ("length", Usage(1, 2))


@pytest.mark.parametrize(
    "part",
    [
        ToolCallPart("c\ud800", "f\ud800", "{\ud800"),
        ToolResultPart("c\ud800", None),
        SourcePart("http://x/\ud800", "t\ud800"),
        DataPart(1, "n\ud800"),
        FilePart("f_1", "n\ud800", "text/\ud800", 1),
        ReasoningPart("r\ud800"),
        TextPart("t\ud800"),
    ],
)
def test_lone_surrogates_anywhere_in_a_part_never_reach_an_encoder(part: Part) -> None:
    spoken = Spoken().say(snapshot(message(part)), PartAppended(part)).end()
    assert "\ufffd" in encode_events([NumberedEvent(1, "t_1", event) for event in spoken.events]).decode()
    spoken.check()


# --- size --------------------------------------------------------------------------------------------------------


def say_four_bytes_more(spoken: Spoken, said: str) -> None:
    match said:
        case "snapshot":
            spoken.say("é" * 4)
        case "deltas":
            spoken.append("éé", "éé")
        case "messages":
            spoken.say(snapshot("éé", "éé"))
        case "arguments":
            spoken.say(
                ToolCallOpened(CALL), ToolArgumentsAppended("call_1", "éé"), ToolArgumentsAppended("call_1", "éé")
            )
        case "reasoning":
            spoken.say(ReasoningAppended("éé"), ReasoningAppended("éé"))
        case "rewritten":
            spoken.say(snapshot("a", "b"), snapshot("éééé"))


@pytest.mark.parametrize("said", ["snapshot", "deltas", "messages", "arguments", "reasoning", "rewritten"])
def test_answer_is_cut_at_its_limit_and_what_fits_is_kept(said: str) -> None:
    exact, spoken = Spoken(8), Spoken(7)
    say_four_bytes_more(exact, said)
    exact.draft.check_size()
    say_four_bytes_more(spoken, said)
    with pytest.raises(AnswerTooLarge, match="7 bytes"):
        spoken.draft.check_size()
    assert str(spoken.content).count("é") == 3
    spoken.end().check()


@pytest.mark.parametrize("said", [["a" * 8, "b" * 8, "c" * 8], [snapshot("a" * 4, c * 4) for c in "bcde"]])
def test_rewritten_answer_counts_what_it_was_rewritten_to(said: list[str | Output]) -> None:
    Spoken(8).say(*said).draft.check_size()


def test_rewritten_message_before_the_last_counts_what_it_was_rewritten_to() -> None:
    spoken = Spoken(8).say(*(snapshot(c * 4, "last") for c in "abcdef"))
    spoken.draft.check_size()
    spoken.check()


# --- properties --------------------------------------------------------------------------------------------------

ALPHABET = st.sampled_from(
    [*'ab \n\r\t"\\:{}', "é", "\u2028", "\u2029", "\x85", "\x00", "😀", "\ud83d", "\ude00", "\ufffd"]
)
TEXTS = st.lists(ALPHABET, max_size=8).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.just("x"), lambda c: st.lists(c, max_size=2), max_leaves=3
)
METADATA = st.none() | st.dictionaries(st.sampled_from(["title", "status", "log"]), JSON, max_size=3)
OPTIONS = st.none() | st.lists(st.fixed_dictionaries({"value": st.sampled_from("yn")}), max_size=2).map(tuple)
CALLS = st.builds(ToolCallPart, st.sampled_from(["c1", "c2"]), st.sampled_from("fg"), TEXTS)
PARTS: st.SearchStrategy[Any] = st.one_of(
    TEXTS.map(TextPart),
    TEXTS.map(TextPart),
    TEXTS.map(ReasoningPart),
    CALLS,
    JSON.map(DataPart),
    st.just(FILE),
    st.just(SourcePart("http://x/")),
    st.builds(ToolResultPart, st.just("c1"), JSON),
)
ROLES = st.sampled_from(["assistant", "assistant", "assistant", "system", "tool"])
MESSAGES = st.builds(ParsedMessage, ROLES, st.lists(PARTS, max_size=3).map(tuple), METADATA, OPTIONS)


def grown(messages: Sequence[ParsedMessage]) -> st.SearchStrategy[tuple[ParsedMessage, ...]]:
    """Draw what a function might say after these messages: mostly the same with some change, sometimes another list."""
    if not messages:
        return st.lists(MESSAGES, max_size=3).map(tuple)
    *before, last = messages
    return st.one_of(
        st.just(tuple(messages)),
        MESSAGES.map(lambda new: (*messages, new)),
        PARTS.map(lambda part: (*before, ParsedMessage(last.role, (*last.content, part), last.metadata, last.options))),
        TEXTS.map(lambda text: (*before, ParsedMessage(last.role, _longer(last.content, text), last.metadata))),
        METADATA.map(lambda new: (ParsedMessage(messages[0].role, messages[0].content, new), *messages[1:])),
        TEXTS.map(lambda text: (ParsedMessage(messages[0].role, (TextPart(text),)), *messages[1:])),
        st.just(tuple(before)),
        st.lists(MESSAGES, max_size=2).map(tuple),
    )


def _longer(content: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    if not content:
        return (TextPart(text),)
    *before, last = content
    match last:
        case TextPart() | ReasoningPart():
            return (*before, type(last)(last.text + text))
        case ToolCallPart():
            return (*before, ToolCallPart(last.tool_call_id, last.name, last.arguments + text))
    return (*content, TextPart(text))


@st.composite
def message_snapshots(draw: Callable[..., Any]) -> list[AnswerSnapshot]:
    said: list[tuple[ParsedMessage, ...]] = [()]
    for _ in range(draw(st.integers(1, 6))):
        said.append(draw(grown(said[-1])))
    return [AnswerSnapshot(messages) for messages in said[1:]]


@st.composite
def text_snapshots(draw: Callable[..., Any]) -> list[str]:
    said = [draw(TEXTS)]
    for _ in range(draw(st.integers(0, 6))):
        text = said[-1]
        said.append(
            draw(st.one_of(TEXTS.map(text.__add__), TEXTS, st.integers(0, len(text)).map(slice).map(text.__getitem__)))
        )
    return said


STREAMED = st.one_of(
    TEXTS.map(TextAppended),
    TEXTS.map(TextAppended),
    TEXTS.map(ReasoningAppended),
    PARTS.map(PartAppended),
    MESSAGES.map(MessageAppended),
    CALLS.map(ToolCallOpened),
    st.builds(ToolArgumentsAppended, st.sampled_from(["c1", "c2"]), TEXTS),
)
PROPERTY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def normal(parts: Iterable[Any]) -> list[Any]:
    """Return parts as a reader of deltas knows them: neighbouring text joined, nothing empty, nothing unwritable."""
    joined: list[Any] = []
    for part in parts:
        if isinstance(part, TextPart | ReasoningPart):
            text = clean_text(part.text)
            if joined and type(joined[-1]) is type(part):
                joined[-1] = type(part)(joined[-1].text + text)
            elif text:
                joined.append(type(part)(text))
        elif isinstance(part, ToolCallPart):
            joined.append(ToolCallPart(part.tool_call_id, part.name, clean_text(part.arguments)))
        else:
            joined.append(part)
    return joined


@PROPERTY
@given(text_snapshots())
def test_sum_of_deltas_is_the_last_snapshot(said: list[str]) -> None:
    spoken = Spoken().say(*said).end()
    spoken.check()
    assert spoken.client().text == spoken.text == clean_text(said[-1])


@PROPERTY
@given(st.lists(TEXTS, max_size=8))
def test_sum_of_deltas_is_all_that_was_appended(said: list[str]) -> None:
    spoken = Spoken().append(*said).end()
    spoken.check()
    assert spoken.client().text == clean_text("".join(said))


@PROPERTY
@given(message_snapshots())
def test_message_lists_that_change_in_any_way_arrive_as_they_are(said: list[AnswerSnapshot]) -> None:
    spoken = Spoken()
    for each in said:
        spoken.say(each)
        spoken.check()
    spoken.end().check()
    told = [(m.role, normal(m.content), dict(m.metadata or {}), list(m.options or ())) for m in spoken.draft.messages()]
    meant = [
        (
            m.role,
            normal(m.content),
            {k: v for k, v in (m.metadata or {}).items() if v is not None},
            list(m.options or ()),
        )
        for m in said[-1].messages
    ]
    assert told == meant


@PROPERTY
@given(st.lists(STREAMED, max_size=12))
def test_streamed_outputs_in_any_order_arrive_in_that_order(said: list[Output]) -> None:
    spoken = Spoken()
    for output in said:
        try:
            spoken.say(output)
        except AnswerInvalid:
            assert isinstance(output, ToolArgumentsAppended)
        spoken.check()
    spoken.end().check()


@PROPERTY
@given(
    st.lists(st.one_of(TEXTS, STREAMED, message_snapshots().map(lambda said: said[-1])), max_size=10),
    st.integers(1, 40),
)
def test_any_mixture_obeys_the_grammar_and_its_size_limit(said: list[str | Output], max_bytes: int) -> None:
    spoken = Spoken(max_bytes)
    for thing in said:
        try:
            spoken.say(thing)
        except AnswerInvalid:
            assert isinstance(thing, ToolArgumentsAppended)
    spoken.end().check()
    texts = [p.text for m in spoken.draft.messages() for p in m.content if isinstance(p, TextPart | ReasoningPart)]
    assert len("".join(texts).encode()) <= max_bytes
