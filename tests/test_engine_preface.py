"""A preface stands before the history a function is given, for one turn, and is stored nowhere."""

from typing import Any

from chatserve.core.types import Message, TextPart
from tests.support.engine import open_engine

PREFACE = (Message("m_p", "system", (TextPart("Be brief."),), 1),)


async def test_function_is_given_the_preface_once_and_nothing_of_it_is_stored() -> None:
    given: list[list[str]] = []

    def answer(message: str, history: list[dict[str, Any]]) -> str:
        given.append([entry["content"] for entry in history])
        return message.upper()

    async with open_engine(answer) as engine:
        await engine.ask("a", preface=PREFACE)
        await engine.ask("b", preface=PREFACE)
        await engine.ask("c")
        assert given == [["Be brief."], ["Be brief.", "a", "A"], ["a", "A", "b", "B"]]
        assert [text for _, text in await engine.history()] == ["a", "A", "b", "B", "c", "C"]


async def test_history_that_begins_with_the_preface_is_told_from_the_answer() -> None:
    def answer(message: str, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*history, {"role": "user", "content": message}, {"role": "assistant", "content": "yes"}]

    async with open_engine(answer) as engine:
        record = await engine.ask("a", preface=PREFACE)
        assert [message.text for message in record.messages] == ["yes"]


async def test_stateless_turn_has_its_preface_before_the_history_sent() -> None:
    def answer(message: str, history: list[dict[str, Any]]) -> str:
        return " ".join(entry["content"] for entry in history)

    async with open_engine(answer) as engine:
        sent = (Message("m_1", "user", (TextPart("a"),), 1),)
        record = await engine.ask(session_id="", history=sent, preface=PREFACE)
        assert record.messages[0].text == "Be brief. a"
