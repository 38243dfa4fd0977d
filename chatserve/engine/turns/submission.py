"""The way in: from a decoded request to a turn that is written down, and runs or waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from chatserve.chat_function import Chat
from chatserve.contracts.store import Store
from chatserve.contracts.turns import BeginTurn, BegunTurn, TurnRequest
from chatserve.core.errors import ChatUnknown, QueueFull, SessionBusy, ShuttingDown, VersionConflict
from chatserve.core.types import Message, Turn
from chatserve.engine.sessions.attachments import Attachments
from chatserve.engine.sessions.room import Room
from chatserve.engine.sessions.rooms import Rooms
from chatserve.engine.tasks import OwnedTasks
from chatserve.engine.turns.admission import Admission
from chatserve.engine.turns.commits import NO_SESSION
from chatserve.engine.turns.lifecycle import TurnLifecycle
from chatserve.engine.turns.turn import RunningTurn
from chatserve.settings import Settings


class Submission:
    """Accepts turns: checks the request, makes way where the session is busy, begins the turn in one transaction."""

    def __init__(
        self,
        store: Store,
        lifecycle: TurnLifecycle,
        rooms: Rooms,
        attachments: Attachments,
        tasks: OwnedTasks,
        chats: Mapping[str, Chat],
        settings: Settings,
        clock: Callable[[], float],
        new_id: Callable[[str], str],
    ) -> None:
        self._store = store
        self._lifecycle = lifecycle
        self._rooms = rooms
        self._attachments = attachments
        self._tasks = tasks
        self._chats = chats
        self._settings = settings
        self._clock = clock
        self._new_id = new_id

    def chat(self, name: str) -> Chat:
        """Return a chat. Raises: ChatUnknown."""
        try:
            return self._chats[name]
        except KeyError:
            known = ", ".join(self._chats)
            raise ChatUnknown(f"no chat is named {name!r}; there are: {known}", chats=list(self._chats)) from None

    async def submit(self, request: TurnRequest) -> RunningTurn:
        """Accept a turn: when this returns, it is stored, and runs or waits.

        Raises:
            RequestError: anything the client must change; nothing was stored.
            StoreError: the store failed; nothing was stored.
        """
        if self._lifecycle.is_draining:
            raise ShuttingDown("the server is about to stop; try again in a moment")
        call = request.call
        chat = self.chat(call.chat)
        inputs = chat.check_inputs(call.inputs)
        self._lifecycle.check_left_running()
        await chat.validate(call.text, inputs)
        request = await self._with_known_files(request)
        accepted: asyncio.Future[RunningTurn] = asyncio.get_running_loop().create_future()
        self._tasks.spawn(self._carry(chat, request, inputs, accepted), name="chatserve-turn")
        return await accepted

    async def _with_known_files(self, request: TurnRequest) -> TurnRequest:
        """Return the request with what the store knows of the files it names. Raises: FileUnknown."""
        call, owner = request.call, request.owner
        if call.files:
            files = await self._attachments.find(owner, [file.file_id for file in call.files])
            request = replace(request, call=replace(call, files=files))
        if request.history:
            request = replace(request, history=await self._attachments.check(owner, request.history))
        return request

    async def _carry(
        self, chat: Chat, request: TurnRequest, inputs: dict[str, Any], accepted: asyncio.Future[RunningTurn]
    ) -> None:
        """Be a turn's task, from its acceptance to its function's end.

        Whoever waits for `accepted` may be cancelled; this may not, for it would leave a turn half begun.
        """
        try:
            turn = await self._enter(chat, request, inputs)
        except asyncio.CancelledError:  # the server ends
            accepted.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits, if somebody still does
            if not accepted.done():
                accepted.set_exception(error)
            return
        if not accepted.done():
            accepted.set_result(turn)
        if turn.task is asyncio.current_task():
            await self._lifecycle.run(turn)

    async def _enter(self, chat: Chat, request: TurnRequest, inputs: dict[str, Any]) -> RunningTurn:
        """Accept the turn in its session's room, or in none."""
        if not request.session_id:
            return self._submit_stateless(chat, request, inputs)
        async with self._rooms.locked(request.owner, request.session_id) as room:
            return await self._submit_in(room, chat, request, inputs)

    def _submit_stateless(self, chat: Chat, request: TurnRequest, inputs: dict[str, Any]) -> RunningTurn:
        admission = self._lifecycle.admissions[chat.options.name]
        status = self._place(admission, waits=not admission.has_slot())
        room = Room(request.owner, "")
        room.open_log(0)
        now = self._clock()
        message = Message(self._new_id("m_"), "user", request.call.parts, now)
        record = Turn(
            self._new_id("t_"), "", chat.options.name, status, message.message_id, now, echo=request.call.echo
        )
        begun = BegunTurn(NO_SESSION, record, message, None)
        return self._lifecycle.accept(RunningTurn(record, room, chat, request, inputs, message, None), begun)

    def _place(self, admission: Admission[RunningTurn], *, waits: bool) -> Literal["queued", "running"]:
        """Take a slot, or see that there is room in the queue. Raises: QueueFull."""
        if not waits:
            admission.enter()
            return "running"
        if admission.queue_is_full:
            raise QueueFull(
                f"{len(admission.waiting)} turns wait already; try again later", max_queue=admission.max_queue
            )
        admission.expected += 1
        return "queued"

    async def _submit_in(self, room: Room, chat: Chat, request: TurnRequest, inputs: dict[str, Any]) -> RunningTurn:
        when_busy = request.call.when_busy or chat.options.when_busy
        rolled_back = None
        if room.is_busy and when_busy in ("interrupt", "rollback"):
            replayed = await self._replayed(room, chat, request, inputs)
            if replayed is not None:
                return replayed
            request = await self._at_version(room, request)
            rolled_back = await self._make_way(room, when_busy)
        if room.is_busy and when_busy != "queue":
            return await self._begin(room, chat, request, inputs, "running")  # a replay, or SessionBusy
        admission = self._lifecycle.admissions[chat.options.name]
        status = self._place(admission, waits=room.is_busy or not admission.has_slot())
        try:
            turn = await self._begin(room, chat, request, inputs, status, rolled_back)
        except BaseException:
            self._give_back(admission, status)
            raise
        if turn.replayed:
            self._give_back(admission, status)
        return turn

    def _give_back(self, admission: Admission[RunningTurn], status: Literal["queued", "running"]) -> None:
        """Give back what `_place` took for a turn that did not come to be."""
        if status == "running":
            admission.leave()
            self._lifecycle.start_waiting(admission)
        else:
            admission.expected -= 1

    async def _at_version(self, room: Room, request: TurnRequest) -> TurnRequest:
        """Check the version a request is meant for before anything is ended for it. Raises: VersionConflict."""
        wanted = request.call.if_version
        if wanted is None:
            return request
        session = await self._store.get_session(room.owner, room.session_id)
        if session.version != wanted:
            raise VersionConflict(
                f"session {room.session_id!r} is at version {session.version}, not {wanted}", version=session.version
            )
        return replace(request, call=replace(request.call, if_version=None))

    async def _replayed(
        self, room: Room, chat: Chat, request: TurnRequest, inputs: dict[str, Any]
    ) -> RunningTurn | None:
        if request.idempotency is None:
            return None
        with contextlib.suppress(SessionBusy):
            return await self._begin(room, chat, request, inputs, "running")
        return None

    async def _make_way(self, room: Room, when_busy: str) -> str | None:
        """End what runs and waits in the room; return the turn to roll back."""
        for turn in list(room.queue):
            await self._lifecycle.end(turn, "interrupted", "superseded")
        current = room.current
        if current is None:
            return None
        await self._lifecycle.end(current, "interrupted", "superseded")
        return current.turn_id if when_busy == "rollback" else None

    async def _begin(
        self,
        room: Room,
        chat: Chat,
        request: TurnRequest,
        inputs: dict[str, Any],
        status: Literal["queued", "running"],
        rolled_back: str | None = None,
    ) -> RunningTurn:
        """Write the turn down, and let it run or wait. Raises: what `Store.begin_turn` raises."""
        begun = await self._store.begin_turn(self._begin_turn(request, status, rolled_back))
        if begun.replayed:
            return await self._known_turn(chat, request, begun)
        room.open_log(begun.session.last_seq)
        turn = RunningTurn(begun.turn, room, chat, request, inputs, begun.user_message, begun.parent_id)
        return self._lifecycle.accept(turn, begun)

    def _begin_turn(
        self, request: TurnRequest, status: Literal["queued", "running"], rolled_back: str | None
    ) -> BeginTurn:
        call, now = request.call, self._clock()
        message = None
        if call.operation != "retry":
            message = Message(self._new_id("m_"), "tool" if call.tool_results else "user", call.parts, now)
        return BeginTurn(request, self._new_id("t_"), status, message, now, request.new_session, rolled_back)

    async def _known_turn(self, chat: Chat, request: TurnRequest, begun: BegunTurn) -> RunningTurn:
        """Return the turn that an idempotency key stands for. Its session may be another than this request's own."""
        known = self._lifecycle.turns.get(begun.turn.turn_id)
        if known is not None:
            known.replayed = True
            return known
        record = await self._store.get_turn(request.owner, begun.turn.turn_id)
        request = replace(request, http_request=None)
        with self._rooms.use(request.owner, begun.session.session_id) as room:
            room.open_log(begun.session.last_seq)
            turn = RunningTurn(
                record.turn,
                room,
                chat,
                request,
                {},
                record.user_message,
                None,
                closed=True,
                replayed=True,
                record=record,
            )
        turn.ended.set()
        return turn
