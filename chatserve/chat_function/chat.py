"""One registered chat function: its signature read once, its inputs checked per turn."""

from __future__ import annotations

import copy
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from chatserve.chat_function.async_call import AsyncCall
from chatserve.chat_function.call import Interpret
from chatserve.chat_function.context import ChatContext, is_context, is_named
from chatserve.chat_function.examples import Example, read_example
from chatserve.chat_function.kinds import is_async, is_generator
from chatserve.chat_function.options import ChatOptions
from chatserve.chat_function.pumps import MixedCall, prepare_call
from chatserve.chat_function.threads import Threads
from chatserve.core.configuration import shown
from chatserve.core.errors import ChatError, ConfigurationError, InputsInvalid
from chatserve.core.types import Json
from chatserve.core.validation import Location, shape_invalid

Parameter = inspect.Parameter


@dataclass(frozen=True, slots=True)
class Signature:
    """What a chat function takes besides message and history; `parameters` are those the model's fields stand for."""

    inputs: type[BaseModel]
    parameters: Mapping[str, str] = field(default_factory=dict)
    context: str | None = None
    request: str | None = None


class Chat:
    """A chat function with its options."""

    def __init__(self, function: Callable[..., Any], options: ChatOptions) -> None:
        self.function = function
        self.options = options
        self.is_async = is_async(function)
        self.is_generator = is_generator(function)
        self.signature = read_signature(function, options.name)
        self.examples = tuple(map(self._read_example, range(len(options.examples)), options.examples))
        self._check_validator()

    def _read_example(self, number: int, entry: Any) -> Example:
        """Read an example. Raises: ConfigurationError: no example, or one this chat does not take."""
        try:
            example = read_example(entry, self.input_names, takes_files=self.options.multimodal)
            self._check_example(example)
        except ValueError as error:
            raise ConfigurationError(
                f"chat {self.options.name!r}: examples[{number}]={shown(entry)}: {error}"
            ) from None
        return example

    def _check_example(self, example: Example) -> None:
        """Check an example's inputs. Clients may send those it lacks, unless it is answered from the cache.

        Raises:
            ValueError: one the function does not take, or lacks for the cache.
        """
        try:
            self.signature.inputs.model_validate(dict(example.inputs))
        except ValidationError as error:
            for entry in error.errors(include_url=False, include_input=False):
                is_lacking = entry["type"] == "missing" and len(entry["loc"]) == 1
                if not is_lacking or self.options.cache_examples:
                    raise ValueError(f"{_name_of_input(entry['loc'])}: {entry['msg']}") from None

    def _check_validator(self) -> None:
        """Check that the validator can be called as `validate` calls it. Raises: ConfigurationError."""
        validator = self.options.validator
        if validator is None:
            return
        parameters = self.signature.parameters.values()
        try:
            signature = inspect.signature(validator)
        except (TypeError, ValueError):
            return  # of compiled code, which may tell nothing
        try:
            signature.bind("", **dict.fromkeys(parameters))
        except TypeError as error:
            raise ConfigurationError(
                f"chat {self.options.name!r}: validator={shown(validator)}: may be a function of the message and "
                f"the inputs ({', '.join(['message', *parameters])}); {error}"
            ) from None

    @property
    def inputs_schema(self) -> dict[str, Json]:
        """JSON Schema of the inputs, an object."""
        schema = self.signature.inputs.model_json_schema()
        schema.pop("title", None)
        return schema

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of the function's parameters."""
        return tuple(field.alias or name for name, field in self.signature.inputs.model_fields.items())

    def check_inputs(self, raw: Mapping[str, Json]) -> dict[str, Any]:
        """Return the keyword arguments for these inputs, defaults filled in.

        Raises:
            InputsInvalid: one is missing, unknown or wrong; `errors` names each.
        """
        if not raw and not self.signature.parameters:
            return {}
        try:
            checked = self.signature.inputs.model_validate(dict(raw))
        except ValidationError as error:
            raise shape_invalid(error, _name_of_input) from error
        parameters = self.signature.parameters
        return {parameters[name]: copy.deepcopy(getattr(checked, name)) for name in type(checked).model_fields}

    async def validate(self, message: str, inputs: Mapping[str, Any]) -> None:
        """Call the validator, if the chat has one.

        Raises:
            InputsInvalid: the validator returned a reason or False, or raised `ChatError` or `ValueError`.
        """
        validator = self.options.validator
        if validator is None:
            return
        try:
            if is_async(validator):
                verdict = await validator(message, **inputs)
            else:
                verdict = await to_thread.run_sync(lambda: validator(message, **inputs))
        except (ChatError, ValueError) as error:
            verdict = str(error)
        if isinstance(verdict, str) or verdict is False:
            raise InputsInvalid(verdict or "the message was refused", errors=[])

    def prepare(
        self,
        message: Any,
        history: list[Any],
        inputs: Mapping[str, Any],
        context: ChatContext | None,
        request: Any,
        *,
        interpret: Interpret,
        threads: Threads,
    ) -> AsyncCall | MixedCall:
        """Prepare one call. `inputs` are what `check_inputs` returned; `interpret` turns values into outputs.

        `context` may be None if the signature has no context parameter.
        """
        keywords = dict(inputs)
        if self.signature.context is not None:
            keywords[self.signature.context] = context
        if self.signature.request:
            keywords[self.signature.request] = request
        function = self.function

        def invoke() -> Any:
            return function(message, history, **keywords)

        call = prepare_call(invoke, is_async=self.is_async, interpret=interpret, threads=threads)
        if context is not None:
            context.connect(call.report, call.is_cancelled)
        return call


