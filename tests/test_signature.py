"""Reading a chat function: what each parameter is, how it is passed, and what is refused at registration."""

import enum
import functools
import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field, SecretStr
from starlette.requests import HTTPConnection, Request

from chatserve import ChatContext, ChatServer
from chatserve.chat_function import read_options
from chatserve.core.errors import ConfigurationError, InputsInvalid
from chatserve.testing import ChatClient
from tests.support.engine import chat_of, open_engine

if TYPE_CHECKING:
    from decimal import Decimal

History = list[Any]


def class_of(module: str, name: str, *bases: type) -> Any:
    """Return a class like one of a library that is not installed here."""
    return type(name, bases, {"__module__": module})


GradioComponent = class_of("gradio.components.base", "Component")
GradioRequest = class_of("gradio.route_utils", "Request")
GradioProgress = class_of("gradio.helpers", "Progress")
GradioHeader = class_of("gradio.route_utils", "Header", str)
GradioState = class_of("gradio.components.state", "State", GradioComponent)
GradioSlider = class_of("gradio.components.slider", "Slider", GradioComponent)
LikeData = class_of("gradio.events", "LikeData", class_of("gradio.events", "EventData"))
OAuthProfile = class_of("gradio.oauth", "OAuthProfile", dict)
Depends = class_of("fastapi.params", "Depends")
Security = class_of("fastapi.params", "Security", Depends)
OwnDepends = class_of("own.injection", "Depends")
Header = class_of("fastapi.params", "Header", type(Field()))
Query = class_of("fastapi.params", "Query")
UploadFile = class_of("fastapi.datastructures", "UploadFile")
BackgroundTasks = class_of("fastapi.background", "BackgroundTasks")
BaseSettings = class_of("pydantic_settings.main", "BaseSettings", BaseModel)


class Opaque:
    """What neither pydantic nor JSON knows; it cannot be copied either."""

    def __init__(self) -> None:
        self.lock = threading.RLock()


class Tone(enum.Enum):
    DRY = "dry"
    WARM = "warm"


class Style(BaseModel):
    tone: Tone = Tone.DRY


class Secretive(BaseModel):
    key: SecretStr = SecretStr("sk-1")


@dataclass
class Config:
    key: str


OPAQUE = Opaque()
NOTHING = inspect.Parameter.empty


def function_with(annotation: Any = NOTHING, default: Any = NOTHING) -> Callable[..., Any]:
    """Return a chat function that takes `it` besides message and history, and tells what it was given."""

    def predict(message, history, **given):
        return given

    kinds = inspect.Parameter
    told = [kinds("message", kinds.POSITIONAL_OR_KEYWORD), kinds("history", kinds.POSITIONAL_OR_KEYWORD)]
    it = kinds("it", kinds.KEYWORD_ONLY, annotation=annotation, default=default)
    predict.__signature__ = inspect.Signature([*told, it])  # type: ignore[attr-defined]
    return predict


# --- inputs, and what is none --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (NOTHING, NOTHING),
        (NOTHING, None),
        (NOTHING, 0.5),
        (NOTHING, [1, {"a": (True, None)}]),
        ("Unknown", NOTHING),
        (Any, "text"),
        (int, NOTHING),
        (int, None),
        (float, float("inf")),
        (Literal["a", "b"], "a"),
        (Annotated[int, Field(ge=1)], 5),
        (int, Field(5, ge=1)),
        (Tone, Tone.WARM),
        (Style, Style()),
        (Style | None, None),
        (Config, Config("sk-1")),
        (Path, Path("/srv/secret")),
        (set[str], {"a"}),
    ],
)
def test_parameter_with_a_json_form_is_an_input(annotation: Any, default: Any) -> None:
    assert chat_of(function_with(annotation, default)).input_names == ("it",)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (NOTHING, OPAQUE),
        (NOTHING, [OPAQUE]),
        (NOTHING, {"a": OPAQUE}),
        (NOTHING, {1: 2}),
        (NOTHING, float("nan")),
        (NOTHING, print),
        (NOTHING, b"bytes"),
        (NOTHING, Style()),
        (NOTHING, Tone.WARM),
        ("Unknown", OPAQUE),
        (Any, OPAQUE),
        (object, OPAQUE),
        (Opaque, OPAQUE),
        (Opaque | None, None),
        (Optional[Opaque], OPAQUE),  # noqa: UP045 - as developers write it
        (list[Opaque], ()),
        (Callable[[], None], print),
        (type[Style], Style),
        (str, OPAQUE),
        (BaseModel, Style()),
        (Secretive, Secretive()),
        (SecretStr, SecretStr("sk-1")),
        (BaseSettings, BaseSettings()),
    ],
)
async def test_other_parameters_keep_their_default_the_very_object(annotation: Any, default: Any) -> None:
    given: list[Any] = []

    def predict(message: str, history: History, *, it: Any = default) -> None:
        given.append(it)

    predict.__annotations__["it"] = annotation
    if annotation is NOTHING:
        del predict.__annotations__["it"]
    async with open_engine(predict) as engine:
        assert chat_of(predict).input_names == ()
        with pytest.raises(InputsInvalid, match=r"inputs\.it"):
            await engine.start(inputs={"it": 1})
        for _ in range(2):
            assert (await engine.ask()).turn.status == "completed"
    assert [each is default for each in given] == [True, True]


