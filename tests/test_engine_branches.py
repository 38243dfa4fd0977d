"""The turn engine and the branches of a session: messages behind earlier ones, replaced histories, forgotten turns."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatserve.contracts.store import MovedHistory, Store
from chatserve.core.errors import FileUnknown, MessageUnknown, SessionBusy, SessionUnknown, TurnUnknown, VersionConflict
from chatserve.core.types import FilePart, Message, Role, StoredFile, TextPart
from chatserve.stores import create_store
from tests.support.engine import NATIVE, Engine, decode, open_engine, until, within

History = list[Any]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return create_store("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/chat.db")


def recall(message: str, history: History) -> str:
    """Answer with all that was said."""
    return " ".join([*(str(entry["content"]) for entry in history if entry["role"] == "user"), message])


class Gate:
    """A function that answers what was said when its gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.begun = 0

    async def __call__(self, message: str, history: History) -> AsyncIterator[str]:
        self.begun += 1
        await self.gate.wait()
        yield recall(message, history)


async def newest(engine: Engine, session_id: str = "s_1") -> str:
    """Return the id of the newest message."""
    head = (await engine.store.get_session("", session_id)).head
    assert head is not None
    return head


def said(*texts: str) -> tuple[Message, ...]:
    """Return messages of a user and an assistant in turn; all have the same id."""
    roles: tuple[Role, Role] = ("user", "assistant")
    return tuple(Message("m_x", roles[n % 2], (TextPart(text),), 5.0) for n, text in enumerate(texts))


# --- messages behind earlier ones --------------------------------------------------------------------------------


