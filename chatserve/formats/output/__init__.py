"""The values that chat functions return or yield, family by family, and the dispatcher that finds a value's family.

A new family is one new file here and one line in `OUTPUT_NORMALIZERS`. Values of model libraries are recognized by
their shape; the libraries are never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Final

from chatserve.contracts.formats import AnswerView, Output, OutputNormalizer
from chatserve.core.configuration import shown
from chatserve.core.errors import AnswerInvalid
from chatserve.formats.output.additional import AdditionalOutputs
from chatserve.formats.output.anthropic import AnthropicNormalizer
from chatserve.formats.output.component import ComponentNormalizer
from chatserve.formats.output.huggingface import HuggingFaceNormalizer
from chatserve.formats.output.langchain import LangChainNormalizer
from chatserve.formats.output.message import MessageNormalizer
from chatserve.formats.output.message_list import MessageListNormalizer
from chatserve.formats.output.openai_chat import OpenAIChatNormalizer
from chatserve.formats.output.openai_responses import OpenAIResponsesNormalizer
from chatserve.formats.output.part import PartNormalizer
from chatserve.formats.output.text import TextNormalizer

OUTPUT_NORMALIZERS: tuple[type[OutputNormalizer], ...] = (
    TextNormalizer,
    MessageListNormalizer,
    ComponentNormalizer,
    OpenAIChatNormalizer,
    OpenAIResponsesNormalizer,
    AnthropicNormalizer,
    LangChainNormalizer,
    HuggingFaceNormalizer,
    MessageNormalizer,
    PartNormalizer,
)
"""Most specific first: the first normalizer that accepts a value reads it."""

_SHAPED_BY_VALUE: Final = (dict, tuple, SimpleNamespace)
"""Types whose values can belong to different families. For all other types, the type decides the family."""


class AnswerNormalizer:
    """Normalizes the values of one turn. Each turn needs its own, because families keep state from value to value."""

    def __init__(self, families: Sequence[type[OutputNormalizer]] = OUTPUT_NORMALIZERS) -> None:
        self._families = families
        self._instances: dict[type[OutputNormalizer], OutputNormalizer] = {}
        self._by_type: dict[type, Callable[[Any, AnswerView], Sequence[Output]]] = {}
        self._additional = AdditionalOutputs()

    def normalize(self, value: Any, view: AnswerView) -> Sequence[Output]:
        """Return the outputs that one returned or yielded value stands for.

        Raises:
            AnswerInvalid: the value belongs to no family, or is broken.
        """
        known = self._by_type.get(type(value))
        if known is not None:
            return known(value, view)
        if view.additional_outputs and isinstance(value, tuple) and value:
            answer, *more = value
            return self._additional.add_to(self._select(answer)(answer, view), view.additional_outputs, more)
        return self._select(value)(value, view)

    def _select(self, value: Any) -> Callable[[Any, AnswerView], Sequence[Output]]:
        family = next((family for family in self._families if family.accepts(value)), None)
        if family is None:
            raise AnswerInvalid(_refusal_of(value))
        normalizer = self._instances.get(family)
        if normalizer is None:
            normalizer = self._instances[family] = family()
        if not isinstance(value, _SHAPED_BY_VALUE):
            self._by_type[type(value)] = normalizer.normalize
        return normalizer.normalize


def _refusal_of(value: object) -> str:
    if isinstance(value, tuple):
        return (
            f"the chat function answered with a tuple of {len(value)} values; declare what follows the answer, "
            'as in @app.chat(additional_outputs=("name", …)), or answer with a list'
        )
    return (
        f"the chat function answered with a value of type {type(value).__name__}: {shown(value)}; "
        "answer with text, a message, a list of messages, a File, a JSON value or a model library's chunk"
    )
