"""`ChatServer`: the application. Only this module reads the registries and assembles the parts."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Final, Literal, TypeVar, overload

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from chatserve.chat_function import Chat, read_options
from chatserve.contracts.wire import WireFormat
from chatserve.core.configuration import Text, check, choice_of, shown
from chatserve.core.errors import ConfigurationError
from chatserve.core.ids import Ids
from chatserve.core.types import HistoryFormatName, HistoryIncludes, OnDisconnect, WhenBusy, YieldMode
from chatserve.engine import EngineParts, Pace, TurnEngine
from chatserve.formats.history import HISTORY_FORMATS
from chatserve.formats.output import AnswerNormalizer
from chatserve.formats.wire import WIRE_FORMATS
from chatserve.routes.service import Service, build_application
from chatserve.routes.streams.draining import drain_with_server
from chatserve.routes.streams.outlets import SERVER_SEND
from chatserve.settings import Settings, read_settings
from chatserve.stores import create_store
from chatserve.stores.file_folder import FileFolder

Function = TypeVar("Function", bound=Callable[..., Any])
NATIVE_ROOTS: Final = frozenset({"chat", "sessions", "turns", "messages", "files", "health", "openapi.json"})
"""The first components of the paths of chatserve's own API."""


class ChatServer:
    """An ASGI application that serves chat functions.

    Run it with `chatserve run file.py` or `uvicorn module:app`, or mount it in a Starlette or FastAPI application.
    Any setting of `chatserve.settings.Settings` may be given as a keyword; keywords take precedence over the
    environment.

    Raises:
        ConfigurationError: a setting is unknown or has a wrong value.
    """

    def __init__(self, title: str = "chatserve", description: str = "", **settings: Any) -> None:
        check(_Titles, "ChatServer: ", {"title": title, "description": description}, strict=True)
        _checked(read_settings(settings, {}))
        self.title = title
        self.description = description
        self.chats: dict[str, Chat] = {}
        self.pace = Pace()
        self._given = settings
        self._overrides: dict[str, Any] = {}
        self._runtime: _Runtime | None = None

    @property
    def settings(self) -> Settings:
        """The settings in force: the command line's, this application's, the environment's, the defaults.

        Raises:
            ConfigurationError: a setting is unknown or has a wrong value.
        """
        return _checked(read_settings(self._given, command_line=self._overrides))

    def override(self, **settings: Any) -> None:
        """Set the settings of the command line, which take precedence; None leaves a setting as it is."""
        self._overrides.update({name: value for name, value in settings.items() if value is not None})

    @overload
    def chat(self, function: Function, /) -> Function: ...
    @overload
    def chat(
        self,
        /,
        *,
        name: str | None = None,
        aliases: Iterable[str] = (),
        title: str | None = None,
        description: str | None = None,
        history: HistoryFormatName = "messages",
        yields: YieldMode = "snapshots",
        multimodal: bool = False,
        examples: Iterable[Any] = (),
        cache_examples: Literal[False, True, "eager", "lazy"] = False,
        concurrency_limit: int | Literal["default"] | None = "default",
        max_queue: int = 1000,
        when_busy: WhenBusy = "reject",
        on_disconnect: OnDisconnect = "continue",
        turn_timeout_s: float | None = None,
        history_limit: int | None = None,
        history_includes: HistoryIncludes = "answered",
        greeting: Any = None,
        additional_outputs: Iterable[str] = (),
        validator: Callable[..., Any] | None = None,
        feedback: Iterable[str] = ("like", "dislike"),
    ) -> Callable[[Function], Function]: ...
    def chat(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Register a chat function: `@app.chat` or `@app.chat(name=…, …)`. The function is returned unchanged.

        Args:
            function: takes the message and the history, then typed inputs; returns or yields the answer.
            **options: `name` (default: the function's), `title`, `description`;
                `aliases`: further names, or patterns with `*` and `?`, that clients of other protocols may ask for;
                `history`: `"messages"`, `"tuples"`, `"gradio5"` or `"gradio6"`, what the function is given;
                `yields`: `"snapshots"` (each yield is the whole answer so far) or `"deltas"` (each string is appended);
                `multimodal`: the message is `{"text", "files"}` and the history's content is lists of parts;
                `examples`: messages, or `[message, *inputs]`; `cache_examples`: answer them from a cache, filled at the
                start (`"eager"`, True) or when first asked (`"lazy"`);
                `concurrency_limit`: turns that run at once in this process (default: any number of async ones, 64 sync
                ones); `max_queue`: how many more may wait;
                `when_busy`: what a message does while a turn runs in its session: `"reject"`, `"queue"`,
                `"interrupt"` or `"rollback"`; `on_disconnect`: `"continue"` or `"stop"`;
                `turn_timeout_s`; `history_limit`: the last so many entries, 0 for none;
                `history_includes`: `"answered"`, without turns that failed before their first word and calls of tools
                without a result, or `"all"`; `greeting`: the assistant's first message of a new session, or several;
                `additional_outputs`: the names of what follows the answer in a tuple, `"state"` is the session's state;
                `validator`: called with the message and the inputs before the turn starts, it raises `ChatError` or
                returns why not; `feedback`: values readers may give.

        Raises:
            ConfigurationError: the function is not a chat function, an option is unknown or has a wrong value, options
                contradict each other, or the name is taken.
        """
        if function is None:
            return lambda function: self._register(function, options)
        return self._register(function, options)

    def _register(self, function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
        if not callable(function):
            raise ConfigurationError(f"{shown(function)} cannot be called, so it is no chat function")
        chat = Chat(function, read_options(function, options))
        name = chat.options.name
        if name in self.chats:
            raise ConfigurationError(f"two chats are named {name!r}; give one another name: @app.chat(name=…)")
        for other in self.chats.values():
            for alias in other.options.aliases:
                if alias in chat.options.aliases:
                    raise ConfigurationError(
                        f"chat {name!r}: aliases={shown(chat.options.aliases)}: "
                        f"{alias!r} is an alias of the chat {other.options.name!r}"
                    )
        self.chats[name] = chat
        return function

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Starlette(lifespan=self._lifespan)(scope, receive, send)
            return
        runtime = self._runtime
        if runtime is None or runtime.loop is not asyncio.get_running_loop():
            runtime = await self._start_unasked()
        scope[SERVER_SEND] = send
        await runtime.application(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _app: Any) -> Any:
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> _Runtime:
        """Open the store and accept requests; for applications that mount this one and run its lifespan themselves.

        When the server begins to stop, running turns are drained at once, because servers notify their applications
        only after all streams have ended.

        Raises:
            ConfigurationError: there is no chat, or the store cannot be opened.
        """
        if not self.chats:
            raise ConfigurationError("the application has no chat function; register one with @app.chat")
        runtime = _Runtime(self)
        await runtime.open()
        self._runtime = runtime
        self._watching = runtime.loop.create_task(drain_with_server(runtime.service.engine))
        return runtime

    async def stop(self) -> None:
        """End the running turns and close the store."""
        runtime, self._runtime = self._runtime, None
        if runtime is None:
            return
        engine = runtime.service.engine
        if self._watching is not None and not engine.is_draining:
            self._watching.cancel()
        await engine.drain(0)
        engine.readers.say_bye()
        await engine.close()

    async def erase(self, owner: str) -> None:
        """Remove everything that belongs to an owner: sessions, messages, logs, files. Stop the owner's running turns.

        Call it on the server's event loop, after requests of the owner are refused.

        Raises:
            SessionBusy: the owner started a new turn meanwhile; nothing was removed.
        """
        runtime = self._runtime or await self._start_unasked()
        await runtime.service.engine.erase_owner(owner)

    async def _start_unasked(self) -> _Runtime:
        """Start at the first request, as mounted applications receive no lifespan events."""
        loop = asyncio.get_running_loop()
        if self._starting is None or self._starting.get_loop() is not loop:
            self._starting = loop.create_task(self.start())
        try:
            return await asyncio.shield(self._starting)
        except ConfigurationError:
            self._starting = None  # the store may be available at the next request
            raise

    _starting: asyncio.Task[_Runtime] | None = None
    _watching: asyncio.Task[None] | None = None

    @property
    def engine(self) -> TurnEngine | None:
        """The engine while the application runs."""
        return self._runtime.service.engine if self._runtime else None


class _Titles(BaseModel):
    """Title and description of an application."""

    title: Text
    description: Text


class _Runtime:
    """The running application, bound to one event loop."""

    def __init__(self, server: ChatServer) -> None:
        settings = server.settings
        self.loop = asyncio.get_running_loop()
        files = FileFolder(files_dir(settings))
        engine = TurnEngine(
            EngineParts(
                chats=server.chats,
                store=create_store(settings.store),
                files=files,
                history_formats=HISTORY_FORMATS,
                new_interpreter=AnswerNormalizer,
                settings=settings,
                clock=lambda: round(time.time(), 3),
                new_id=Ids().new,
                pace=server.pace,
            )
        )
        self.service = Service(
            engine,
            server.chats,
            dict(HISTORY_FORMATS),
            files,
            server.title,
            server.description,
            wire_formats=tuple(make(settings) for make in WIRE_FORMATS.values()),
        )
        self.application = build_application(self.service)

    async def open(self) -> None:
        await asyncio.to_thread(_require_folder, self.service.files.root)
        await self.service.engine.open()


def _require_folder(path: Path) -> None:
    """Check that the path can be a folder. Raises: ConfigurationError if it is a file."""
    if path.exists() and not path.is_dir():
        raise ConfigurationError(f"setting files_dir={str(path)!r}: may be the path of a folder, and this is a file")


def _checked(settings: Settings) -> Settings:
    """Check that the protocols exist and the paths are free; return the settings. Raises: ConfigurationError."""
    protocols = [name for name, make in WIRE_FORMATS.items() if isinstance(make(settings), WireFormat)]
    for name in settings.protocols:
        if name not in protocols:
            choice = choice_of(map(repr, protocols))
            raise ConfigurationError(f"setting protocols={shown(settings.protocols)}: {name!r} may be {choice}")
    root = settings.openai_prefix.strip("/").partition("/")[0]
    if root in NATIVE_ROOTS:
        raise ConfigurationError(
            f"setting openai_prefix={settings.openai_prefix!r}: chatserve's own paths begin so; "
            f"may begin with anything but {', '.join(sorted(NATIVE_ROOTS))}"
        )
    return settings


def files_dir(settings: Settings) -> Path:
    """Return the folder for files, one per store: the setting, else beside the store, else one for this process."""
    if settings.files_dir is not None:
        return Path(settings.files_dir)
    if settings.store_file is not None:
        return Path(f"{settings.store_file}.files")
    return Path(gettempdir()) / f"chatserve-{os.getpid()}.files"
