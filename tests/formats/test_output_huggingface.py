"""Hugging Face text generation, made by the real huggingface_hub, and what the real streamer of transformers is."""

from typing import Any

import pytest

from chatserve.contracts.formats import TextAppended
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import DataPart, Usage
from tests.formats.answers import end_of, normalize, normalize_all, text_of
from tests.support.libraries import require

huggingface_hub = require("huggingface_hub")


def token(text: str, *, special: bool = False) -> dict[str, Any]:
    return {"id": 1, "logprob": -0.1, "special": special, "text": text}


STREAM: list[dict[str, Any]] = [
    {"index": 1, "token": token("Hel"), "generated_text": None, "details": None},
    {"index": 2, "token": token("lo"), "generated_text": None, "details": None},
    {
        "index": 3,
        "token": token("</s>", special=True),
        "generated_text": "Hello",
        "details": {"finish_reason": "eos_token", "generated_tokens": 3, "input_length": 5},
    },
]


@pytest.mark.parametrize("as_dict", [False, True])
def test_tokens_are_appended_without_special_ones_and_the_repeat(as_dict: bool):
    kind = huggingface_hub.TextGenerationStreamOutput
    outputs = normalize_all(STREAM if as_dict else map(kind.parse_obj_as_instance, STREAM))
    assert (text_of(outputs), end_of(outputs)) == ("Hello", ("stop", Usage(5, 3)))


def test_whole_generation_is_the_answer():
    details = {"finish_reason": "length", "generated_tokens": 3, "prefill": [{}, {}], "tokens": []}
    body = {"generated_text": "Hello", "details": details}
    outputs = normalize(huggingface_hub.TextGenerationOutput.parse_obj_as_instance(body))
    assert (text_of(outputs), end_of(outputs)) == ("Hello", ("length", Usage(2, 3)))


def test_whole_generation_without_details_is_the_answer():
    outputs = normalize(huggingface_hub.TextGenerationOutput.parse_obj_as_instance({"generated_text": "Hello"}))
    assert outputs == [TextAppended("Hello")]


def test_streamer_is_an_iterator_of_text_with_a_queue_and_no_value_of_its_own():
    """`chat_function` recognizes it by these and passes each text as `TextAppended`."""
    numpy, transformers = require("numpy"), require("transformers")
    streamer = transformers.TextIteratorStreamer(WordTokenizer(), timeout=1)
    for number in range(3):
        streamer.put(numpy.array([number]))
    streamer.end()
    assert hasattr(streamer, "text_queue")
    assert hasattr(streamer, "__next__")
    assert text_of(normalize_all(map(TextAppended, streamer))) == "w0 w1 w2 "
    with pytest.raises(AnswerInvalid, match="TextIteratorStreamer"):
        normalize(streamer)


class WordTokenizer:
    """As much of a tokenizer as the streamer calls."""

    def decode(self, token_ids: list[int], **_: Any) -> str:
        return "".join(f"w{number} " for number in token_ids)


def test_dict_that_only_names_a_token_is_data():
    (output,) = normalize({"token": "secret"})
    assert output.messages[0].content == (DataPart({"token": "secret"}),)
