"""Performs the steps of a wire format's handler: each step is one call of the engine or the store."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from starlette.requests import Request

from chatserve.codec import clean_json
from chatserve.contracts.formats import ParsedMessage
from chatserve.contracts.store import SessionChanges
from chatserve.contracts.turns import NewSession, TurnCall, TurnRecord, TurnRequest
from chatserve.contracts.wire import (
    ChangeSession,
    CreateSession,
    DeleteSession,
    FindFiles,
    FindFirstSeq,
    FindLastTurn,
    FindMessage,
    FindSession,
    FindTurn,
    ForgetTurn,
    Handling,
    KeepFile,
    Pause,
    RawRequest,
    ReadBranch,
    ReplaceHistory,
    Reply,
    StartedTurn,
    Step,
    StopSession,
    StopTurn,
    Submit,
    Wait,
    WakeReaders,
)
from chatserve.core.errors import (
    BodyTooLarge,
    ChatserveError,
    StoreError,
)
from chatserve.core.types import FilePart, Message, Session, StoredFile
from chatserve.engine import RunningTurn, TurnEngine
from chatserve.routes.files import clean_name
from chatserve.routes.http.given import (
    NOWHERE,
    Asked,
    SessionPlace,
    linked_messages,
    place_of_key,
    turn_request,
)
from chatserve.routes.http.requests import owner_of
from chatserve.routes.streams.waiting import ClientLeft, wait_for_end
from chatserve.stores.file_folder import FileFolder


class Exchange:
    """One request of a wire format, and the steps performed for it."""

    def __init__(
        self,
        engine: TurnEngine,
        files: FileFolder,
        format_name: str,
        request: Request,
        raw: RawRequest,
    ) -> None:
        self.submitted: dict[str, RunningTurn] = {}
        self._engine = engine
        self._files = files
        self._format_name = format_name
        self._request = request
        self._raw = raw
        self._owner = owner_of(request)

    async def run(self, handling: Handling) -> Reply:
        """Perform a handler's steps until it replies. Raises: what the handler does not catch."""
        try:
            step = next(handling)
            while True:
                try:
                    outcome = await self._perform(step)
                except ChatserveError as error:
                    step = handling.throw(error)
                else:
                    step = handling.send(outcome)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
        finally:
            handling.close()

    @property
    def headers(self) -> dict[str, str]:
        """The response headers about the turn that the request started."""
        turn = next(iter(self.submitted.values()), None)
        if turn is None:
            return {}
        headers = {"x-turn-id": turn.turn_id, "x-session-id": turn.room.session_id}
        if turn.replayed and turn.request.http_request is not self._request:
            headers["idempotency-replayed"] = "true"
        return {name: value for name, value in headers.items() if value}

    async def _perform(self, step: Step) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line per step
        match step:
            case Submit(call):
                return await self._submit(call)
            case Wait(turn_id):
                return await self._wait(turn_id)
            case FindTurn(turn_id):
                return await self._engine.get_turn(self._owner, turn_id)
            case StopTurn(turn_id):
                return await self._engine.stop_turn(self._owner, turn_id)
            case ForgetTurn(turn_id):
                return await self._engine.forget_turn(self._owner, turn_id)
            case StopSession(key):
                await self._engine.stop_session(self._owner, self._place(key).session_id)
            case FindSession(key):
                return await self._engine.store.get_session(self._owner, self._place(key).session_id)
            case ReadBranch(key, head):
                return await self._read_branch(self._place(key).session_id, head)
            case FindMessage(message_id):
                return await self._engine.store.get_message(self._owner, message_id)
            case CreateSession():
                return await self._create_session(step)
            case ChangeSession(key, metadata):
                return await self._change_session(self._place(key).session_id, metadata)
            case ReplaceHistory(key, history):
                return await self._replace_history(self._place(key).session_id, history)
            case DeleteSession(key):
                await self._engine.sessions.delete(self._owner, self._place(key).session_id, if_version=None)
            case KeepFile():
                return await self._keep_file(step)
            case FindFiles(file_ids):
                return await self._engine.attachments.find(self._owner, file_ids)
            case FindLastTurn(key):
                return await self._engine.store.last_turn(self._owner, self._place(key).session_id)
            case FindFirstSeq(key):
                return (await self._engine.store.read_events(self._place(key).session_id, after=0, limit=1)).first_seq
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case WakeReaders(key, delay_s):
                self._engine.readers.wake_later(self._owner, self._place(key).session_id, delay_s)
        return None

    def _place(self, key: str) -> SessionPlace:
        return place_of_key(key, self._format_name, self._engine.settings, self._owner)

    # turns

    async def _submit(self, call: TurnCall) -> StartedTurn:
        turn = await self._engine.submit(self._turn_request(call))
        self.submitted[turn.turn_id] = turn
        first_seq = turn.log.first_seq_of(turn.turn)
        return StartedTurn(turn.turn_id, turn.room.session_id, turn.turn.created_at, first_seq)

    def _turn_request(self, call: TurnCall) -> TurnRequest:
        asked = Asked(self._request, self._raw.body, self._format_name)
        return turn_request(self._engine, asked, call, self._place_of(call))

    def _place_of(self, call: TurnCall) -> SessionPlace:
        if not call.is_kept:
            return NOWHERE
        if call.session_key is None:
            return SessionPlace(self._engine.new_id("s_"), "fresh")
        return self._place(call.session_key)

    async def _wait(self, turn_id: str) -> TurnRecord:
        turn = self.submitted[turn_id]
        await wait_for_end(self._engine, self._request, turn)
        if turn.record is None:
            raise ClientLeft("the client left before the turn's end")
        return turn.record

    # sessions

    async def _read_branch(self, session_id: str, head: str | None) -> tuple[Message, ...]:
        session = await self._engine.store.get_session(self._owner, session_id)
        return await self._engine.store.read_branch(self._owner, session_id, head or session.head)

    async def _create_session(self, step: CreateSession) -> Session:
        engine = self._engine
        messages = await engine.attachments.check(self._owner, linked_messages(step.history, engine))
        metadata = clean_json(step.metadata)
        new = NewSession(engine.new_id("s_"), self._owner, step.title, metadata, messages=messages)
        return await engine.store.create_session(new, now=engine.clock())

    async def _change_session(self, session_id: str, metadata: Mapping[str, Any]) -> Session:
        changes = SessionChanges(metadata=clean_json(metadata))
        return await self._engine.store.update_session(self._owner, session_id, changes, now=self._engine.clock())

    async def _replace_history(self, session_id: str, history: tuple[ParsedMessage | Message, ...]) -> Session:
        messages = linked_messages(history, self._engine)
        moved = await self._engine.sessions.move_history(self._owner, session_id, "replace", None, messages)
        return moved.session

    # files

    async def _keep_file(self, step: KeepFile) -> FilePart:
        """Store bytes under an id derived from them, because clients send the same picture with every turn."""
        store, limit = self._engine.store, self._engine.settings.max_upload_bytes
        if len(step.content) > limit:
            raise BodyTooLarge(f"a file in the request is larger than {limit} bytes", max_bytes=limit)
        name = clean_name(step.name)
        said = "\0".join((self._owner, name, step.media_type)).encode("utf-8", "replace")
        digest = sha256(sha256(said).digest() + step.content).digest()
        file_id = f"f_{urlsafe_b64encode(digest[:18]).decode()}"
        await self._files.write_as(file_id, name, step.content)
        if not await store.known_files([file_id]):
            await self._record_file(
                StoredFile(file_id, self._owner, None, name, step.media_type, len(step.content), self._engine.clock())
            )
        (found,) = await store.get_files(self._owner, [file_id])
        return found.part

    async def _record_file(self, file: StoredFile) -> None:
        """Record a file, unless another request records it at the same moment. Raises: StoreError."""
        try:
            await self._engine.store.add_file(file)
        except StoreError:
            if not await self._engine.store.known_files([file.file_id]):
                raise
