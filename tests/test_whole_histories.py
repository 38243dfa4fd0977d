"""Functions that answer with the whole history, each as some tutorial writes it: only the answer is kept."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from chatserve import ChatMessage, ChatServer
from chatserve.formats.history import HISTORY_FORMATS
from chatserve.testing import ChatClient

TURNS = 5
SYSTEM = {"role": "system", "content": "Be kind."}


def asked(message: str) -> dict[str, Any]:
    return {"role": "user", "content": message}


def answered(message: str) -> dict[str, Any]:
    return {"role": "assistant", "content": f"re {message}"}


# --- as messages -------------------------------------------------------------------------------------------------


def append(message, history):
    history.append(asked(message))
    history.append(answered(message))
    return history


def append_answer_only(message, history):
    history.append(answered(message))
    return history


def add(message, history):
    return history + [asked(message), answered(message)]  # noqa: RUF005 - as people write it


def add_answer_only(message, history):
    return [*history, answered(message)]


def system_in_front(message, history):
    return [SYSTEM, *history, asked(message), answered(message)]


def system_in_front_answer_only(message, history):
    return [SYSTEM, *history, answered(message)] if history else [answered(message)]


def two_in_front_answer_only(message, history):
    return [SYSTEM, SYSTEM, *history, answered(message)] if history else [answered(message)]


def inserted_in_front(message, history):
    history.insert(0, SYSTEM)
    history += [asked(message), answered(message)]
    return history


def trimmed(message, history):
    return [*history, asked(message), answered(message)][-4:]


def trimmed_to_one_turn(message, history):
    return [*history, asked(message), answered(message)][-2:]


def trimmed_answer_only(message, history):
    return [*history[-4:], answered(message)]


def summed_up(message, history):
    summary = {"role": "system", "content": f"{len(history)} messages so far"}
    return [summary, asked(message), answered(message)]


def deep_copied(message, history):
    messages = copy.deepcopy(history)
    messages += [asked(message), answered(message)]
    return messages


def rebuilt(message, history):
    messages = [{"role": entry["role"], "content": entry["content"]} for entry in history]
    return [*messages, asked(message), answered(message)]


def rebuilt_answer_only(message, history):
    return [{"role": entry["role"], "content": entry["content"]} for entry in history] + [answered(message)]


def of_objects(message, history):
    messages = [ChatMessage(entry["content"], role=entry["role"]) for entry in history]
    return [*messages, ChatMessage(message, role="user"), ChatMessage(f"re {message}")]


def stripped(message, history):
    for entry in history:
        if isinstance(entry["content"], str):
            entry["content"] = entry["content"].strip().lower()
    return [*history, asked(message.strip()), answered(message)]


def metadata_stripped(message, history):
    for entry in history:
        entry.pop("metadata", None)
        entry.pop("options", None)
    history.append(answered(message))
    return history


def question_rewritten(message, history):
    return [*history, asked(f"Context: none. Question: {message}"), answered(message)]


def yielded_as_it_grows(message, history):
    history.append(asked(message))
    yield history
    history.append({"role": "assistant", "content": ""})
    for character in f"re {message}":
        history[-1]["content"] += character
        yield history


def yielded_answer_only(message, history):
    for end in range(1, len(message) + 4):
        yield [*history, {"role": "assistant", "content": f"re {message}"[:end]}]


async def yielded_async(message, history):
    yield history
    history += [asked(message), answered(message)]
    yield history


def only_this_turn(message, history):
    return [asked(message), answered(message)]


def assistant_only(message, history):
    return [answered(message)]


MESSAGES: tuple[Callable[..., Any], ...] = (
    append,
    append_answer_only,
    add,
    add_answer_only,
    system_in_front,
    system_in_front_answer_only,
    two_in_front_answer_only,
    inserted_in_front,
    trimmed,
    trimmed_to_one_turn,
    trimmed_answer_only,
    summed_up,
    deep_copied,
    rebuilt,
    rebuilt_answer_only,
    of_objects,
    stripped,
    metadata_stripped,
    question_rewritten,
    yielded_as_it_grows,
    yielded_answer_only,
    yielded_async,
    only_this_turn,
    assistant_only,
)

# --- as pairs ----------------------------------------------------------------------------------------------------


def pair_appended(message, history):
    history.append([message, f"re {message}"])
    return history


def tuple_appended(message, history):
    history.append((message, f"re {message}"))
    return history


def pair_of_none(message, history):
    return [*history, [None, f"re {message}"]]


def pairs_rebuilt(message, history):
    return [(user, bot) for user, bot in history] + [(message, f"re {message}")]


def pairs_trimmed(message, history):
    return [*history, (message, f"re {message}")][-2:]


def pairs_summed_up(message, history):
    return [(None, f"{len(history)} turns so far"), (message, f"re {message}")]


def pair_in_front(message, history):
    return [("You are kind.", "I am."), *history, (message, f"re {message}")]


def pairs_stripped(message, history):
    return [[user.strip(), bot.strip()] for user, bot in history] + [[message.strip(), f"re {message}"]]


def pair_that_grows(message, history):
    history.append([message, ""])
    for character in f"re {message}":
        history[-1][1] += character
        yield history


def pair_without_answer_first(message, history):
    history.append([message, None])
    yield history
    history[-1][1] = f"re {message}"
    yield history


def messages_from_pairs(message, history):
    messages = []
    for user, bot in history:
        messages += [asked(user), {"role": "assistant", "content": bot}]
    return [*messages, asked(message), answered(message)]


PAIRS: tuple[Callable[..., Any], ...] = (
    pair_appended,
    tuple_appended,
    pair_of_none,
    pairs_rebuilt,
    pairs_trimmed,
    pairs_summed_up,
    pair_in_front,
    pairs_stripped,
    pair_that_grows,
    pair_without_answer_first,
    messages_from_pairs,
)

WAYS = [(idiom, shape) for shape in HISTORY_FORMATS if shape != "tuples" for idiom in MESSAGES]
WAYS += [(idiom, "tuples") for idiom in PAIRS]
QUESTIONS = {"different": [f" Q{number} " for number in range(TURNS)], "the same": ["hi"] * TURNS}


@pytest.mark.parametrize("questions", QUESTIONS)
@pytest.mark.parametrize(("idiom", "shape"), WAYS, ids=lambda value: getattr(value, "__name__", value))
def test_five_turns_of_a_whole_history_are_ten_messages(idiom: Callable[..., Any], shape: Any, questions: str):
    app = ChatServer()
    app.chat(history=shape)(idiom)
    with ChatClient(app) as client:
        session = client.session()
        for question in QUESTIONS[questions]:
            assert session.send(question).status == "completed"
        stored = [(message["role"], message["content"]) for message in session.messages]
    expected = [("user", question) for question in QUESTIONS[questions]]
    answers = [(role, text.strip()) for role, text in stored[1::2]]
    assert stored[::2] == expected
    assert answers == [("assistant", f"re {question}".strip()) for question in QUESTIONS[questions]]


def test_a_history_that_cannot_be_recognized_is_warned_of_once(caplog: pytest.LogCaptureFixture):
    with ChatClient(question_rewritten, debug=True) as client:
        session = client.session()
        for _ in range(3):
            session.send("hi")
    assert not [record for record in caplog.records if "neither holds" in record.message]

    def summed_up_and_rewritten(message, history):
        return [{"role": "user", "content": f"{len(history)} before. {message}"}, answered(message)]

    with ChatClient(summed_up_and_rewritten, debug=True) as client:
        session = client.session()
        for _ in range(3):
            session.send("hi")
    assert len([record for record in caplog.records if "neither holds" in record.message]) == 1


def test_objects_that_refuse_to_be_compared_are_no_part_of_the_history():
    class Unequal(SimpleNamespace):
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

    def predict(message, history):
        return [Unequal(role="assistant", content={"type": "data", "data": 1}), asked(message), answered(message)]

    with ChatClient(predict) as client:
        session = client.session()
        assert [session.send(text).text for text in ("a", "b")] == ["re a", "re b"]
