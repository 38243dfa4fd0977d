"""What functions say, on its way into the logs: the hot path of the server, a few steps per word.

`yield` → `Speech.items` → draft → log → readers. A function's own step only stores what it says in its speech. At the
end of each turn of the loop the publisher publishes what all functions have said in it, one after the other, so that
the same few lines run many times in a row. Words that follow published ones at once are held for a beat and become one
event. Knows no store and no reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any

from chatserve.answers.draft import MessageDraft
from chatserve.chat_function import Report
from chatserve.chat_function.call import join_deltas, skip_snapshots
from chatserve.codec import clean_json
from chatserve.core.events import Event, StatusReported
from chatserve.core.types import YieldMode
from chatserve.engine.log.journal import Journal
from chatserve.engine.log.log import SessionLog
from chatserve.engine.pace import Pace
from chatserve.engine.tasks import OwnedTasks


class Speech:
    """One turn's function, as it speaks.

    `items` is what it has said and nobody was shown: strings, `Report`s, and tuples of outputs. `is_over`: the turn has
    ended, and nothing more is published. `error` is what was wrong with what it said. `is_behind`: the function must
    wait until the store has what was published. `end` cancels the function.
    """

    __slots__ = (
        "_draft",
        "_end",
        "_grow",
        "_merge",
        "_take_text",
        "error",
        "holds_until",
        "is_behind",
        "is_over",
        "items",
        "log",
        "turn_id",
    )

    def __init__(
        self, turn_id: str, draft: MessageDraft, log: SessionLog, yields: YieldMode, end: Callable[[], object]
    ) -> None:
        self.turn_id = turn_id
        self.log = log
        self.items: list[Any] = []
        self.holds_until = 0.0
        self.is_behind = False
        self.is_over = False
        self.error: Exception | None = None
        self._draft = draft
        self._end = end
        self._grow: Callable[[str], str | None] = draft.grow_to
        self._take_text: Callable[[str], Sequence[Event]] = draft.snapshot_text
        self._merge: Callable[[Sequence[Any]], Iterator[Any]] = skip_snapshots
        if yields == "deltas":
            self._grow, self._take_text, self._merge = draft.grow_by, draft.append_text, join_deltas

    def say_word(self) -> bool:
        """Publish what was said, if it is one word that the answer has grown by; False: it is more, nothing was done.

        One word in an open message is what nearly all of an answer is made of.
        """
        items, log = self.items, self.log
        if len(items) != 1 or self.is_over or not log.is_open_to(self.turn_id):
            return False
        item = items[0]
        text = self._grow(item) if type(item) is str else None
        if text is None:
            return False
        items.clear()
        log.say(text)
        return True

    def enter_log(self) -> None:
        """Append what was said to the log, as events. Raises: AnswerInvalid, AnswerTooLarge."""
        items = self.items
        if len(items) == 1:
            self._enter(items.pop())
        else:
            said = items[:]
            items.clear()
            for item in self._merge(said):
                self._enter(item)
        if self._draft.is_too_large:
            self._draft.check_size()

    def _enter(self, item: Any) -> None:
        if type(item) is str:
            self.log.append(self.turn_id, self._take_text(item))
        elif type(item) is Report:
            self.log.append(self.turn_id, self._reported(item))
        else:
            for output in item:
                self.log.append(self.turn_id, self._draft.apply(output))

    def _reported(self, report: Report) -> Sequence[Event]:
        if report.usage is not None:
            self._draft.usage = report.usage
            return ()
        return (StatusReported(clean_json(report.text), clean_json(report.done), clean_json(report.total)),)

    def fail(self, error: Exception) -> None:
        """End a function that says what is no answer."""
        self.error = error
        self._end()


class Publisher:
    """Publishes what functions say, for all that speak in one turn of the loop together."""

    def __init__(self, journal: Journal, tasks: OwnedTasks, pace: Pace) -> None:
        self._journal = journal
        self._tasks = tasks
        self._pace = pace
        self._heard: list[Speech] = []
        self._held: list[Speech] = []
        self._gives_way_at = 0.0

    def publish_soon(self, speech: Speech) -> float:
        """Publish a speech that has its first item by the end of the loop's turn, with all it has by then.

        Return when the loop should have turned: a function that says more after that gives way before.
        """
        heard = self._heard
        if not heard:
            asyncio.get_running_loop().call_soon(self._publish_heard)
            self._gives_way_at = monotonic() + self._pace.give_way_s
        heard.append(speech)
        return self._gives_way_at

    def publish_first(self, speech: Speech) -> float:
        """Publish the first words of a function at once, else do as `publish_soon`.

        Raises:
            AnswerInvalid, AnswerTooLarge: what was said is no answer.
        """
        if speech.log.is_numbering:
            return self.publish_soon(speech)
        speech.holds_until = monotonic() + self._pace.beat_s
        self._publish(speech)
        return self._gives_way_at

    def _publish_heard(self) -> None:
        heard, self._heard = self._heard, []
        now = monotonic()
        self._publish_all(heard, now, now)

    def _publish_held(self) -> None:
        held, self._held = self._held, []
        self._publish_all(held, monotonic(), inf)

    def _publish_all(self, speeches: Sequence[Speech], now: float, until: float) -> None:
        """Publish what was said, mostly one word each; hold speeches that published within a beat before `until`."""
        holds_until, is_strict, held = now + self._pace.beat_s, self._journal.is_strict, []
        for speech in speeches:
            if speech.holds_until > until:
                held.append(speech)
                continue
            speech.holds_until = holds_until
            if is_strict or not speech.say_word():
                self._publish_or_fail(speech)
        self._hold(held)
        self._journal.note([speech.log for speech in speeches])

    def _hold(self, speeches: Sequence[Speech]) -> None:
        if speeches and not self._held:
            asyncio.get_running_loop().call_later(self._pace.beat_s, self._publish_held)
        self._held += speeches

    def _publish_or_fail(self, speech: Speech) -> None:
        if speech.is_over or not speech.items:
            return
        if speech.log.is_numbering:
            self._tasks.spawn(self._publish_when_settled(speech), name="chatserve-publish")
            return
        try:
            self._publish(speech)
        except Exception as error:  # noqa: BLE001 - whatever a value the function made does when it is looked at
            speech.fail(error)

    async def _publish_when_settled(self, speech: Speech) -> None:
        await speech.log.settled()
        self._publish_or_fail(speech)

    def _publish(self, speech: Speech) -> None:
        """Append what was said to the log and show it to readers. Raises: AnswerInvalid, AnswerTooLarge."""
        log = speech.log
        try:
            speech.enter_log()
        finally:
            if not self._journal.show(log):
                speech.is_behind = True
                self._journal.catch_up_soon(log)

    async def publish_rest(self, speech: Speech) -> None:
        """Publish the remaining words of a function that has ended.

        Raises:
            AnswerInvalid, AnswerTooLarge: they are no answer, or what it said before was none.
        """
        if speech.error is not None:
            raise speech.error
        if speech.log.is_numbering:
            await speech.log.settled()
        if speech.items and not speech.is_over:
            self._publish(speech)

    async def catch_up(self, speech: Speech) -> None:
        """Return when the store has what was published."""
        await self._journal.catch_up(speech.log)
        speech.is_behind = False
