"""LiteLLM against a server: each thing that is tried prints one JSON line, its name and what came of it.

It imports nothing of the tests, for it runs where only that package is. Usage: `litellm_driver.py URL`.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches a list of prices when it is imported

import litellm

litellm.suppress_debug_info = True  # else its advice stands among the lines
URL = sys.argv[1]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def complete(content: str, model: str = "assistant", **options: Any) -> Any:
    messages = [{"role": "user", "content": content}]
    where = {"api_base": f"{URL}/v1", "api_key": "any"}
    return litellm.completion(model=f"openai/{model}", messages=messages, **where, **options)


def whole() -> Any:
    answer = complete("say one two")
    return [answer.choices[0].message.content, answer.choices[0].finish_reason, answer.usage.total_tokens]


def streamed() -> Any:
    chunks = list(complete("say one two", stream=True, stream_options={"include_usage": True}))
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    return ["".join(word or "" for word in words), chunks[-1].usage.total_tokens]


def reasoning() -> Any:
    deltas = [chunk.choices[0].delta for chunk in complete("think so", stream=True)]
    pieces = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    return [complete("think so").choices[0].message.reasoning_content, "".join(pieces)]


def calls() -> Any:
    return _calls_of(complete("call Oslo Rome", tools=[WEATHER]))


def streamed_calls() -> Any:
    return _calls_of(litellm.stream_chunk_builder(list(complete("call Oslo Rome", tools=[WEATHER], stream=True))))


def _calls_of(answer: Any) -> Any:
    (choice,) = answer.choices
    return [
        choice.finish_reason,
        [[call.id, call.function.name, call.function.arguments] for call in choice.message.tool_calls],
    ]


def unknown_model() -> Any:
    return _refused(lambda: complete("say hi", "none"))


def failure() -> Any:
    return _refused(lambda: complete("fail at once"))


def failure_in_mid_stream() -> Any:
    return _refused(lambda: list(complete("fail later on", stream=True)))


def _refused(ask: Callable[[], Any]) -> str:
    try:
        ask()
    except Exception as error:
        return type(error).__name__
    return "no error"


for row in (whole, streamed, reasoning, calls, streamed_calls, unknown_model, failure, failure_in_mid_stream):
    print(json.dumps([row.__name__, row()]), flush=True)
