"""Speech: the output of functions on its way into the logs. This is the hot path of the server.

`yield` → `Speech.items` → draft → log → readers. A function's own step only adds its output to its speech. At the end
of each iteration of the event loop the publisher publishes the output of all functions, one after the other, so that
the same few lines run many times in a row. Output that follows published output within a beat is held until the beat is
over and becomes one event. Knows no store and no reader.
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
from chatserve.contracts.formats import AnswerSnapshot, Output, TextAppended
from chatserve.core.events import Event, MessageOpened, StatusReported
from chatserve.core.types import YieldMode
from chatserve.engine.log.journal import Journal
from chatserve.engine.log.log import SessionLog
from chatserve.engine.pace import Pace
from chatserve.engine.tasks import OwnedTasks


class Speech:
    """The output of one turn's function.

    `items` are its values that are not published yet: strings, `Report`s, and tuples of outputs. `is_over`: the turn
    has ended, and nothing more is published. `error` says why the output is invalid. `is_behind`: the function must
    wait until the store has the published events. `end` cancels the function.
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
        """Publish the output if it is one string that extends the open message; False: it is not, nothing was done.

        Nearly all of an answer consists of such strings.
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
        """Append the output to the log, as events. Raises: AnswerInvalid, AnswerTooLarge."""
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
            self._enter_events(self._take_text(item))
        elif type(item) is Report:
            self.log.append(self.turn_id, self._reported(item))
        else:
            self._enter_outputs(item)

    def _enter_events(self, events: Sequence[Event]) -> None:
        """Append the events of a text: one, or a new message before it, or what returns to text."""
        if len(events) > 1 and type(events[0]) is not MessageOpened:
            self.log.append_yield(self.turn_id, events, is_list=False)
        else:
            self.log.append(self.turn_id, events)

    def _enter_outputs(self, outputs: Sequence[Output]) -> None:
        """Append the events of one yield, up to the output that is invalid. Raises: AnswerInvalid."""
        if len(outputs) == 1 and type(outputs[0]) is TextAppended:
            self._enter_events(self._draft.apply(outputs[0]))
            return
        events: list[Event] = []
        try:
            for output in outputs:
                events.extend(self._draft.apply(output))
        finally:
            is_list = any(type(output) is AnswerSnapshot and output.is_list for output in outputs)
            self.log.append_yield(self.turn_id, events, is_list=is_list)

    def _reported(self, report: Report) -> Sequence[Event]:
        if report.usage is not None:
            self._draft.usage = report.usage
            return ()
        return (StatusReported(clean_json(report.text), clean_json(report.done), clean_json(report.total)),)

    def fail(self, error: Exception) -> None:
        """Cancel a function whose output is invalid."""
        self.error = error
        self._end()


class Publisher:
    """Publishes the output of all functions together, once per iteration of the event loop."""

    def __init__(self, journal: Journal, tasks: OwnedTasks, pace: Pace) -> None:
        self._journal = journal
        self._tasks = tasks
        self._pace = pace
        self._heard: list[Speech] = []
        self._held: list[Speech] = []
        self._gives_way_at = 0.0

    def publish_soon(self, speech: Speech) -> float:
        """Publish a speech that got its first item, at the end of the loop's iteration, with all its items by then.

        Return the time by which the loop should start its next iteration. A function that yields after that time first
        gives way to the loop.
        """
        heard = self._heard
        if not heard:
            asyncio.get_running_loop().call_soon(self._publish_heard)
            self._gives_way_at = monotonic() + self._pace.give_way_s
        heard.append(speech)
        return self._gives_way_at

    def publish_first(self, speech: Speech) -> float:
        """Publish the first output of a function at once; for later output do the same as `publish_soon`.

        Raises:
            AnswerInvalid, AnswerTooLarge: the output is not a valid answer.
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
        """Publish the output, mostly one string each; hold speeches whose beat is not over at `until`."""
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
        except Exception as error:  # noqa: BLE001 - a function's value may raise anything when it is read
            speech.fail(error)

    async def _publish_when_settled(self, speech: Speech) -> None:
        await speech.log.settled()
        self._publish_or_fail(speech)

    def _publish(self, speech: Speech) -> None:
        """Append the output to the log and publish it. Raises: AnswerInvalid, AnswerTooLarge."""
        log = speech.log
        try:
            speech.enter_log()
        finally:
            if not self._journal.show(log):
                speech.is_behind = True
                self._journal.catch_up_soon(log)

    async def publish_rest(self, speech: Speech) -> None:
        """Publish the remaining output of a function that has ended.

        Raises:
            AnswerInvalid, AnswerTooLarge: this output or earlier output is not a valid answer.
        """
        if speech.error is not None:
            raise speech.error
        if speech.log.is_numbering:
            await speech.log.settled()
        if speech.items and not speech.is_over:
            self._publish(speech)

    async def catch_up(self, speech: Speech) -> None:
        """Return when the store has the speech's events and they are published."""
        await self._journal.catch_up(speech.log)
        speech.is_behind = False
