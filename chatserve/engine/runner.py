"""Runs one turn's function and turns what it says into events: the hot path of the server.

`yield` → batch (`chatserve.chat_function`) → draft → log → readers. This is the one place where whatever the developer's
code raises is caught; every way it can end becomes a value.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chatserve.chat_function import Call, ChatContext, Report, SessionView
from chatserve.chat_function.threads import Threads
from chatserve.codec import clean_json
from chatserve.contracts import (
    AnswerSnapshot,
    AnswerView,
    FileKeeper,
    Interpreter,
    MessageAppended,
    Output,
    ParsedMessage,
    PartAppended,
    Store,
)
from chatserve.draft import MessageDraft
from chatserve.engine.histories import Histories
from chatserve.engine.journal import Journal
from chatserve.engine.turn import RunningTurn, interpretation
from chatserve.errors import AnswerTooLarge, ChatError, ChatFunctionError, ChatserveError
from chatserve.events import Event, StatusReported
from chatserve.settings import Settings
from chatserve.types import FilePart, Json, LocalFile, Session, StoredFile, TurnError

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
        journal: Journal,
        new_interpreter: Callable[[], Interpreter],
        settings: Settings,
        clock: Callable[[], float],
        new_id: Ids,
    ) -> None:
        self._store = store
        self._files = files
        self._histories = histories
        self._journal = journal
        self._new_interpreter = new_interpreter
        self._settings = settings
        self._clock = clock
        self._new_id = new_id
        self.threads = Threads()

    async def run(self, turn: RunningTurn) -> TurnError | None:
        """Run the function to its end, whatever that is; return why it failed, or None.

        Raises:
            asyncio.CancelledError: the turn was ended by somebody else.
        """
        try:
            await self._drive(turn)
        except ChatError as error:
            return TurnError(error.code, error.detail, self._new_id("e_"), error.retryable, error.status_code)
        except asyncio.CancelledError as error:
            if turn.closed or _is_cancelled():
                raise
            return self._failure(turn, error)  # raised by the function itself
        except BaseException as error:  # noqa: BLE001 - around the chat function, whatever it raises
            return self._failure(turn, error)
        return None

    async def _drive(self, turn: RunningTurn) -> None:
        history = await self._history(turn)
        turn.draft = MessageDraft(
            turn.turn,
            new_message_id=lambda: self._new_id("m_"),
            clock=self._clock,
            max_bytes=self._settings.max_answer_bytes,
        )
        call = turn.call = self._prepare(turn, history)
        try:
            call.begin()
            async for batch in call:
                if turn.closed:
                    break
                await self._take(turn, batch)
        finally:
            await self._close(turn, call)

    async def _take(self, turn: RunningTurn, batch: Sequence[Any]) -> None:
        """Let a batch of what the function said become events. Strings are the common case."""
        draft, log = turn.draft, turn.room.log
        assert draft is not None and log is not None
        take_text = draft.append_text if turn.chat.options.yields == "deltas" else draft.snapshot_text
        events: list[Event] = []
        try:
            for item in batch:
                if turn.closed:
                    break
                if type(item) is str:
                    events.extend(take_text(item))
                elif type(item) is Report:
                    events.extend(_reported(draft, item))
                elif any(map(_names_local_file, item)):
                    log.append(turn.turn_id, events)
                    events = []
                    outputs = await self._with_stored_files(turn, item)
                    events.extend(() if turn.closed else draft.apply(outputs))
                else:
                    events.extend(draft.apply(item))
        finally:
            log.append(turn.turn_id, events)  # with what was said before an exception
        await self._journal.publish(log)

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
        if turn.request.message.tool_results and turn.user_message is not None:
            history += self._histories.render_given((turn.user_message,), **shape)  # there is no text to pass instead
        return history

    def _prepare(self, turn: RunningTurn, history: list[Any]) -> Call:
        message = self._message(turn)
        options = turn.chat.options
        first_entry = copy.copy(history[0]) if history else None  # the function may change its own
        view = AnswerView(len(history), first_entry, message, options.yields, turn.chat.is_generator)
        turn.context = self._context(turn)
        return turn.chat.prepare(
            copy.deepcopy(message),
            history,
            turn.inputs,
            turn.context,
            turn.request.http_request,
            interpret=interpretation(self._new_interpreter(), view),
            threads=self.threads,
        )

    def _message(self, turn: RunningTurn) -> Any:
        user_message = turn.user_message
        assert user_message is not None
        if not turn.chat.options.multimodal:
            return user_message.text  # "" where a client sends tool results: they stand at the end of the history
        files = [part for part in user_message.content if isinstance(part, FilePart)]
        return {"text": user_message.text, "files": [self._files.path_of(part.file_id) for part in files]}

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
            case PartAppended(part=LocalFile() as file):
                return PartAppended(await self._store_file(turn, file))
            case MessageAppended(message=message):
                return MessageAppended(await self._stored_content(turn, message))
            case AnswerSnapshot(messages=messages):
                return AnswerSnapshot(tuple([await self._stored_content(turn, message) for message in messages]))
            case _:
                return output

    async def _stored_content(self, turn: RunningTurn, message: ParsedMessage) -> ParsedMessage:
        if not any(isinstance(part, LocalFile) for part in message.content):
            return message
        content = [await self._store_file(turn, p) if isinstance(p, LocalFile) else p for p in message.content]
        return ParsedMessage(message.role, tuple(content), message.metadata, message.options)

    async def _store_file(self, turn: RunningTurn, file: LocalFile) -> FilePart:
        """Store a file once, however many snapshots of the answer name it."""
        known = turn.stored_files.get(file)
        if known is not None:
            return known
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
        logger.error(
            "chat function %r failed in turn %s (%s)", turn.chat.options.name, turn.turn_id, error_id, exc_info=error
        )
        code = error.code if isinstance(error, ChatserveError) else ChatFunctionError.code
        if isinstance(error, AnswerTooLarge):
            return TurnError(code, error.detail, error_id)
        detail = f"{type(error).__name__}: {error}" if self._settings.debug else "the chat function failed"
        return TurnError(code, detail, error_id)


def _names_local_file(output: Output) -> bool:
    match output:
        case PartAppended(part=part):
            return isinstance(part, LocalFile)
        case MessageAppended(message=message):
            return any(isinstance(part, LocalFile) for part in message.content)
        case AnswerSnapshot(messages=messages):
            return any(isinstance(part, LocalFile) for message in messages for part in message.content)
        case _:
            return False


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _session_view(session: Session | None) -> SessionView:
    if session is None:
        return SessionView(None, None, {}, {})
    return SessionView(
        session.session_id, session.title, copy.deepcopy(session.metadata), copy.deepcopy(dict(session.state))
    )


def _reported(draft: MessageDraft, report: Report) -> Sequence[Event]:
    if report.usage is not None:
        draft.usage = report.usage
        return ()
    return (StatusReported(clean_json(report.text), clean_json(report.done), clean_json(report.total)),)


def changed_state(turn: RunningTurn) -> Mapping[str, Json] | None:
    """Return the session's state if the function changed it, as clean JSON."""
    if turn.context is None or turn.session is None:
        return None
    state = clean_json(turn.context.session.state)
    return state if state != turn.session.state and isinstance(state, dict) else None


def changed_title(turn: RunningTurn) -> str | None:
    """Return the session's title if the function changed it."""
    if turn.context is None or turn.session is None:
        return None
    title = clean_json(turn.context.session.title)
    return title if title != turn.session.title and isinstance(title, str) else None
