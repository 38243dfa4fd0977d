"""Files in answers: stores new files of chat functions, and looks up files that they name by id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from anyio import to_thread

from chatserve.contracts.files import FileKeeper
from chatserve.contracts.formats import AnswerSnapshot, MessageAppended, Output, ParsedMessage, PartAppended
from chatserve.contracts.store import Store
from chatserve.core.errors import AnswerInvalid, FileUnknown
from chatserve.core.frozen import replace
from chatserve.core.types import DraftPart, FilePart, LocalFile, StoredFile
from chatserve.engine.sessions.attachments import Attachments
from chatserve.engine.turns.local_files import LocalFiles
from chatserve.engine.turns.turn import RunningTurn
from chatserve.settings import Settings


def names_file(output: Output) -> bool:
    """Whether an output names a file, which must be stored or looked up."""
    match output:
        case PartAppended(part=part):
            return isinstance(part, LocalFile | FilePart)
        case MessageAppended(message=message):
            return _has_file(message)
        case AnswerSnapshot(messages=messages):
            return any(map(_has_file, messages))
        case _:
            return False


def _has_file(message: ParsedMessage) -> bool:
    return any(isinstance(part, LocalFile | FilePart) for part in message.content)


class AnswerFiles:
    """Stores the files of answers."""

    def __init__(
        self,
        store: Store,
        keeper: FileKeeper,
        settings: Settings,
        clock: Callable[[], float],
        new_id: Callable[[str], str],
    ) -> None:
        self._store = store
        self._attachments = Attachments(store)
        self._keeper = keeper
        self._local = LocalFiles((), None)
        self._settings = settings
        self._clock = clock
        self._new_id = new_id

    async def open(self) -> None:
        """Find the folders that answers may name files of, from where the process is now."""
        settings = self._settings
        self._local = await to_thread.run_sync(LocalFiles, settings.allowed_paths, settings.store_file)

    async def stored(self, turn: RunningTurn, outputs: Sequence[Output]) -> Sequence[Output]:
        """Store or look up the files of outputs; return the outputs with them. Raises: AnswerInvalid, StoreError."""
        return [await self._stored_output(turn, output) for output in outputs]

    async def _stored_output(self, turn: RunningTurn, output: Output) -> Output:
        match output:
            case PartAppended(part=part):
                return PartAppended(await self._stored_part(turn, part))
            case MessageAppended(message=message):
                return MessageAppended(await self._stored_message(turn, message))
            case AnswerSnapshot(messages=messages):
                stored = [await self._stored_message(turn, message) for message in messages]
                return replace(output, messages=tuple(stored))
            case _:
                return output

    async def _stored_message(self, turn: RunningTurn, message: ParsedMessage) -> ParsedMessage:
        if not _has_file(message):
            return message
        content = [await self._stored_part(turn, part) for part in message.content]
        return ParsedMessage(message.role, tuple(content), message.metadata, message.options)

    async def _stored_part(self, turn: RunningTurn, part: DraftPart) -> DraftPart:
        """Store or look up a file, once for all snapshots of the answer that name it. Other parts stay unchanged."""
        if not isinstance(part, LocalFile | FilePart):
            return part
        key = part if isinstance(part, LocalFile) else part.file_id
        known = turn.run.stored_files.get(key)
        if known is None:
            known = await (self._find(turn, key) if isinstance(key, str) else self._store_file(turn, key))
            turn.run.stored_files[key] = known
        return known

    async def _find(self, turn: RunningTurn, file_id: str) -> FilePart:
        try:
            (found,) = await self._attachments.find(turn.room.owner, [file_id])
        except FileUnknown as error:
            raise AnswerInvalid(f"the answer names a file that is not there: {file_id!r:.200}") from error
        return found

    async def _store_file(self, turn: RunningTurn, file: LocalFile) -> FilePart:
        if file.is_named and isinstance(file.source, Path):
            file_id = await to_thread.run_sync(self._keeper.id_at, file.source)
            if file_id is not None:
                return await self._find(turn, file_id)
        return await self.store(turn.room.owner, turn.room.session_id or None, file)

    async def store(self, owner: str, session_id: str | None, file: LocalFile) -> FilePart:
        """Store a local file for an owner. Raises: AnswerInvalid, StoreError."""
        max_bytes, file_id = self._settings.max_answer_file_bytes, self._new_id("f_")
        is_in_memory = isinstance(file.source, bytes)
        open_it = partial(self._local.open, file, max_bytes)
        opened = open_it() if is_in_memory else await to_thread.run_sync(open_it)
        with opened:
            name, media_type, size = await self._keeper.store_local(file_id, file, opened, max_bytes)
        stored = StoredFile(file_id, owner, session_id, name, media_type, size, self._clock())
        await self._store.add_file(stored)
        return stored.part
