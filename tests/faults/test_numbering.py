"""What a session's log promises while turns of it run, wait and end at the same time."""

import asyncio

from chatserve.contracts.turns import CommittedTurn, CommitTurn
from chatserve.core.events import NumberedEvent
from chatserve.engine.cursors import ended_turn_frames
from chatserve.stores.memory import MemoryStore
from tests.support.engine import NATIVE, decode, open_engine, within


class SlowCommits(MemoryStore):
    """A store that takes its time with the next commit."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def commit_turn(self, commit: CommitTurn) -> CommittedTurn:
        self.reached.set()
        await within(self.opened.wait())
        return await super().commit_turn(commit)


async def test_waiting_turn_that_ends_while_another_speaks_leaves_no_hole() -> None:
    goes_on = asyncio.Event()

    async def speak(message: str, history: list[object]):
        yield "one "
        await goes_on.wait()
        for word in ("two ", "three "):
            yield word

    async with open_engine(speak, store=(store := SlowCommits()), yields="deltas") as engine:
        speaking = await engine.start("hi")
        waiting = await engine.start("later", when_busy="queue")
        stopping = asyncio.ensure_future(engine.turns.stop_turn("", waiting.turn_id))
        await within(store.reached.wait())
        goes_on.set()
        for _ in range(100):
            await asyncio.sleep(0)  # the function speaks, if anybody lets it
        store.opened.set()
        await within(stopping)
        assert (await engine.end_of(speaking)).messages[0].text == "one two three "
        shown = decode(await engine.read(await engine.turns.follow_session("", "s_1", 0, NATIVE), dones=2))
        filed: list[NumberedEvent] = list((await store.read_events("s_1", after=0, limit=99)).events)
    assert [int(event.id) for event in shown] == list(range(1, len(shown) + 1))
    assert [event.seq for event in filed] == list(range(1, len(shown) + 1))
    assert [event.turn_id for event in filed if event.turn_id == waiting.turn_id] == [waiting.turn_id] * 2


async def test_reader_that_enters_without_a_cursor_sees_whole_turns_only() -> None:
    goes_on = asyncio.Event()

    async def speak(message: str, history: list[object]):
        yield message
        await goes_on.wait()

    async with open_engine(speak, yields="deltas") as engine:
        first = await engine.start("first")
        second = await engine.start("second", when_busy="queue")
        await engine.start("third", when_busy="queue")
        await engine.turns.stop_turn("", first.turn_id)
        while second.turn.status == "queued":
            await asyncio.sleep(0)
        reader = await within(engine.turns.follow_session("", "s_1", None, NATIVE))
        goes_on.set()
        events = decode(await engine.read(reader, dones=2))
    assert [(event.event, event.json.get("text")) for event in events[:3]] == [
        ("turn", None),
        ("message", None),
        ("delta", "second"),
    ]


async def test_snapshot_and_end_of_a_turn_whose_log_is_gone_have_numbers_of_their_own() -> None:
    async def speak(message: str, history: list[object]) -> str:
        return message

    async with open_engine(speak) as engine:
        record = await engine.ask("hi")
    snapshot, done = decode(ended_turn_frames(record, NATIVE, 0))
    assert (snapshot.event, done.event) == ("snapshot", "done")
    assert int(snapshot.id) < int(done.id) == record.turn.done_seq
