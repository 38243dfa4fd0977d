"""How a page of `gr.Blocks` calls a function: the components it takes values from, and those it gives values to.

It is read from the source of the page, as in `box.submit(respond, [box, chatbot], [box, chatbot])`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chatserve.cli.target.gradio.record import given_to, is_chatbot, is_gradio


@dataclass(frozen=True, slots=True)
class Wiring:
    """The components that a function takes after message and history, those it answers with, and its chatbot."""

    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    chatbot: Any

    @property
    def declared_type(self) -> Any:
        """The shape of history that the chatbot says, or None."""
        return given_to(self.chatbot).get("type")


def find_wiring(function: Callable[..., Any], names: Mapping[str, Any], tree: ast.Module) -> Wiring | None:
    """Return how a page calls a function with a message and a chatbot's history; None if it does not.

    `names` are those of the module whose source is `tree`.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        arguments = _arguments(node, function, names)
        inputs, outputs = (_components(arguments.get(name), names) for name in ("inputs", "outputs"))
        if len(inputs) > 1 and is_chatbot(inputs[1]) and not is_chatbot(inputs[0]) and any(map(is_chatbot, outputs)):
            return Wiring(tuple(inputs[2:]), tuple(outputs), inputs[1])
    return None


def _arguments(call: ast.Call, function: Callable[..., Any], names: Mapping[str, Any]) -> dict[str | None, ast.expr]:
    """Return the inputs and outputs of a call that connects the function; empty if it does not."""
    named = {each.arg: each.value for each in call.keywords}
    for place, value in enumerate(call.args):
        if _value(value, names) is function:
            return dict(zip(("inputs", "outputs"), call.args[place + 1 :], strict=False)) | named
    return named if _value(named.get("fn"), names) is function else {}


def _components(node: ast.expr | None, names: Mapping[str, Any]) -> list[Any]:
    listed = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
    values = [_value(each, names) for each in listed]
    return values if all(map(is_gradio, values)) else []


def _value(node: ast.expr | None, names: Mapping[str, Any]) -> Any:
    return names.get(node.id) if isinstance(node, ast.Name) else None
