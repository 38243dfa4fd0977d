"""The rooms of a process: those in use are kept, the others bounded, and entering one does not cost more with many."""

import pytest

from chatserve.engine import Pace
from chatserve.engine.sessions.rooms import LOOKED_AT, Room, Rooms
from chatserve.stores.memory import MemoryStore

KEPT = 5


@pytest.fixture
def rooms() -> Rooms:
    return Rooms(MemoryStore(), Pace(max_idle_rooms=KEPT))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which rooms were asked whether they are idle."""
    told: list[str] = []
    is_idle = vars(Room)["is_idle"].fget

    def noted(room: Room) -> bool:
        told.append(room.session_id)
        return bool(is_idle(room))

    monkeypatch.setattr(Room, "is_idle", property(noted))
    return told


def leave(rooms: Rooms, room: Room) -> None:
    """Leave a room that has a log, as one has in which a turn was taken."""
    room.open_log(0)
    rooms.leave(room)


def visit(rooms: Rooms, *session_ids: str) -> None:
    """Enter rooms and leave them, one after the other."""
    for session_id in session_ids:
        leave(rooms, rooms.enter("", session_id))


def test_only_the_newest_of_the_idle_rooms_are_kept(rooms: Rooms) -> None:
    visit(rooms, *[f"s_{n}" for n in range(20)])
    assert len(rooms) == KEPT
    assert [n for n in range(20) if rooms.find("", f"s_{n}")] == [15, 16, 17, 18, 19]


def test_rooms_in_use_are_kept_however_many_they_are(rooms: Rooms) -> None:
    entered = [rooms.enter("", f"s_{n}") for n in range(20)]
    assert all(rooms.find("", room.session_id) is room for room in entered)


def test_entering_a_room_asks_a_few_others_however_many_are_in_use(rooms: Rooms, asked: list[str]) -> None:
    for n in range(50):
        rooms.enter("", f"s_{n}")
    asked.clear()
    rooms.enter("", "s_new")
    assert len(asked) <= LOOKED_AT
    assert len(set(asked)) == len(asked)


def test_surplus_is_forgotten_once_the_rooms_are_idle(rooms: Rooms) -> None:
    entered = [rooms.enter("", f"s_{n}") for n in range(20)]
    for room in entered:
        leave(rooms, room)
    visit(rooms, *[f"s_more_{n}" for n in range(20)])
    assert len(rooms) == KEPT
