"""A browser's own EventSource, its connections dropped again and again: no gap, and it never gives up."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.app import answer_to
from tests.faults.server import APP
from tests.faults.told import Listener, Told
from tests.support.chromium import open_page
from tests.support.http import address_of
from tests.support.libraries import require
from tests.support.proxy import ThreadedProxy, proxy_in_thread
from tests.support.server import Server, serve
from tests.support.sse import SseEvent

require("playwright")

SOURCES = 5
"""How many a browser opens to one host at once, but one."""

WAIT_S = 20
LISTEN = """(path, count) => {
    window.sources = [];
    const names = ["turn", "message", "delta", "replace", "snapshot", "done", "bye"];
    for (let number = 0; number < count; number++) {
        const source = new EventSource(path);
        const taken = {source, events: [], opened: 0, closed: 0};
        source.onopen = () => taken.opened++;
        source.onerror = () => { if (source.readyState === 2) taken.closed++; };
        for (const name of names)
            source.addEventListener(name, e => taken.events.push([name, e.data, e.lastEventId]));
        window.sources.push(taken);
    }
}"""


@dataclass
class Browser:
    """A page with EventSources that follow one session through a proxy."""

    page: Any
    proxy: ThreadedProxy
    session_id: str
    were_only_deltas: bool = True

    def listen(self) -> None:
        url = f"{self.proxy.proxy.url}/page"  # the server's own pages may open no connections
        self.page.route(url, lambda route: route.fulfill(body="<p>page</p>", content_type="text/html"))
        self.page.goto(url)
        self.page.evaluate(f"([path, count]) => ({LISTEN})(path, count)", [self._path, SOURCES])
        self.until(lambda: min(self.column("opened")) >= 1)

    @property
    def _path(self) -> str:
        return f"/sessions/{self.session_id}/events?after=0"

    def column(self, name: str) -> list[int]:
        """Return one number of each source."""
        found: list[int] = self.page.evaluate(f"() => window.sources.map(each => each.{name})")
        return found

    def drop(self) -> None:
        """Reset all connections, when each has brought something; wait until each source has come back."""
        counts, opened = self.column("events.length"), self.column("opened")
        self.until(lambda: all(now > then for now, then in zip(self.column("events.length"), counts, strict=True)))
        assert self.proxy.drop_all() >= SOURCES
        self.until(lambda: all(now > then for now, then in zip(self.column("opened"), opened, strict=True)))

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what happens in the page."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, self.page.evaluate("() => window.sources")
            self.page.wait_for_timeout(20)

    def count(self, name: str) -> int:
        """Return how many events of this name all sources got."""
        return sum(event[0] == name for events in self.events() for event in events)

    def has_seen_end_of(self, turn_id: str) -> Callable[[], bool]:
        """Return a condition: each source has got the turn's `done`."""
        ended = f'"turn_id":"{turn_id}","status"'
        return lambda: all(any(e[0] == "done" and ended in e[1] for e in events) for events in self.events())

    def events(self) -> list[list[list[str]]]:
        found: list[list[list[str]]] = self.page.evaluate("() => window.sources.map(each => each.events)")
        return found

    def check(self) -> list[str]:
        """Check what each source got; return the text of the last answer each has put together."""
        assert self.column("closed") == [0] * SOURCES
        assert 2 not in self.column("source.readyState")
        texts, told = [], Told()
        for events in self.events():
            listener = Listener(told, self.session_id)
            for name, data, last_id in events:
                listener.take(SseEvent(name, data, last_id))
            texts.append(listener.text)
            self.were_only_deltas &= listener.has_only_deltas
        return texts


class Followed:
    """A server that comes and goes, and a browser that follows a session of it."""

    def __init__(self, folder: Path) -> None:
        self._options = ("--store", f"sqlite:///{folder}/chat.db", "--drain-timeout-s", "0.2")
        self._running = ExitStack()
        self.server: Server
        self.browser: Browser
        self.session_id = ""
        self.start()

    def start(self) -> None:
        self.server = self._running.enter_context(serve(APP, *self._options))

    def restart(self) -> None:
        """Start anew after the end of the process; the proxy finds the new one."""
        self._running.close()
        self.start()
        self.browser.proxy.proxy.upstream = address_of(self.server.url)

    def close(self) -> None:
        self.server.process.kill()
        self._running.close()

    def say(self, message: str) -> str:
        """Start a turn in the session; return its id."""
        body = {"message": message} | ({"session_id": self.session_id} if self.session_id else {})
        turn = self.server.post("/chat/deltas", body, headers={"Prefer": "respond-async"}).json()
        self.session_id = turn["session_id"]
        turn_id: str = turn["turn_id"]
        return turn_id

    def text_of(self, turn_id: str) -> str:
        text: str = self.server.get(f"/turns/{turn_id}").json()["text"]
        return text


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    stage = Followed(tmp_path)
    try:
        stage.say("first 3 0")
        with open_page() as page, proxy_in_thread(address_of(stage.server.url)) as proxy:
            stage.browser = Browser(page, proxy, stage.session_id)
            stage.browser.listen()
            yield stage
    finally:
        stage.close()


@pytest.mark.parametrize("drops", [20, pytest.param(100, marks=[pytest.mark.storm, pytest.mark.timeout(300)])])
def test_dropped_connections_leave_no_gap_in_a_browser(followed: Followed, drops: int) -> None:
    browser = followed.browser
    turn_id = followed.say("hold1 40000 5")
    for _ in range(drops // SOURCES):
        browser.drop()
    followed.server.post(f"/turns/{turn_id}/stop")
    browser.until(browser.has_seen_end_of(turn_id))
    assert set(browser.check()) == {followed.text_of(turn_id)}
    assert browser.were_only_deltas


def test_browser_comes_back_after_a_deploy_and_after_a_crash(followed: Followed) -> None:
    browser = followed.browser
    followed.say("hold2 40000 5")
    browser.drop()
    followed.server.terminate()
    browser.until(lambda: browser.count("bye") >= SOURCES)
    followed.restart()
    deployed = followed.say("deployed 20 1")
    browser.until(browser.has_seen_end_of(deployed))
    assert set(browser.check()) == {answer_to("deployed 20 1")}
    followed.say("hold3 40000 5")
    browser.drop()
    followed.server.kill()
    followed.restart()
    crashed = followed.say("crashed 20 1")
    browser.until(browser.has_seen_end_of(crashed))
    assert set(browser.check()) == {answer_to("crashed 20 1")}