def read_signature(function: Callable[..., Any], chat: str) -> Signature:
    """Read the parameters after message and history.

    Raises:
        ConfigurationError: fewer than two positional parameters, an input that cannot be passed by name, or an
            annotation pydantic cannot check.
    """
    parameters = _parameters(function, chat)
    hints = _type_hints(function)
    positional = [p for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is Parameter.VAR_POSITIONAL for p in parameters)
    if len(positional) < 2 and not takes_any:
        raise ConfigurationError(
            f"chat function {chat!r} takes {len(positional)} positional parameter(s): "
            "the first two must be the message and the history, as in `def predict(message, history)`"
        )
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    context = request = None
    for parameter in parameters:
        if parameter in positional[:2] or parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"chat function {chat!r} takes {parameter.name!r} by position only; inputs are passed by name"
            )
        annotation = hints.get(parameter.name, parameter.annotation)
        if is_context(_injected(annotation)):
            context = parameter.name
        elif _is_request(_injected(annotation)):
            request = parameter.name
        else:
            name, field = _input_field(parameter, annotation)
            fields[name], names[name] = field, parameter.name
    return Signature(_inputs_model(chat, fields), names, context, request)


def _input_field(parameter: Parameter, annotation: Any) -> tuple[str, tuple[Any, Any]]:
    """Return the model's field for an input. A name that pydantic uses itself gets the input's name as an alias."""
    name = parameter.name.lstrip("_") or "input"
    expected = Any if annotation is Parameter.empty or isinstance(annotation, str) else annotation
    default = ... if parameter.default is Parameter.empty else parameter.default
    if hasattr(BaseModel, name):
        return f"{name}_input", (Annotated[expected, Field(alias=name)], default)
    return name, (expected, default)


def _injected(annotation: Any) -> Any:
    """Return the `X` of `X`, `X | None` and `Annotated[X, …]`."""
    if typing.get_origin(annotation) is Annotated:
        return _injected(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
        return members[0] if len(members) == 1 else annotation
    return annotation


def _parameters(function: Callable[..., Any], chat: str) -> list[Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"chat function {chat!r} cannot be inspected: {error}") from error


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    target = getattr(function, "func", target)  # functools.partial
    names = getattr(inspect.unwrap(target), "__globals__", {})
    annotations = getattr(target, "__annotations__", {})
    return {name: _type_hint(annotation, names) for name, annotation in annotations.items()}


def _type_hint(annotation: Any, names: dict[str, Any]) -> Any:
    """Evaluate an annotation. One whose names exist only for type checkers stays text."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["it"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return annotation


def _is_request(annotation: Any) -> bool:
    """Recognize `starlette.requests.Request` and its subclasses without importing HTTP here."""
    if isinstance(annotation, str):
        return is_named(annotation, "Request")
    return isinstance(annotation, type) and any(
        base.__module__ == "starlette.requests" and base.__name__ == "HTTPConnection" for base in annotation.__mro__
    )


def _inputs_model(chat: str, fields: dict[str, Any]) -> type[BaseModel]:
    try:
        model: type[BaseModel] = create_model(
            "Inputs",
            __config__=ConfigDict(extra="forbid", protected_namespaces=(), validate_default=False, allow_inf_nan=False),
            **fields,
        )
        model.model_json_schema()
    except Exception as error:  # pydantic raises errors of many types for annotations it cannot read
        raise ConfigurationError(f"chat function {chat!r} has a parameter pydantic cannot check: {error}") from error
    return model


def _name_of_input(location: Location) -> str:
    return ".".join(["inputs", *map(str, location)])
