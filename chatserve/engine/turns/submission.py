"""Accepts turn requests: each becomes a stored turn that runs or waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from chatserve.chat_function import Chat
from chatserve.contracts.turns import BeginTurn, BegunTurn, TurnRequest
from chatserve.core.errors import ChatUnknown, SessionBusy, ShuttingDown, VersionConflict
from chatserve.core.frozen import frozen, replace
from chatserve.core.types import Turn
from chatserve.engine.parts import EngineParts
from chatserve.engine.sessions.attachments import Attachments
from chatserve.engine.sessions.rooms import Room, Rooms
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.turns.answer_files import AnswerFiles
from chatserve.engine.turns.commits import NO_SESSION
from chatserve.engine.turns.lifecycle import TurnLifecycle
from chatserve.engine.turns.turn import Ending, RunningTurn

Place: TypeAlias = Literal["queued", "running"]


@frozen
class Checked:
    """A request that may become a turn."""

    request: TurnRequest
    chat: Chat
    inputs: dict[str, Any]


class Submission:
    """Accepts turns: checks requests, ends other turns if `when_busy` says so, begins the turn in one transaction."""

    def __init__(
        self,
        parts: EngineParts,
        lifecycle: TurnLifecycle,
        rooms: Rooms,
        attachments: Attachments,
        files: AnswerFiles,
        tasks: OwnedTasks,
    ) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._rooms = rooms
        self._attachments = attachments
        self._files = files
        self._tasks = tasks

    def chat(self, name: str) -> Chat:
        """Return a chat. Raises: ChatUnknown."""
        chats: Mapping[str, Chat] = self._parts.chats
        try:
            return chats[name]
        except KeyError:
            known = ", ".join(chats)
            raise ChatUnknown(f"no chat is named {name!r}; there are: {known}", chats=list(chats)) from None

    async def submit(self, request: TurnRequest) -> RunningTurn:
        """Accept a turn: when this returns, the turn is stored, and runs or waits.

        Raises:
            RequestError: the client must change the request; nothing was stored.
            StoreError: the store failed; nothing was stored.
        """
        if self._lifecycle.is_draining:
            raise ShuttingDown("the server is about to stop; try again in a moment")
        chat = self.chat(request.call.chat)
        inputs = chat.check_inputs(request.call.inputs)
        self._lifecycle.check_left_running()
        await chat.validate(request.call.text, inputs)
        checked = Checked(await self._with_known_files(request), chat, inputs)
        accepted: asyncio.Future[RunningTurn] = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._carry(checked, accepted), name="chatserve-turn")
        return await accepted

    async def _with_known_files(self, request: TurnRequest) -> TurnRequest:
        """Return the request with the details of its files from the store. Raises: FileUnknown, AnswerInvalid."""
        call, owner = request.call, request.owner
        if call.files or call.local_files:
            known = await self._attachments.find(owner, [file.file_id for file in call.files])
            files = (*known, *[await self._files.store(owner, None, file) for file in call.local_files])
            request = replace(request, call=replace(call, files=files))
        if request.history:
            request = replace(request, history=await self._attachments.check(owner, request.history))
        return request

    async def _carry(self, checked: Checked, accepted: asyncio.Future[RunningTurn]) -> None:
        """Accept a turn and run it to its function's end, in the turn's own task and the submitter's context.

        The caller that waits for `accepted` may be cancelled. This task may not, or a turn could be half begun.
        """
        try:
            turn = await self._enter(checked)
        except asyncio.CancelledError:  # the server stops
            accepted.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised in the waiting caller, if it still waits
            if not accepted.done():
                accepted.set_exception(error)
            return
        if not accepted.done():
            accepted.set_result(turn)
        if turn.task is asyncio.current_task():
            await self._lifecycle.live(turn)

    async def _enter(self, checked: Checked) -> RunningTurn:
        """Accept the turn in its session's room, or a stateless turn in a new room."""
        request = checked.request
        if not request.session_id:
            return self._enter_alone(checked)
        async with self._rooms.locked(request.owner, request.session_id) as room:
            return await self._enter_room(room, checked)

    def _enter_alone(self, checked: Checked) -> RunningTurn:
        """Accept a stateless turn."""
        request, call, parts = checked.request, checked.request.call, self._parts
        status = self._lifecycle.admissions[call.chat].take(waits=False)
        now = parts.clock()
        message = call.message(parts.new_id("m_"), now)
        turn = Turn(parts.new_id("t_"), "", call.chat, status, message.message_id, now, echo=call.echo)
        return self._accept(checked, self._rooms.stateless(request.owner), BegunTurn(NO_SESSION, turn, message))

    async def _enter_room(self, room: Room, checked: Checked) -> RunningTurn:
        when_busy = checked.request.call.when_busy or checked.chat.options.when_busy
        rolled_back = None
        if room.is_busy and when_busy in ("interrupt", "rollback"):
            replayed = await self._replayed(room, checked)
            if replayed is not None:
                return replayed
            checked = await self._at_version(room, checked)
            rolled_back = await self._make_way(room, when_busy)
        if room.is_busy and when_busy != "queue":
            return await self._begin(room, checked, "running")  # a replay, or SessionBusy
        admission = self._lifecycle.admissions[checked.request.call.chat]
        status = admission.take(waits=room.is_busy)
        try:
            turn = await self._begin(room, checked, status, rolled_back)
        except BaseException:
            admission.give_back(status)
            self._lifecycle.call_waiting()
            raise
        if turn.replayed:
            admission.give_back(status)
            self._lifecycle.call_waiting()
        return turn

    async def _at_version(self, room: Room, checked: Checked) -> Checked:
        """Check the version that a request requires, before other turns are ended for it. Raises: VersionConflict."""
        request = checked.request
        wanted = request.call.if_version
        if wanted is None:
            return checked
        session = await self._parts.store.get_session(room.owner, room.session_id)
        if session.version != wanted:
            raise VersionConflict(
                f"session {room.session_id!r} is at version {session.version}, not {wanted}", version=session.version
            )
        return replace(checked, request=replace(request, call=replace(request.call, if_version=None)))

    async def _replayed(self, room: Room, checked: Checked) -> RunningTurn | None:
        if checked.request.idempotency is None:
            return None
        with contextlib.suppress(SessionBusy):
            return await self._begin(room, checked, "running")
        return None

    async def _make_way(self, room: Room, when_busy: str) -> str | None:
        """End the running and waiting turns of the room; return the id of the turn to roll back, if any."""
        running = room.running
        for turn in self._lifecycle.turns.turns_in(room)[::-1]:  # waiting turns first, so that none of them starts
            await self._lifecycle.end(turn, Ending("interrupted", "superseded"))
        return running if when_busy == "rollback" else None

    async def _begin(self, room: Room, checked: Checked, status: Place, rolled_back: str | None = None) -> RunningTurn:
        """Store the turn and register it. Raises: what `Store.begin_turn` raises."""
        request, call, parts = checked.request, checked.request.call, self._parts
        now, message = parts.clock(), None
        if call.operation != "retry":
            message = call.message(parts.new_id("m_"), now)
        begin = BeginTurn(request, parts.new_id("t_"), status, message, now, request.new_session, rolled_back)
        begun = await parts.store.begin_turn(begin)
        if begun.replayed:
            return await self._known_turn(checked, begun)
        room.open_log(begun.session.last_seq)
        return self._accept(checked, room, begun)

    def _accept(self, checked: Checked, room: Room, begun: BegunTurn) -> RunningTurn:
        request, chat, inputs = checked.request, checked.chat, checked.inputs
        turn = RunningTurn(begun.turn, room, chat, request, inputs, begun.user_message, begun.parent_id)
        self._lifecycle.accept(turn, begun)
        return turn

    async def _known_turn(self, checked: Checked, begun: BegunTurn) -> RunningTurn:
        """Return the turn of an idempotency key, which may belong to another session than this request's."""
        request, turn_id = checked.request, begun.turn.turn_id
        known = self._lifecycle.turns.find(request.owner, turn_id)
        if known is not None:
            known.replayed = True
            return known
        record = await self._parts.store.get_turn(request.owner, turn_id)
        with self._rooms.use(request.owner, begun.session.session_id) as room:
            room.open_log(begun.session.last_seq)
            request = replace(request, http_request=None)
            turn = RunningTurn(record.turn, room, checked.chat, request, {}, record.user_message, None)
        turn.closed = turn.replayed = True
        turn.end(record.turn, record.messages)
        return turn