async def test_what_a_client_leaves_out_is_not_passed_and_what_it_sends_is_its_own() -> None:
    tags: list[str] = []
    given: list[Any] = []

    def predict(message: str, history: History, tags: Any = tags, style: Style = Style(), n: int = Field(3)) -> None:  # noqa: B008
        given.append((tags, n))
        tags.append(message)

    chat = chat_of(predict)
    assert chat.check_inputs({}) == {"n": 3}
    sent = {"tags": ["a"]}
    async with open_engine(predict) as engine:
        await engine.ask("one")
        await engine.ask("two", inputs=sent)
    assert [given[0][0] is tags, tags, given[1], sent] == [True, ["one"], (["a", "two"], 3), {"tags": ["a"]}]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (Opaque, "no client can send tests.test_signature.Opaque; give it a default"),
        (Opaque | None, "no client can send"),
        (list[Opaque], "no client can send"),
        (Callable[[], None], "no client can send"),
        (Depends, "chatserve fills no Depends; add a parameter `ctx: ChatContext` and read `ctx.user`"),
        (Annotated[str, Depends()], "ctx.user"),
        (Annotated[str, Security()], "ctx.user"),
        (Annotated[str, OwnDepends()], "ctx.user"),
        ("Annotated[Unknown, Depends(user)]", "ctx.user"),
        (Annotated[str, Header()], "ctx.headers"),
        (Annotated[str, Query()], "request.query_params"),
        (UploadFile, "multimodal=True"),
        (BackgroundTasks, "functools.partial"),
        (GradioState, "ctx.session.state"),
        (GradioSlider, "temperature: float"),
        (LikeData, "nothing is clicked here"),
        (OAuthProfile, "ctx.user"),
    ],
)
def test_parameter_that_nothing_can_fill_is_refused_in_one_line(annotation: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        chat_of(function_with(annotation), name="support")
    line = str(raised.value)
    assert line.startswith("chat 'support': parameter 'it': ")
    assert reason in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("default", "reason"),
    [
        (Depends(), "ctx.user"),
        (OwnDepends(), "ctx.user"),
        (Header(), "ctx.headers"),
        (Query(), "request.query_params"),
        (GradioState(), "ctx.session.state"),
        (GradioSlider(), "temperature: float"),
    ],
)
@pytest.mark.parametrize("annotation", [NOTHING, str, Any])
def test_default_that_another_framework_would_replace_is_refused(annotation: Any, default: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match="parameter 'it'") as raised:
        chat_of(function_with(annotation, default))
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "function", [lambda: None, lambda message: None, lambda *, message, history: None, lambda **anything: None]
)
def test_function_that_cannot_take_message_and_history_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="the first two must be the message and the history"):
        chat_of(function)


def test_input_that_cannot_be_passed_by_name_is_refused() -> None:
    def predict(message, history, temperature, /):
        return temperature

    with pytest.raises(ConfigurationError, match="parameter 'temperature': it is taken by position only"):
        chat_of(predict)


def test_names_that_mean_something_to_pydantic_are_inputs_like_others() -> None:
    def predict(
        message, history, _hidden=1, copy=2, json=3, schema=4, model_name=5, validate=6, model_config=7, hidden=8
    ):
        return (_hidden, copy, json, schema, model_name, validate, model_config, hidden)

    chat = chat_of(predict)
    names = ("_hidden", "copy", "json", "schema", "model_name", "validate", "model_config", "hidden")
    assert chat.input_names == names
    assert set(chat.inputs_schema["properties"]) == set(chat.input_names)
    sent = {"_hidden": 10, "json": 30, "model_config": 70}
    assert chat.check_inputs(sent) == {"_hidden": 10, "json": 30, "model_config": 70}


