"""The options of `@app.chat`: what each may be, and what it is where the developer says nothing.

A new option is a field here, and a keyword and its documentation in `ChatServer.chat`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from chatserve.chat_function.greeting import as_greeting
from chatserve.chat_function.kinds import is_async
from chatserve.core.configuration import MayBe, Text, check, shown
from chatserve.core.types import HistoryFormatName, HistoryIncludes, OnDisconnect, WhenBusy, YieldMode
from chatserve.settings import Duration

SYNC_CONCURRENCY: Final = 64
MAX_NAME_LENGTH: Final = 200
NAME_OF_LAMBDAS: Final = "chat"

_UNREACHABLE: Final = re.compile(r"\.{1,2}|.*[/\x00-\x1f\x7f-\x9f].*|\s.*|.*\s", re.DOTALL)
"""Names that URLs cannot carry as one part of their path, or that clients rewrite."""


def _require_reachable(name: str) -> str:
    if _UNREACHABLE.fullmatch(name):
        raise ValueError(name)
    return name


def _as_tuple(values: Any) -> Any:
    """Return what is listed as a tuple; a text or a mapping is no list."""
    return tuple(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping) else values


def _require_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(names)
    return names


def _as_mode(cache: bool | str) -> bool | str:
    return "eager" if cache is True else cache


Name = Annotated[
    Text,
    Field(min_length=1, max_length=MAX_NAME_LENGTH),
    AfterValidator(_require_reachable),
    MayBe(
        f"a text of 1 to {MAX_NAME_LENGTH} characters that can be part of a URL's path: "
        "no '/', no control character, no space at an end, not '.' or '..'"
    ),
]
Word = Annotated[Text, Field(min_length=1)]


class ChatOptions(BaseModel):
    """The options of one chat; `ChatServer.chat` documents them."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: Name
    aliases: Annotated[
        tuple[Word, ...], BeforeValidator(_as_tuple), MayBe("a list of names or patterns, like 'gpt-4o' or 'claude-*'")
    ] = ()
    title: Text
    description: Text = ""
    history: HistoryFormatName = "messages"
    yields: YieldMode = "snapshots"
    multimodal: bool = False
    examples: Annotated[
        tuple[Any, ...], BeforeValidator(_as_tuple), MayBe("a list of messages, or of lists [message, *inputs]")
    ] = ()
    cache_examples: Annotated[
        bool | Literal["eager", "lazy"], AfterValidator(_as_mode), MayBe("False, True, 'eager' or 'lazy'")
    ] = False
    concurrency_limit: Annotated[
        Annotated[int, Field(ge=1)] | None, MayBe("a whole number, 1 or more; None for no limit; or 'default'")
    ] = None
    max_queue: Annotated[int, Field(ge=0), MayBe("a whole number, 0 or more")] = 1000
    when_busy: WhenBusy = "reject"
    on_disconnect: OnDisconnect = "continue"
    turn_timeout_s: Annotated[Duration | None, MayBe("a number of seconds above 0, or None for the setting's")] = None
    history_limit: Annotated[
        Annotated[int, Field(ge=0)] | None,
        MayBe("a whole number, 0 or more (0: the function is given no history), or None for no limit"),
    ] = None
    additional_outputs: Annotated[
        tuple[Word, ...],
        BeforeValidator(_as_tuple),
        AfterValidator(_require_once),
        MayBe("a list of texts, none of them empty, each there once"),
    ] = ()
    history_includes: HistoryIncludes = "answered"
    greeting: Annotated[
        tuple[Any, ...],
        BeforeValidator(as_greeting),
        MayBe('a text, a message {"role": "assistant", "content": text}, or a list of those'),
    ] = ()
    validator: Annotated[Callable[..., Any] | None, MayBe("a function of the message and the inputs, or None")] = None
    feedback: Annotated[tuple[Word, ...], BeforeValidator(_as_tuple), MayBe("a list of texts, none of them empty")] = (
        "like",
        "dislike",
    )

    @model_validator(mode="after")
    def _require_possible(self) -> Self:
        if self.cache_examples and not self.examples:
            raise ValueError(f"cache_examples={self.cache_examples!r}: may be False only, as there are no examples")
        if self.when_busy == "queue" and self.max_queue == 0:
            raise ValueError("max_queue=0: may be 1 or more only, as when_busy='queue' lets messages wait")
        return self


_LEFT_OUT: Final[Mapping[str, tuple[Any, ...]]] = {
    "name": (None,),
    "title": (None, ""),
    "description": (None,),
    "concurrency_limit": ("default",),
}
"""Values that stand for what follows from the function."""


def read_options(function: Callable[..., Any], given: Mapping[str, Any]) -> ChatOptions:
    """Return a chat's options: those given, and for the others what follows from the function or their default.

    Raises:
        ConfigurationError: an unknown option, a value it does not take, or options that do not go together.
    """
    said = {name: value for name, value in given.items() if value not in _LEFT_OUT.get(name, ())}
    written = _inside_partials(function)
    name = said.get("name", _name_of(written))
    own = {
        "name": name,
        "title": str(name).replace("_", " ").capitalize(),
        "description": (getattr(written, "__doc__", None) or "").strip(),
        "concurrency_limit": None if is_async(function) else SYNC_CONCURRENCY,
    }
    return check(ChatOptions, f"chat {shown(name)}: ", own | said, strict=True)


def _inside_partials(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None) or type(function).__name__.lower()
    return NAME_OF_LAMBDAS if name == "<lambda>" else str(name)
