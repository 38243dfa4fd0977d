"""Many timeouts with one timer, and moments that are waited for."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatserve.engine.tasks import Moment
from chatserve.engine.timeouts import Timeouts
from tests.support.engine import until, within


class Loop:
    """An event loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, after_s: float, callback: Callable[..., None], *args: Any) -> None:
        self.timers.append((self.now + after_s, lambda: callback(*args)))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and min(self.timers)[0] <= end:
            timer = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[1]()
        self.now = end


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


def test_items_expire_each_in_its_time_and_one_timer_serves_them_all(loop: Loop) -> None:
    expired: list[tuple[str, float]] = []
    timeouts = Timeouts[str](10, lambda item: expired.append((item, loop.now)))
    for item in "abc":
        timeouts.add(item)
        loop.pass_time(3)
        assert len(loop.timers) == 1
    assert (expired, len(timeouts)) == ([], 3)
    loop.pass_time(20)
    assert expired == [("a", 110.0), ("b", 113.0), ("c", 116.0)]
    assert (loop.timers, len(timeouts)) == ([], 0)


def with_the_first_discarded(loop: Loop, expired: list[str]) -> Timeouts[str]:
    """Return timeouts of 10 s in which "b" waits, added 4 s after "a", which waits no more."""
    timeouts = Timeouts[str](10, expired.append)
    timeouts.add("a")
    loop.pass_time(4)
    timeouts.add("b")
    timeouts.discard("a")
    return timeouts


def test_what_was_discarded_does_not_expire_nor_does_it_hold_up_the_others(loop: Loop) -> None:
    expired: list[str] = []
    timeouts = with_the_first_discarded(loop, expired)
    timeouts.discard("unknown")
    assert ("a" in timeouts, "b" in timeouts) == (False, True)
    loop.pass_time(9)
    assert expired == []
    loop.pass_time(1)
    assert expired == ["b"]


def test_item_that_is_added_again_waits_anew_behind_the_others(loop: Loop) -> None:
    expired: list[str] = []
    timeouts = with_the_first_discarded(loop, expired)
    loop.pass_time(4)
    timeouts.add("a")
    loop.pass_time(6)
    assert expired == ["b"]
    loop.pass_time(4)
    assert expired == ["b", "a"]


def test_item_that_is_added_where_another_expires_is_waited_for(loop: Loop) -> None:
    expired: list[str] = []

    def expire(item: str) -> None:
        expired.append(item)
        if item == "a":
            timeouts.add("again")

    timeouts = Timeouts[str](10, expire)
    timeouts.add("a")
    loop.pass_time(19)
    assert (expired, len(loop.timers)) == (["a"], 1)
    loop.pass_time(1)
    assert expired == ["a", "again"]


def test_nothing_to_wait_for_leaves_no_timer_behind(loop: Loop) -> None:
    timeouts = Timeouts[str](10, lambda item: None)
    timeouts.add("a")
    timeouts.discard("a")
    loop.pass_time(10)
    assert loop.timers == []
    timeouts.add("b")
    assert len(loop.timers) == 1


async def test_moment_lets_all_go_that_wait_and_nobody_wait_afterwards() -> None:
    moment = Moment()
    waiting = [asyncio.ensure_future(moment.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await until(waiting[1].done)
    assert not moment.is_set()
    moment.set()
    moment.set()
    assert moment.is_set()
    await within(asyncio.gather(waiting[0], waiting[2]))
    await within(moment.wait())