async def test_function_is_given_the_branch_its_message_was_sent_behind(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        await engine.ask("a")
        after_a = await newest(engine)
        texts, ends = [], []
        for text, target in (("b", None), ("c", after_a), ("d", None), ("e", after_a)):
            texts.append((await engine.ask(text, target_message_id=target)).messages[0].text)
            ends.append(await newest(engine))
        texts.append((await engine.ask("f", target_message_id=ends[0])).messages[0].text)
        texts.append((await engine.ask("g")).messages[0].text)
        assert texts == ["a b", "a c", "a c d", "a e", "a b f", "a b f g"]


async def test_branches_are_told_apart_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chat.db"
    async with open_engine(recall, store=create_store(url)) as engine:
        await engine.ask("a")
        after_a = await newest(engine)
        await engine.ask("b")
    async with open_engine(recall, store=create_store(url), ids_from=100) as engine:
        assert (await engine.ask("c", target_message_id=after_a)).messages[0].text == "a c"
        assert (await engine.ask("d")).messages[0].text == "a c d"


async def test_message_that_waits_goes_where_it_was_sent(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store, when_busy="queue") as engine:
        gate.gate.set()
        await engine.ask("a")
        after_a = await newest(engine)
        gate.gate.clear()
        turns = [await engine.start("b"), await engine.start("c", target_message_id=after_a), await engine.start("d")]
        gate.gate.set()
        texts = [(await engine.end_of(turn)).messages[0].text for turn in turns]
        assert texts == ["a b", "a c", "a c d"]


async def test_message_behind_one_of_another_session_is_refused(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        await engine.ask("a", "s_a")
        elsewhere = await newest(engine, "s_a")
        with pytest.raises(MessageUnknown):
            await engine.ask("b", "s_b", target_message_id=elsewhere)
        with pytest.raises(SessionUnknown):
            await engine.store.get_session("", "s_b")
        assert (await engine.ask("b", "s_b")).turn.status == "completed"


async def test_history_a_client_sends_wins_over_the_message_to_go_on_from(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        await engine.ask("a")
        sent = said("x", "y")
        record = await engine.ask("b", history=(sent[0],), target_message_id=await newest(engine))
        assert record.messages[0].text == "x b"


# --- replaced histories ------------------------------------------------------------------------------------------


async def replace_history(engine: Engine, messages: Sequence[Message], if_version: int | None) -> MovedHistory:
    return await engine.turns.sessions.move_history("", "s_1", "replace", if_version, messages)


async def test_function_is_given_the_history_that_replaced_the_old_one(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        await engine.ask("a")
        await engine.ask("b")
        moved = await replace_history(engine, said("a", "a", "x", "y"), None)
        assert await engine.history() == [("user", "a"), ("assistant", "a"), ("user", "x"), ("assistant", "y")]
        assert moved.session.head == await newest(engine)
        assert (await engine.ask("c")).messages[0].text == "a x c"


async def test_stored_messages_may_be_part_of_the_new_history(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        for text in ("a", "b", "c"):
            await engine.ask(text)
        branch = await engine.store.read_branch("", "s_1", await newest(engine))
        await replace_history(engine, (*branch[:2], *branch[4:], *branch[2:4]), None)
        assert [text for role, text in await engine.history() if role == "user"] == ["a", "c", "b"]
        replaced = await engine.store.read_branch("", "s_1", await newest(engine))
        assert replaced[:2] == branch[:2]
        assert {message.message_id for message in replaced[2:]}.isdisjoint(m.message_id for m in branch)


async def test_session_stream_tells_of_a_replaced_history(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        await engine.ask("a")
        reader = await engine.turns.follow_session("", "s_1", None, NATIVE)
        moved = await replace_history(engine, said("x"), None)
        await engine.ask("b")
        events = decode(await engine.read(reader))
        assert events[0].event == "history"
        assert events[0].json == {"version": moved.session.version, "operation": "replace"}


async def test_replaced_history_names_files_that_are_there(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        await engine.ask("a")
        claimed = FilePart("f_1", "claimed.txt", "text/html", 99)
        history = (Message("m_x", "user", (claimed,), 5.0),)
        with pytest.raises(FileUnknown):
            await replace_history(engine, history, None)
        await engine.store.add_file(StoredFile("f_1", "", None, "a.txt", "text/plain", 3, 5.0))
        await replace_history(engine, history, None)
        (message,) = await engine.store.read_branch("", "s_1", await newest(engine))
        assert message.content == (FilePart("f_1", "a.txt", "text/plain", 3),)


async def test_history_of_a_busy_or_changed_session_is_not_replaced(store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store) as engine:
        turn = await engine.start("a")
        with pytest.raises(SessionBusy) as refusal:
            await replace_history(engine, said("x"), None)
        assert refusal.value.extra["turn_id"] == turn.turn_id
        gate.gate.set()
        version = (await engine.end_of(turn)).turn.version
        assert version is not None
        with pytest.raises(VersionConflict):
            await replace_history(engine, said("x"), version - 1)
        assert await engine.history() == [("user", "a"), ("assistant", "a")]


# --- forgotten turns ---------------------------------------------------------------------------------------------


async def test_forgotten_turn_is_unknown_and_its_words_stay(store: Store) -> None:
    async with open_engine(recall, store=store) as engine:
        records = [await engine.ask(text) for text in ("a", "b")]
        turn_ids = [record.turn.turn_id for record in records]
        assert [await engine.turns.forget_turn("", turn_id) for turn_id in turn_ids] == [1, 0]
        for call in (
            engine.turns.get_turn("", turn_ids[0]),
            engine.turns.follow_turn("", turn_ids[0], None, NATIVE),
            engine.turns.forget_turn("", turn_ids[0]),
        ):
            with pytest.raises(TurnUnknown):
                await call
        assert (await engine.ask("c")).messages[0].text == "a b c"
        assert (await engine.ask("", operation="retry")).messages[0].text == "a b c"
        target = records[1].user_message
        assert target is not None
        edited = await engine.ask("d", operation="edit", target_message_id=target.message_id)
        assert edited.messages[0].text == "a d"


async def test_request_with_the_key_of_a_forgotten_turn_is_a_new_turn(store: Store) -> None:
    key = {"idempotency_key": "k", "body_hash": "h"}
    async with open_engine(recall, store=store) as engine:
        first = await engine.ask("a", **key)
        await engine.turns.forget_turn("", first.turn.turn_id)
        assert (await engine.ask("a", **key)).turn.turn_id != first.turn.turn_id


@pytest.mark.parametrize("session", [{"session_id": "s_1"}, {"session_id": None, "history": ()}], ids=str)
async def test_turn_that_runs_is_not_forgotten(session: dict[str, Any], store: Store) -> None:
    gate = Gate()
    async with open_engine(gate, store=store) as engine:
        turn = await engine.start("a", **session)
        await until(lambda: gate.begun == 1)
        with pytest.raises(SessionBusy):
            await engine.turns.forget_turn("", turn.turn_id)
        gate.gate.set()
        await engine.end_of(turn)
        assert await engine.turns.forget_turn("", turn.turn_id) == 0


async def test_stateless_turn_is_forgotten_by_its_owner_only() -> None:
    async with open_engine(recall) as engine:
        record = await engine.ask("a", "", history=(), owner="ann")
        turn_id = record.turn.turn_id
        with pytest.raises(TurnUnknown):
            await engine.turns.forget_turn("bob", turn_id)
        assert await engine.turns.forget_turn("ann", turn_id) == 0
        with pytest.raises(TurnUnknown):
            await engine.turns.get_turn("ann", turn_id)


# --- echo --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("session", [{"session_id": "s_1"}, {"session_id": None, "history": ()}], ids=str)
async def test_echo_of_a_request_is_told_with_its_turn(session: dict[str, Any], store: Store) -> None:
    gate, echo = Gate(), {"model": "chat", "metadata": {"a": "b"}}
    async with open_engine(gate, store=store, concurrency_limit=1) as engine:
        first = await engine.start("a", "s_other")
        turn = await engine.start("b", **session, echo=echo)
        assert turn.turn.status == "queued"
        assert (await engine.turns.get_turn("", turn.turn_id)).turn.echo == echo
        gate.gate.set()
        await engine.end_of(first)
        assert (await engine.end_of(turn)).turn.echo == echo
        assert (await within(engine.turns.get_turn("", turn.turn_id))).turn.echo == echo