def test_annotations_only_type_checkers_can_read_take_any_json_and_do_not_hide_the_others() -> None:
    def predict(message: str, history: History, ctx: "ChatContext", price: "Decimal", count: "int" = 1) -> None: ...

    chat = chat_of(predict)
    assert chat.signature.injected == {"ctx": "ChatContext"}
    assert chat.check_inputs({"price": "any"}) == {"price": "any"}
    with pytest.raises(InputsInvalid):
        chat.check_inputs({"price": 1, "count": "x"})


# --- what partials bind --------------------------------------------------------------------------------------------


def ask(model: str, message: str, history: History, key: str = "none", tokens: int = 5, *, ctx: ChatContext) -> str:
    return f"{model} {message} {len(history)} {key} {tokens} {ctx.user}"


def keyed(key: str, message: str, history: History, tokens: int = 5) -> str:
    return f"{key} {message} {len(history)} {tokens}"


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*given: Any, **named: Any) -> Any:
        return function(*given, **named)

    return wrapper


class Bot:
    key = "sk-1"

    def ask(self, message: str, history: History, key: str, tokens: int = 5) -> str:
        return keyed(key, message, history, tokens)

    predict = functools.partialmethod(ask, key="sk-1")
    __call__ = functools.partialmethod(ask, key="sk-1")


BOUND: dict[str, Any] = {
    "by position": functools.partial(ask, "sk-1", key="k"),
    "by name": functools.partial(ask, "m", key="sk-1"),
    "before the message": functools.partial(keyed, key="sk-1"),
    "nested": functools.partial(functools.partial(ask, "m", tokens=5), key="sk-1"),
    "wrapped": wrapped(functools.partial(keyed, key="sk-1")),
    "of a wrapper": functools.partial(wrapped(keyed), key="sk-1"),
    "of a method": functools.partial(Bot().ask, key="sk-1"),
    "partialmethod": Bot().predict,
    "callable": Bot(),
}


@pytest.mark.parametrize("name", BOUND)
def test_what_a_partial_binds_is_neither_shown_nor_settable_and_is_passed(name: str) -> None:
    app = ChatServer()
    app.chat(name="ask")(BOUND[name])
    with ChatClient(app) as client:
        pages = [client.get(path).text for path in ("/", "/openapi.json", "/gradio_api/info")]
        for hidden in ("sk-1", '"key"'):
            assert [page.count(hidden) for page in pages] == [0, 0, 0]
        refused = client.post("/chat", json={"message": "hi", "inputs": {"key": "mine"}})
        assert (refused.status, refused.json["code"]) == (422, "inputs_invalid")
        answer = client.post("/chat", json={"message": "hi"}).json
        assert (answer["status"], "sk-1" in answer["text"], " hi 0 " in answer["text"]) == ("completed", True, True)


def test_defaults_that_are_no_json_are_not_shown() -> None:
    app = ChatServer()

    @app.chat
    def predict(
        message: str,
        history: History,
        config: Config = Config("sk-1"),  # noqa: B008 - as developers write it
        path: Path = Path("/srv/secret"),
        opaque: Any = OPAQUE,
        style: Style = Style(),  # noqa: B008 - as developers write it
    ) -> str:
        return f"{config.key} {style.tone.value}"

    with ChatClient(app) as client:
        pages = [client.get(path).text for path in ("/", "/openapi.json", "/gradio_api/info")]
        for hidden in ("sk-1", "/srv/secret", "paque"):
            assert [page.count(hidden) for page in pages] == [0, 0, 0]
        assert client.post("/chat", json={"message": "hi"}).json["text"] == "sk-1 dry"
        inputs = {"style": {"tone": "warm"}}
        assert client.post("/chat", json={"message": "hi", "inputs": inputs}).json["text"] == "sk-1 warm"


@pytest.mark.parametrize(
    ("function", "name", "description"),
    [
        (functools.partial(keyed, key="k"), "keyed", ""),
        (functools.partial(functools.partial(keyed), key="k"), "keyed", ""),
        (lambda message, history: message, "chat", ""),
        (Opaque, "Opaque", Opaque.__doc__),
    ],
)
def test_name_and_description_are_those_of_what_the_developer_wrote(function: Any, name: str, description: str) -> None:
    options = read_options(function, {})
    assert (options.name, options.description) == (name, description)


