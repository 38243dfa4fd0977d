"""The table of the corpus: for each file of `functions/`, what it answers to one message after another.

An answer that is a `str` is the same for every client. `None` stands for no answer.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import Any, Final, TypeAlias

NUMBERS: Final = ("one", "two", "three", "four", "five")
"""What is said in each turn where a shape does not say otherwise."""


@dataclass(frozen=True)
class Told:
    """An answer that is more than its words.

    `text` are the words, `content` of the messages natively, `openai` and `gradio` what these clients get, where it is
    not the words.
    """

    text: str
    content: list[Any] | None = None
    openai: str | re.Pattern[str] | None = None
    gradio: Any = None


@dataclass(frozen=True)
class Refused:
    """A turn that ends in an error: its code, and a part of what the person is shown."""

    code: str
    text: str = ""


Answer: TypeAlias = str | Told | Refused | None


@dataclass(frozen=True)
class Shape:
    """The answers of a file. `options` are those of `chatserve run`; `inputs` are given in each turn."""

    answers: tuple[Answer, ...]
    said: tuple[Any, ...] = NUMBERS
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    openai: tuple[Answer, ...] | None = None
    """The answers to a client that sends the conversation itself, where they differ."""


def each(*answers: Answer, **more: Any) -> Shape:
    return Shape(answers, **more)


def same(pattern: str, words: tuple[str, ...] = NUMBERS[:3], **more: Any) -> Shape:
    """Return a shape whose answers differ in what was said (`{}`) and in the turn's number from 0 (`{n}`)."""
    return Shape(tuple(pattern.format(word, n=n, m=2 * n, k=n + 1) for n, word in enumerate(words)), **more)


def by_word(answer: Callable[[str], Answer]) -> Shape:
    return Shape(tuple(answer(word) for word in NUMBERS[:3]))


def whole(pattern: str, **more: Any) -> Shape:
    """Return a shape of five turns whose answers are lists of one message."""
    texts = [pattern.format(word, n=n, m=2 * n, k=2 * n + 1) for n, word in enumerate(NUMBERS)]
    return each(*(Told(text, [text], gradio=[text]) for text in texts), **more)


def data(value: Any, **more: str) -> Told:
    """Return an answer that is data; `more` is the name of its part."""
    shown = re.compile(re.escape(dumps(value, separators=(",", ":"))))
    return Told("", [[{"type": "data", "data": value, **more}]], shown, value)


def steps(*pairs: tuple[str, str], text: str) -> Told:
    """Return thoughts with their titles, and the answer."""
    shown = [{"content": content, "title": title} for title, content in pairs]
    return Told(text, [*(content for _, content in pairs), text], text, [*shown, text])


def paragraphs(*texts: str) -> Told:
    """Return an answer of several messages."""
    return Told(texts[-1], list(texts), "\n\n".join(texts), list(texts))


def with_options(text: str, *options: dict[str, str]) -> Told:
    return Told(text, gradio={"content": text, "options": list(options)})


def with_file(name: str, content: str, *texts: str) -> Told:
    """Return an answer of texts, each a message, and a file."""
    link = re.escape("".join(f"{text}\n\n" for text in texts) + f"[{name}](")
    shown = {"file": content}
    return Told("", [*texts, [{"type": "file", "name": name}]], re.compile(link), [*texts, shown] if texts else shown)


def with_code(text: str, code: str) -> Told:
    """Return an answer with a part named `code`."""
    parts = [{"type": "data", "data": code, "name": "code"}, {"type": "text", "text": text}]
    return Told(text, [parts], gradio={"content": parts})


INVALID = Refused("answer_invalid")
FAILED = Refused("chat_function_failed", "the chat function failed")

