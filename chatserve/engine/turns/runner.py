"""Runs one turn's function and takes down what it says.

What it says goes on in `chatserve.engine.log.speech`. This is the one place that catches whatever the developer's code
raises; every way it can end becomes a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

from chatserve.answers.draft import MessageDraft
from chatserve.chat_function import Call, Chat, ChatContext, Report, SessionView
from chatserve.chat_function.async_call import AsyncCall
from chatserve.chat_function.call import Batch, Interpret
from chatserve.chat_function.threads import Threads
from chatserve.codec import clean_json, clean_text
from chatserve.contracts.files import FileKeeper
from chatserve.contracts.formats import (
    AnswerSnapshot,
    AnswerView,
    Interpreter,
    MessageAppended,
    Output,
    ParsedMessage,
    PartAppended,
)
from chatserve.contracts.store import Store
from chatserve.core.errors import (
    AnswerInvalid,
    AnswerTooLarge,
    ChatError,
    ChatFunctionError,
    ChatserveError,
    FileUnknown,
)
from chatserve.core.types import FilePart, Json, LocalFile, Message, Session, StoredFile, TurnError
from chatserve.engine.log.speech import GIVE_WAY_S, REST_EVERY, REST_S, Speech, Teller
from chatserve.engine.sessions.attachments import Attachments
from chatserve.engine.sessions.histories import Histories
from chatserve.engine.turns.examples import ExampleCache
from chatserve.engine.turns.turn import RunningTurn
from chatserve.settings import Settings

logger = logging.getLogger("chatserve.engine")
Ids = Callable[[str], str]
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


class TurnRunner:
    """What it takes to run a function: history in its shape, files, threads, a way to make events known."""

    def __init__(
        self,
        store: Store,
        files: FileKeeper,
        histories: Histories,
        examples: ExampleCache,
        teller: Teller,
        new_interpreter: Callable[[], Interpreter],
        settings: Settings,
        clock: Callable[[], float],
        new_id: Ids,
    ) -> None:
        self._store = store
        self._attachments = Attachments(store)
        self._files = files
        self._histories = histories
        self._examples = examples
        self._teller = teller
        self._new_interpreter = new_interpreter
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self._warned: set[str] = set()
        self.threads = Threads()

    async def run(self, turn: RunningTurn) -> None:
        """Run the function to its end, whatever that is; `turn.failure` says why it failed, if it did.

        The hot loop stands in the task's outermost coroutine, since every other one around it would be resumed with
        every word.

        Raises:
            asyncio.CancelledError: the turn was ended by somebody else.
        """
        try:
            call, speech, interpret = await self._prepare(turn)
            items, teller, gives_way_at, given = speech.items, self._teller, 0.0, 0
            try:
                call.begin()
                async for item in call:
                    said = None if type(item) is str else await self._understood(turn, item, interpret)
                    if items and monotonic() >= gives_way_at:  # it may not have waited since it said them
                        given += 1
                        await asyncio.sleep(0 if given % REST_EVERY else REST_S)
                        gives_way_at = monotonic() + GIVE_WAY_S
                    if speech.is_behind:
                        await teller.catch_up(speech)
                    if speech.is_over or speech.error is not None:
                        break
                    was_silent = not items
                    if said is None:
                        items.append(item)
                    else:
                        items += said
                    if was_silent:
                        gives_way_at = teller.hear(speech) if speech.holds_until else teller.hear_first(speech)
            finally:
                await self._close(turn, call)
            await teller.tell_rest(speech)
            self._warn_of_rewrites(turn)
        except BaseException as error:  # around the chat function, whatever it raises: a cancel of its own making too
            if turn.closed and isinstance(error, asyncio.CancelledError):
                raise
            turn.failure = self._failure(turn, await self._last_error(turn, error))

    async def _understood(self, turn: RunningTurn, item: Any, interpret: Interpret) -> Sequence[Any]:
        """Return what is no plain string as items of a speech: interpreted, its files stored."""
        said = item if type(item) is Batch else (interpret(item),)
        if any(type(each) is tuple and any(map(_names_file, each)) for each in said):
            return [await self._with_stored_files(turn, each) if type(each) is tuple else each for each in said]
        return said

    async def _last_error(self, turn: RunningTurn, error: BaseException) -> BaseException:
        """Tell what the function said before it failed; return why it failed: what it said was no answer, or this."""
        speech = turn.speech
        if speech is None:
            return error
        if speech.error is None:
            try:
                await self._teller.tell_rest(speech)
            except Exception as wrong:  # noqa: BLE001 - what was said before is what it failed of
                speech.error = wrong
        return speech.error or error

    async def _prepare(self, turn: RunningTurn) -> tuple[Call, Speech, Interpret]:
        """Return the call of the function, and what its words go through."""
        log, task = turn.room.log, turn.task
        assert log is not None
        assert task is not None
        history = await self._history(turn)
        draft = turn.draft = MessageDraft(
            turn.turn,
            new_message_id=lambda: self._new_id("m_"),
            clock=self._clock,
            max_bytes=self._settings.max_answer_bytes,
        )
        speech = turn.speech = Speech(turn.turn_id, draft, log, turn.chat.options.yields, task.cancel)
        interpret = self._interpretation(turn.chat, turn.user_message, history)
        call = turn.call = self._call(turn, history, interpret)
        if turn.chat.signature.context is not None:
            call.when_reported(_in_loop(lambda report: self._hear_report(speech, report)))
        return call, speech, interpret

    def _hear_report(self, speech: Speech, report: Report) -> None:
        """Take what an async function, its other tasks and threads report."""
        if not speech.is_over:
            speech.items.append(report)
            if len(speech.items) == 1:
                self._teller.hear(speech)

    def _warn_of_rewrites(self, turn: RunningTurn) -> None:
        """Tell a developer once, while he develops, of yields that look like deltas but are taken for snapshots."""
        name, draft = turn.chat.options.name, turn.draft
        if self._settings.debug and draft is not None and draft.was_rewritten and name not in self._warned:
            self._warned.add(name)
            logger.warning(
                "chat %r yields texts that do not extend one another: each replaces the answer so far. "
                'If they are pieces to be appended, register it with yields="deltas"',
                name,
            )

    # before the function

    async def _history(self, turn: RunningTurn) -> list[Any]:
        options = turn.chat.options
        shape: dict[str, Any] = {
            "history": options.history,
            "multimodal": options.multimodal,
            "limit": options.history_limit,
        }
        if turn.room.is_stateless:
            history = self._histories.render_given(turn.request.history or (), **shape)
        else:
            history = await self._histories.render(turn.room.owner, turn.room.session_id, turn.parent_id, **shape)
        if turn.request.preface:
            history = self._histories.render_given(turn.request.preface, **shape) + history
        if turn.request.message.tool_results and turn.user_message is not None:
            history += self._histories.render_given((turn.user_message,), **shape)  # there is no text to pass instead
        return history

    def _interpretation(self, chat: Chat, user_message: Message | None, history: list[Any]) -> Interpret:
        """Return what gives values their meaning; it is put together when there is one that is no plain string."""
        first_entry = copy.copy(history[0]) if history else None  # the function may change its own
        count, normalize = len(history), None

        def interpret(value: object) -> tuple[Output, ...]:
            nonlocal normalize
            if normalize is None:
                message = self._message(chat, user_message)
                view = AnswerView(count, first_entry, message, chat.options.yields)
                normalize = partial(self._new_interpreter().normalize, view=view)
            return tuple(normalize(value))

        return interpret

    def _call(self, turn: RunningTurn, history: list[Any], interpret: Interpret) -> Call:
        turn.context = self._context(turn) if turn.chat.signature.context is not None else None
        kept = self._kept_answer(turn)
        if kept is not None:
            return AsyncCall(kept)
        return turn.chat.prepare(
            self._message(turn.chat, turn.user_message),
            history,
            turn.inputs,
            turn.context,
            turn.request.http_request,
            interpret=interpret,
            threads=self.threads,
        )

    def _kept_answer(self, turn: RunningTurn) -> AsyncIterator[Batch] | None:
        """Return the answer to an example, if it is kept."""
        example = turn.request.example
        if example is None or not turn.chat.options.cache_examples:
            return None
        kept = self._examples.get(turn.chat.options.name, example)
        return None if kept is None else _said_at_once(kept)

    def _message(self, chat: Chat, user_message: Message | None) -> Any:
        assert user_message is not None
        if not chat.options.multimodal:
            return user_message.text  # "" where a client sends tool results: they stand at the end of the history
        files = [part for part in user_message.content if isinstance(part, FilePart)]
        return {"text": user_message.text, "files": [self._files.path_of(part) for part in files]}

    def _context(self, turn: RunningTurn) -> ChatContext:
        request = turn.request
        return ChatContext(
            session=_session_view(turn.session),
            turn_id=turn.turn_id,
            user=request.owner,
            headers={name: value for name, value in request.headers.items() if name not in _PRIVATE_HEADERS},
            protocol=request.protocol,
            params=copy.deepcopy(dict(request.params)),
            tools=copy.deepcopy(request.tools),
            tool_results=tuple(request.message.tool_results),
        )

    # files in answers

    async def _with_stored_files(self, turn: RunningTurn, outputs: Sequence[Output]) -> Sequence[Output]:
        return [await self._with_stored_file(turn, output) for output in outputs]

    async def _with_stored_file(self, turn: RunningTurn, output: Output) -> Output:
        match output:
            case PartAppended(part=LocalFile() | FilePart() as file):
                return PartAppended(await self._stored_file(turn, file))
            case MessageAppended(message=message):
                return MessageAppended(await self._stored_content(turn, message))
            case AnswerSnapshot(messages=messages):
                return AnswerSnapshot(tuple([await self._stored_content(turn, message) for message in messages]))
            case _:
                return output

    async def _stored_content(self, turn: RunningTurn, message: ParsedMessage) -> ParsedMessage:
        if not any(isinstance(part, LocalFile | FilePart) for part in message.content):
            return message
        content = [
            await self._stored_file(turn, part) if isinstance(part, LocalFile | FilePart) else part
            for part in message.content
        ]
        return ParsedMessage(message.role, tuple(content), message.metadata, message.options)

    async def _stored_file(self, turn: RunningTurn, file: LocalFile | FilePart) -> FilePart:
        """Store a file, or look up the stored one that is named, once, however many snapshots of the answer name it."""
        known = turn.stored_files.get(file if isinstance(file, LocalFile) else file.file_id)
        if known is not None:
            return known
        if isinstance(file, LocalFile):
            return await self._store_file(turn, file)
        try:
            (found,) = await self._attachments.find(turn.room.owner, [file.file_id])
        except FileUnknown as error:
            raise AnswerInvalid(f"the answer names a file that is not there: {file.file_id!r:.200}") from error
        turn.stored_files[file.file_id] = found
        return found

    async def _store_file(self, turn: RunningTurn, file: LocalFile) -> FilePart:
        file_id = self._new_id("f_")
        name, media_type, size = await self._files.store_local(file_id, file)
        stored = StoredFile(
            file_id, turn.room.owner, turn.room.session_id or None, name, media_type, size, self._clock()
        )
        await self._store.add_file(stored)
        turn.stored_files[file] = stored.part
        return stored.part

    # after the function

    async def _close(self, turn: RunningTurn, call: Call) -> None:
        try:
            await call.aclose()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - around the chat function's own clean-up
            logger.warning("chat %r did not close cleanly in turn %s: %r", turn.chat.options.name, turn.turn_id, error)

    def _failure(self, turn: RunningTurn, error: BaseException) -> TurnError:
        error_id = self._new_id("e_")
        if isinstance(error, ChatError):
            return _shown(error, error_id)
        logger.error(
            "chat function %r failed in turn %s (%s)", turn.chat.options.name, turn.turn_id, error_id, exc_info=error
        )
        code = error.code if isinstance(error, ChatserveError) else ChatFunctionError.code
        if isinstance(error, AnswerTooLarge):
            return TurnError(code, error.detail, error_id)
        detail = _text_of(error) if self._settings.debug else "the chat function failed"
        return TurnError(code, detail, error_id)


async def _said_at_once(answer: AnswerSnapshot) -> AsyncIterator[Batch]:
    yield Batch([(answer,)])


def _in_loop(hear: Callable[[Report], None]) -> Callable[[Report], None]:
    """Return what may be called in any thread; `hear` is called in this one."""
    loop, thread_id = asyncio.get_running_loop(), threading.get_ident()

    def hear_anywhere(report: Report) -> None:
        if threading.get_ident() == thread_id:
            hear(report)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(hear, report)

    return hear_anywhere


def _names_file(output: Output) -> bool:
    match output:
        case PartAppended(part=part):
            return isinstance(part, LocalFile | FilePart)
        case MessageAppended(message=message):
            return any(isinstance(part, LocalFile | FilePart) for part in message.content)
        case AnswerSnapshot(messages=messages):
            return any(isinstance(part, LocalFile | FilePart) for message in messages for part in message.content)
        case _:
            return False


def _shown(error: ChatError, error_id: str) -> TurnError:
    """Return what the developer wants the client to see, whatever the attributes were set to."""
    code, detail = clean_text(str(error.code)), clean_text(str(error.detail))
    status_code = error.status_code if type(error.status_code) is int else ChatFunctionError.status_code
    return TurnError(code, detail, error_id, bool(error.retryable), status_code)


def _text_of(error: BaseException) -> str:
    try:
        return clean_text(f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - the error cannot even be told
        return type(error).__name__


def _session_view(session: Session | None) -> SessionView:
    if session is None:
        return SessionView(None, None, {}, {})
    return SessionView(
        session.session_id, session.title, copy.deepcopy(session.metadata), copy.deepcopy(dict(session.state))
    )


def changed_session(turn: RunningTurn) -> tuple[Mapping[str, Json] | None, str | None]:
    """Return the session's state and title, each if the function changed it; its values may be anything by now."""
    if turn.context is None or turn.session is None:
        return None, None
    try:
        view = turn.context.session
        state, title = clean_json(view.state), clean_json(view.title)
    except Exception:  # broken by the function, or changed by its thread at this moment
        logger.exception("the session's state could not be read in turn %s and stays as it was", turn.turn_id)
        return None, None
    return (
        state if state != turn.session.state and isinstance(state, dict) else None,
        title if title != turn.session.title and isinstance(title, str) else None,
    )
