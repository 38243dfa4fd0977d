"""One registered chat function: its signature and examples read once, its inputs checked per turn."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from anyio import to_thread
from pydantic import ValidationError

from chatserve.chat_function.async_call import AsyncCall
from chatserve.chat_function.call import Interpret
from chatserve.chat_function.examples import Example, read_example
from chatserve.chat_function.kinds import is_async, is_generator
from chatserve.chat_function.options import ChatOptions
from chatserve.chat_function.pumps import MixedCall, prepare_call
from chatserve.chat_function.signature import Surroundings, name_of_input, read_signature
from chatserve.chat_function.threads import Threads
from chatserve.core.configuration import shown
from chatserve.core.errors import ChatError, ConfigurationError, InputsInvalid
from chatserve.core.types import Json

logger = logging.getLogger("chatserve.chat_function")


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
            self.signature.inputs.model.model_validate(dict(example.inputs))
        except ValidationError as error:
            for entry in error.errors(include_url=False, include_input=False):
                is_lacking = entry["type"] == "missing" and len(entry["loc"]) == 1
                if not is_lacking or self.options.cache_examples:
                    raise ValueError(f"{name_of_input(entry['loc'])}: {entry['msg']}") from None

    def _check_validator(self) -> None:
        """Check that the validator can be called as `validate` calls it. Raises: ConfigurationError."""
        validator = self.options.validator
        if validator is None:
            return
        parameters = self.signature.inputs.parameters.values()
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
        return self.signature.inputs.schema

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of the function's parameters."""
        return self.signature.inputs.names

    def check_inputs(self, raw: Mapping[str, Json]) -> dict[str, Any]:
        """Return the keyword arguments for these inputs. Those left out are left to Python's own defaults.

        Raises:
            InputsInvalid: one is missing, unknown or wrong; `errors` names each.
        """
        return self.signature.inputs.check(raw)

    async def validate(self, message: str, inputs: Mapping[str, Any]) -> None:
        """Call the validator, if the chat has one, with all inputs. Only None and True let the message pass.

        Raises:
            InputsInvalid: the validator returned or raised anything else.
        """
        validator = self.options.validator
        if validator is None:
            return
        given = {**self.signature.inputs.defaults, **inputs}
        try:
            if is_async(validator):
                verdict = await validator(message, **given)
            else:
                verdict = await to_thread.run_sync(lambda: validator(message, **given))
                verdict = await verdict if inspect.isawaitable(verdict) else verdict
        except (ChatError, ValueError) as error:
            verdict = str(error)
        except Exception:  # the developer's own code, whose bug must let nothing pass
            logger.exception("the validator of chat %r failed, so the message was refused", self.options.name)
            verdict = False
        if verdict is None or verdict is True:
            return
        if verdict is not False and not isinstance(verdict, str):
            logger.error(
                "the validator of chat %r returned %s, so the message was refused: it may return None or True to let "
                "it pass, False or a text to refuse it",
                self.options.name,
                shown(verdict),
            )
            verdict = False
        raise InputsInvalid(verdict or "the message was refused", errors=[])

    def prepare(
        self,
        message: Any,
        history: list[Any],
        inputs: Mapping[str, Any],
        around: Surroundings,
        *,
        interpret: Interpret,
        threads: Threads,
    ) -> AsyncCall | MixedCall:
        """Prepare one call. `inputs` are what `check_inputs` returned; `interpret` turns values into outputs."""
        function = self.function
        arguments, keywords = self.signature.arguments(message, history, inputs, around)

        def invoke() -> Any:
            return function(*arguments, **keywords)

        call = prepare_call(invoke, is_async=self.is_async, interpret=interpret, threads=threads)
        if around.context is not None:
            around.context.connect(call.report, call.is_cancelled)
        return call