SHAPES: Final[Mapping[str, Shape]] = {
    # functions as they are written first
    "plain_return": same("{} after {m}"),
    "plain_yield": same("{}"),
    "plain_async": each("ONE", "TWO", "THREE"),
    "plain_async_generator": same("{}"),
    "only_candidate": each("on", "tw", "th"),
    "other_parameter_names": same("{}?"),
    "kept_in_a_lambda": same("{}!"),
    "callable_object": each("one", "one two", "one two three"),
    "bound_method": same("Ada heard {}"),
    "bound_async_generator": same("I heard {}"),
    "partial_with_a_secret": same("{}"),
    "partial_of_a_generator": each("o-n-e", "t-w-o", "t-h-r-e-e"),
    "decorated_with_wraps": same("logged: {}"),
    # parameters
    "client_as_a_default": same("completed {}"),
    "memory_in_a_default": each("one", "one two", "one two three"),
    "settings_in_a_dataclass": same("Dear {}"),
    "typed_inputs": each("ONEONEONE", "TWOTWOTWO", inputs={"tone": "loud", "times": 3}),
    "untyped_inputs": same("Be brief. 0.5 False None {}"),
    "keyword_only_inputs": same(">{}!", inputs={"suffix": "!"}),
    "nested_model_as_input": same("3 None {}", inputs={"options": {"sizes": [3]}}),
    # what comes back
    "returns_nothing": each(None, None, None),
    "yields_nothing": each(None, "only here", None),
    "returns_none_at_times": each("0 before", None, "3 before", openai=("0 before", None, "4 before")),
    "empty_string": each(*[Told("", [""], gradio="")] * 3),
    "generator_with_a_return_value": same("thought about {}"),
    "generator_that_only_returns": each("eno", "owt", "eerht"),
    "replaced_text": same("Found {}"),
    "unicode_and_lines": each(*["Grüße 👩‍👩‍👧\u2028\r\n\tzwei\u0085drei"] * 3),
    "long_answer": each("".join(f"{number} " for number in range(2000))),
    "message_dict": same("I heard {}"),
    "message_dict_without_role": each("One", "Two", "Three"),
    "list_of_strings": by_word(lambda word: paragraphs(f"first {word}", f"second {word}")),
    "tool_steps_as_dicts": by_word(lambda word: steps(("Searching", f"3 pages about {word}"), text=f"Here is {word}")),
    "answer_with_options": by_word(
        lambda word: with_options(f"{word}?", {"value": "yes", "label": "Yes!"}, {"value": "no"})
    ),
    "json_answer": by_word(lambda word: data({"asked": word, "sizes": [1, 2.5, None], "found": True})),
    "number_answer": each(data(3), data(3), data(5)),
    "pydantic_answer": by_word(lambda word: data({"city": word, "degrees": 21}, name="Weather")),
    "dataclass_answer": by_word(lambda word: data({"city": word, "degrees": 21}, name="Weather")),
    "path_answer": by_word(lambda word: with_file(f"{word}.txt", word * 2)),
    "text_and_a_file": by_word(lambda word: with_file("note.txt", word, "Here it is:")),
    "secret_object_in_text": each(INVALID, INVALID),
    "secret_object_in_a_dict": each(INVALID, INVALID),
    "secret_object_as_content": each(INVALID, INVALID),
    "path_that_is_not_allowed": each(INVALID, INVALID),
    "pair_with_a_path_that_is_not_allowed": each(INVALID, INVALID),
    "failing_at_once": each("|one", FAILED, "one |one|three"),
    "failing_in_mid_answer": each("one and 0", FAILED, "three and 4", openai=("one and 0", FAILED, "three and 2")),
    # histories
    "pairs_by_annotation": each("one", "one>one two", "one>one two>one>one two three"),
    "pairs_in_a_loop": each("one", "[one/one]two", "[one/one][two/[one/one]two]three"),
    "pairs_by_index": each("first", "before: one first", "before: two before: one first"),
    "pairs_in_a_comprehension": each("one", "one,two", "one,two,three"),
    "pairs_become_model_messages": each("2 messages, the last is one", "4 messages, the last is two"),
    "pairs_enumerated": each("one", "0one two", "0one 1two three"),
    "messages_become_model_messages": each("s9 u3", "s9 u3 a5 u3", "s9 u3 a5 u3 a11 u5"),
    "messages_counted_by_role": each("Yes, one", "No, two", "Yes, three"),
    "messages_by_get": each("|one", "one|two", "one two|three"),
    "messages_with_metadata": each(*(steps(("Thinking", "hm"), text=f"{n} thoughts before") for n in range(3))),
    "history_changed_in_place": same("{} 0"),
    "gradio6_parts": same("{m} before, {}"),
    "gradio6_last_text": each("start", "after start", "after after start"),
    "gradio5_metadata": same("{n} {}"),
    # whole histories, as functions of gr.Blocks give them back
    "whole_history_of_pairs": whole("{n} before {}"),
    "whole_history_of_pairs_streamed": whole("you said {}"),
    "whole_history_of_messages": whole("{k} with {}"),
    "whole_history_answer_only": whole("{m} before {}"),
    "whole_history_streamed_in_place": whole("{}"),
    "whole_history_with_a_system_message": whole("{m} before {}"),
    "whole_history_trimmed": each(*(Told(text, [text], gradio=[text]) for text in ("kept 0", *["kept 2"] * 4))),
    "whole_history_with_tool_steps": each(*(steps(("Tool", "looking"), text=f"found {word}") for word in NUMBERS)),
    "whole_history_async": whole("{0}{0}"),
    # streams of model libraries
    "openai_chunks": same("you said {}"),
    "openai_completion": same("whole {}"),
    "openai_text_added_up": same("well, {}"),
    "openai_responses_events": same("event {}"),
    "anthropic_events": same("claude said {}"),
    "langchain_chunks": same("chain {}"),
    "langchain_message": each("1: one", "3: two", "5: three"),
    "langchain_pairs": each("1: one", "3: two", "5: three"),
    "huggingface_chunks": same("hub {}"),
    "streamer_in_a_thread": same("token {}"),
    # gr.ChatInterface of each era
    "gradio3_pairs": each("Yes", "No", "Yes", options={"history": "tuples"}),
    "gradio3_streaming_with_inputs": same("You are helpful: {}"),
    "gradio3_buttons_and_theme": each("Yes", "Ask me anything!", said=("So?", "No.")),
    "gradio4_messages": each("Yes, I do think that: one", "I don't think so", "Yes, I do think that: three"),
    "gradio4_tuples_declared": each("one", "one two", "one two three"),
    "gradio5_chat_message": by_word(lambda word: steps(("Thinking", "thought"), ("Tool", "tool"), text=f"So: {word}")),
    "gradio5_error": each("one", Refused("", "No twos here."), "three"),
    "gradio5_request": same("{} str 127.0.0.1"),
    "gradio5_progress": same("done {}"),
    "gradio5_state": same("{} is number {k}"),
    "gradio5_additional_outputs": each("plain one", with_code("the second", "print(2)"), "plain three"),
    "gradio5_chatbot_value": same("{} {k}", openai=tuple(f"{word} {n}" for n, word in enumerate(NUMBERS[:3]))),
    "gradio5_inputs_of_every_kind": same("warm 3 ['a'] {}"),
    "gradio5_multimodal": each("You said 'one' with 0 files", "You said 'two' with 0 files"),
    "gradio5_options": by_word(lambda word: with_options(f"{word}: which?", {"value": "tea"}, {"value": "coffee"})),
    "gradio6_chat": each("one", "one two", "one two three"),
    "gradio6_files_in_history": each("0 new, 0 before, one", "0 new, 0 before, two"),
    "gradio6_validator": each("one 0", Refused("", "No twos, please."), "three 2"),
    "gradio6_html": same("<b>{}</b>"),
    "gradio_made_under_main": same("main {}"),
    "gradio_helper_beside_the_chat": same("helped({})"),
    "gradio_lambda": same("lambda {}"),
    # shapes that need chatserve
    "deltas_declared": each("ONE", "TWO", "THREE"),
    "context_first": same("{} {k}"),
    "request_in_the_middle": same("POST {} {m}"),
    "error_with_a_status": each("one", Refused("model_busy", "the model is busy"), "three"),
    "validator_that_returns_text": each("one 0", Refused("", "no twos, please"), "three 2"),
    "validator_that_returns_a_dict": each(Refused(""), Refused("")),
    "greeting": same("{} {k}", openai=tuple(f"{word} {n}" for n, word in enumerate(NUMBERS[:3]))),
    "additional_outputs_and_state": each(
        *(with_code(f"{word} {k}", f"print({k})") for k, word in enumerate(NUMBERS[:3], 1))
    ),
}