# --- what is injected ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (ChatContext, "ChatContext"),
        (ChatContext | None, "ChatContext"),
        (Optional[ChatContext], "ChatContext"),  # noqa: UP045 - as developers write it
        (Annotated[ChatContext, 1], "ChatContext"),
        (Annotated[ChatContext | None, 1], "ChatContext"),
        ("chatserve.ChatContext", "ChatContext"),
        ("elsewhere.ChatContext | None", "ChatContext"),
        ("None | ChatContext", "ChatContext"),
        ("typing.Optional[ChatContext]", "ChatContext"),
        ("Annotated[elsewhere.ChatContext, 1]", "ChatContext"),
        ("'elsewhere.ChatContext'", "ChatContext"),
        (Request, "Request"),
        (Request | None, "Request"),
        (HTTPConnection, "Request"),
        ("elsewhere.Request", "Request"),
        (GradioRequest, "gr.Request"),
        (GradioRequest | None, "gr.Request"),
        ("gr.Request", "gr.Request"),
        ("gradio.Request | None", "gr.Request"),
        (GradioProgress, "gr.Progress"),
        ("gr.Progress", "gr.Progress"),
        (GradioHeader, "gr.Header"),
        (OAuthProfile | None, "nothing"),
        ("gr.OAuthToken | None", "nothing"),
    ],
)
def test_injected_parameters_are_recognized_however_they_are_annotated(annotation: Any, kind: str) -> None:
    for function in (function_with(annotation), function_with(annotation, None)):
        chat = chat_of(function)
        assert (chat.signature.injected, chat.input_names) == ({"it": kind}, ())


def test_progress_is_recognized_by_its_default() -> None:
    assert chat_of(function_with(default=GradioProgress())).signature.injected == {"it": "gr.Progress"}


Ctx, Http = ChatContext, Request
PLACED: dict[str, Callable[..., Any]] = {
    "first": lambda ctx, message, history, n=1: (message, history, ctx, n),
    "between": lambda message, ctx, history, n=1: (message, history, ctx, n),
    "third": lambda message, history, ctx, n=1: (message, history, ctx, n),
    "last": lambda message, history, n=1, ctx=None: (message, history, ctx, n),
    "by name": lambda message, history, n=1, *, ctx: (message, history, ctx, n),
    "by position": lambda ctx, message, history, /, n=1: (message, history, ctx, n),
    "last by position": lambda message, history, ctx, /, n=1: (message, history, ctx, n),
    "before rest": lambda ctx, message, *rest: (message, rest[0], ctx, 1),
    "before all": lambda ctx, *rest: (*rest, ctx, 1),
    "other names": lambda ctx, m, h, n=1: (m, h, ctx, n),
    "named like others": lambda ctx, history, message, n=1: (history, message, ctx, n),
}


@pytest.mark.parametrize("place", PLACED)
@pytest.mark.parametrize("is_bound", [True, False])
async def test_context_and_request_are_injected_wherever_they_stand(place: str, is_bound: bool) -> None:
    given: list[Any] = []

    def predict(*args: Any, **named: Any) -> None:
        given.append(PLACED[place](*args, **named))

    functools.update_wrapper(predict, PLACED[place])
    predict.__annotations__ = PLACED[place].__annotations__ = {"ctx": ChatContext}
    async with open_engine(functools.partial(predict) if is_bound else predict) as engine:
        record = await engine.ask("hi", owner="ann")
        assert record.turn.status == "completed"
    ((message, history, ctx, n),) = given
    assert (message, history, ctx.user, n) == ("hi", [], "ann", 1)


async def test_parameters_of_both_kinds_may_occur_twice_and_before_the_message() -> None:
    request = Request({"type": "http", "headers": [], "method": "POST", "path": "/chat", "query_string": b""})

    def predict(req: Request, ctx: ChatContext, message: str, history: History, again: ChatContext, n: int = 2) -> str:
        return f"{req.url.path} {ctx is again} {message} {n}"

    async with open_engine(predict) as engine:
        assert (await engine.ask(http_request=request)).messages[0].text == "/chat True hi 2"


@pytest.mark.parametrize("function", [lambda *everything: len(everything), lambda message, *rest: 1 + len(rest)])
async def test_function_of_any_positional_arguments_takes_message_and_history(function: Any) -> None:
    assert chat_of(function).input_names == ()
    async with open_engine(lambda *given: str(function(*given))) as engine:
        assert (await engine.ask()).messages[0].text == "2"
