"""Runs one turn's function and collects its output.

`chatserve.engine.log.speech` publishes the output. Only this module catches every exception of the developer's code and
turns each outcome into a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from chatserve.answers.draft import MessageDraft
from chatserve.chat_function import Call, Chat, ChatContext, Report, SessionView, Surroundings
from chatserve.chat_function.async_call import AsyncCall
from chatserve.chat_function.call import Batch, Interpret
from chatserve.chat_function.threads import Threads
from chatserve.codec import clean_text
from chatserve.contracts.formats import AnswerSnapshot, AnswerView, Output, ParsedMessage
from chatserve.contracts.turns import TurnRequest
from chatserve.core.errors import AnswerTooLarge, ChatFunctionError, ChatserveError
from chatserve.core.types import FilePart, Message, Session, TurnError
from chatserve.engine.log.speech import Publisher, Speech
from chatserve.engine.parts import EngineParts
from chatserve.engine.sessions.histories import Histories
from chatserve.engine.turns.answer_files import AnswerFiles, names_file
from chatserve.engine.turns.shown_errors import shown_error
from chatserve.engine.turns.turn import RunningTurn

logger = logging.getLogger("chatserve.engine")
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_REWRITES = (
    "yields texts that do not extend one another: each replaces the answer so far. "
    'If they are pieces to be appended, register it with yields="deltas"'
)


class TurnRunner:
    """Runs functions: prepares their history and files, calls them, and publishes their output."""

    def __init__(self, parts: EngineParts, histories: Histories, publisher: Publisher) -> None:
        self._parts = parts
        self._histories = histories
        self._publisher = publisher
        self.files = AnswerFiles(parts.store, parts.files, parts.settings, parts.clock, parts.new_id)
        self._kept_answers: dict[tuple[str, int], AnswerSnapshot] = {}
        self._warned: set[tuple[str, str]] = set()
        self.threads = Threads()

    async def run(self, turn: RunningTurn) -> None:
        """Run the function to its end. If it fails, `turn.run.failure` says why.

        Raises:
            asyncio.CancelledError: the turn was ended from outside.
        """
        pace, publisher = self._parts.pace, self._publisher
        try:
            call, speech, interpret = await self._prepare(turn)
            items, gives_way_at, given = speech.items, 0.0, 0
            try:
                async for item in call:
                    said = None if type(item) is str else await self._understood(turn, item, interpret)
                    if items and monotonic() >= gives_way_at:  # the function may not have waited since
                        given += 1
                        await asyncio.sleep(0 if given % pace.rest_every else pace.rest_s)
                        gives_way_at = monotonic() + pace.give_way_s
                    if speech.is_behind:
                        await publisher.catch_up(speech)
                    if speech.is_over or speech.error is not None:
                        break
                    was_silent = not items
                    if said is None:
                        items.append(item)
                    else:
                        items += said
                    if was_silent:
                        publish = publisher.publish_soon if speech.holds_until else publisher.publish_first
                        gives_way_at = publish(speech)
            finally:
                await self._close(turn, call)
            await publisher.publish_rest(speech)
            self._warn_of_doubts(turn)
        except BaseException as error:  # anything the chat function raises, even its own cancellation
            if turn.closed and isinstance(error, asyncio.CancelledError):
                raise
            turn.run.failure = self._failure(turn, await self._last_error(turn, error))

    async def _understood(self, turn: RunningTurn, item: Any, interpret: Interpret) -> Sequence[Any]:
        """Interpret a value that is not a plain string, store its files, and return it as items of a speech."""
        said = item if type(item) is Batch else (interpret(item),)
        if any(type(each) is tuple and any(map(names_file, each)) for each in said):
            return [await self.files.stored(turn, each) if type(each) is tuple else each for each in said]
        return said

    async def _last_error(self, turn: RunningTurn, error: BaseException) -> BaseException:
        """Publish the output before the failure; return its cause: invalid output, or else this error."""
        speech = turn.run.speech
        if speech is None:
            return error
        if speech.error is None:
            try:
                await self._publisher.publish_rest(speech)
            except Exception as wrong:  # noqa: BLE001 - earlier output is the cause
                return wrong
        return speech.error or error

    async def _prepare(self, turn: RunningTurn) -> tuple[Call, Speech, Interpret]:
        """Return the call of the function, the speech for its output, and the interpreter of its values."""
        parts, run, task = self._parts, turn.run, turn.task
        assert task is not None
        given = await self._history(turn)
        draft = run.draft = MessageDraft(
            turn.turn,
            new_message_id=lambda: parts.new_id("m_"),
            clock=parts.clock,
            max_bytes=parts.settings.max_answer_bytes,
            prefill=turn.request.call.prefill or "",
        )
        speech = run.speech = Speech(turn.turn_id, draft, turn.log, turn.chat.options.yields, task.cancel)
        interpret = self._interpretation(turn.chat, turn.user_message, given)
        call = run.call = self._call(turn, self._histories.shape_of(turn.chat.options).copy(given), interpret)
        if run.context is not None:
            call.when_reported(_in_loop(lambda report: self._hear_report(speech, report)))
        return call, speech, interpret

    def _hear_report(self, speech: Speech, report: Report) -> None:
        """Accept reports from an async function, its other tasks and threads."""
        if not speech.is_over:
            speech.items.append(report)
            if len(speech.items) == 1:
                self._publisher.publish_soon(speech)

    def _warn_of_doubts(self, turn: RunningTurn) -> None:
        """In debug mode, warn once of yields that look like deltas, and once of what a normalizer remarked."""
        draft = turn.run.draft
        if not self._parts.settings.debug or draft is None:
            return
        if draft.was_rewritten:
            self._warn_once(turn, _REWRITES)
        if draft.remark is not None:
            self._warn_once(turn, draft.remark)

    def _warn_once(self, turn: RunningTurn, remark: str) -> None:
        name = turn.chat.options.name
        if (name, remark) not in self._warned:
            self._warned.add((name, remark))
            logger.warning("chat %r %s", name, remark)

    # before the function

    async def _history(self, turn: RunningTurn) -> list[Any]:
        """Return the history to give to the function, as a list that is not to be changed."""
        request, shape = turn.request, self._histories.shape_of(turn.chat.options)
        brought = (turn.user_message,) if request.call.tool_results and turn.user_message is not None else ()
        if turn.room.is_stateless:
            history = shape.last(shape.render((*(request.history or ()), *brought)), len(request.call.tool_results))
        else:
            room = turn.room
            history = await self._histories.render(room.owner, room.session_id, turn.parent_id, shape, brought)
        return shape.render(request.preface) + history if request.preface else history

    def _interpretation(self, chat: Chat, user_message: Message | None, given: list[Any]) -> Interpret:
        """Return the interpreter of values. Its parts are made for the first value that is not a plain string."""
        normalize = None

        def interpret(value: object) -> tuple[Output, ...]:
            nonlocal normalize
            if normalize is None:
                message, options = self._message(chat, user_message), chat.options
                view = AnswerView(given, message, options.yields, options.history, options.additional_outputs)
                normalize = partial(self._parts.new_interpreter().normalize, view=view)
            return tuple(normalize(value))

        return interpret

    def _call(self, turn: RunningTurn, history: list[Any], interpret: Interpret) -> Call:
        context = turn.run.context = self._context(turn) if turn.chat.signature.needs_context else None
        kept = self._kept_answer(turn)
        if kept is not None:
            return AsyncCall(_said_at_once(kept))
        return turn.chat.prepare(
            self._message(turn.chat, turn.user_message),
            history,
            turn.inputs,
            Surroundings(context, turn.request.http_request, _gradio_key(turn.request)),
            interpret=interpret,
            threads=self.threads,
        )

    def _message(self, chat: Chat, user_message: Message | None) -> Any:
        assert user_message is not None
        if not chat.options.multimodal:
            return user_message.text  # "" if a client sends tool results, which are at the end of the history
        files = [part for part in user_message.content if isinstance(part, FilePart)]
        return {"text": user_message.text, "files": [self._parts.files.path_of(part) for part in files]}

    def _context(self, turn: RunningTurn) -> ChatContext:
        request, call = turn.request, turn.request.call
        return ChatContext(
            session=_session_view(turn.session),
            turn_id=turn.turn_id,
            user=request.owner,
            headers={name: value for name, value in request.headers.items() if name not in _PRIVATE_HEADERS},
            protocol=request.protocol,
            params=copy.deepcopy(dict(call.params)),
            tools=copy.deepcopy(call.tools),
            tool_results=call.tool_results,
            prefill=call.prefill,
        )

    # after the function

    async def _close(self, turn: RunningTurn, call: Call) -> None:
        try:
            await call.aclose()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - around the chat function's own clean-up
            logger.warning("chat %r did not close cleanly in turn %s: %r", turn.chat.options.name, turn.turn_id, error)

    def _failure(self, turn: RunningTurn, error: BaseException) -> TurnError:
        error_id = self._parts.new_id("e_")
        if (shown := shown_error(error, error_id)) is not None:
            return shown
        logger.error(
            "chat function %r failed in turn %s (%s)", turn.chat.options.name, turn.turn_id, error_id, exc_info=error
        )
        code = error.code if isinstance(error, ChatserveError) else ChatFunctionError.code
        if isinstance(error, AnswerTooLarge):
            return TurnError(code, error.detail, error_id)
        detail = _text_of(error) if self._parts.settings.debug else "the chat function failed"
        return TurnError(code, detail, error_id)

    def remember(self, turn: RunningTurn, messages: tuple[Message, ...]) -> None:
        """Cache the answer of an ended turn for the next history, and for its example."""
        example = turn.request.call.example
        if turn.turn.status == "completed" and example is not None:
            parsed = tuple(ParsedMessage(m.role, m.content, m.metadata, m.options) for m in messages)
            self._kept_answers[turn.chat.options.name, example] = AnswerSnapshot(parsed)
        prompt, session_id = turn.user_message, turn.room.session_id
        if prompt is None or turn.started_at is None or turn.room.is_stateless:
            return
        if messages or (turn.turn.status == "completed" and prompt.status is None):
            self._histories.extend(session_id, turn.parent_id, (prompt, *messages))
        else:
            self._histories.forget(session_id)  # the store changed the user's message

    def _kept_answer(self, turn: RunningTurn) -> AnswerSnapshot | None:
        """Return the cached answer to the turn's example, if there is one. The cache has at most one per example."""
        example, options = turn.request.call.example, turn.chat.options
        if example is None or not options.cache_examples:
            return None
        return self._kept_answers.get((options.name, example))


async def _said_at_once(answer: AnswerSnapshot) -> AsyncIterator[Batch]:
    yield Batch([(answer,)])


def _in_loop(hear: Callable[[Report], None]) -> Callable[[Report], None]:
    """Return a function for any thread that calls `hear` in this one."""
    loop, thread_id = asyncio.get_running_loop(), threading.get_ident()

    def hear_anywhere(report: Report) -> None:
        if threading.get_ident() == thread_id:
            hear(report)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no readers are left
            loop.call_soon_threadsafe(hear, report)

    return hear_anywhere


def _text_of(error: BaseException) -> str:
    try:
        return clean_text(f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - the error has no text
        return type(error).__name__


def _gradio_key(request: TurnRequest) -> str | None:
    """Return what Gradio's clients call the session, which functions written for Gradio may use as a key."""
    return request.call.session_key if request.protocol == "gradio" else None


def _session_view(session: Session | None) -> SessionView:
    if session is None:
        return SessionView(None, None, {}, {})
    return SessionView(
        session.session_id, session.title, copy.deepcopy(session.metadata), copy.deepcopy(dict(session.state))
    )
