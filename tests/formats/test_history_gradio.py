"""History as Gradio 5 and 6 give it: the same entries as `gr.Chatbot.preprocess` of each makes."""

from typing import Any

import pytest

from chatserve.core.types import DataPart, FilePart, Message, ReasoningPart, SourcePart
from chatserve.formats.history import HISTORY_FORMATS
from tests.formats.conversations import CALL, IMAGE, MULTIMODAL, RESULT, TEXT_ONLY, assistant, message, user

NOTE = FilePart("f_2", "b.txt", "text/plain", 1)
THOUGHT = {"title": "Search", "id": 1, "parent_id": 0, "duration": 2.5, "status": "done"}
OPTIONS = ({"value": "yes", "label": "Yes"},)


def five(role: str, content: Any, metadata: Any = None, options: Any = None) -> dict[str, Any]:
    return {"role": role, "metadata": metadata, "content": content, "options": options}


def file(path: str, size: int, name: str, media_type: str) -> dict[str, Any]:
    data = {
        "path": path,
        "url": None,
        "size": size,
        "orig_name": name,
        "mime_type": media_type,
        "is_stream": False,
        "meta": {"_type": "gradio.FileData"},
    }
    return {"file": data, "alt_text": None, "type": "file"}


CAT = file("/files/f_1", 3, "cat.png", "image/png")
TXT = file("/files/f_2", 1, "b.txt", "text/plain")

RENDERED: dict[str, tuple[Message, list[Any], list[list[Any]]]] = {
    "text": (user("hi"), [five("user", "hi")], [["hi"]]),
    "empty text": (assistant(""), [five("assistant", "")], [[""]]),
    "system": (message("system", "be kind"), [five("system", "be kind")], [["be kind"]]),
    "files of a user before his text": (
        user("look", IMAGE, NOTE),
        [five("user", ("/files/f_1",)), five("user", ("/files/f_2",)), five("user", "look")],
        [[CAT, TXT, "look"]],
    ),
    "files alone": (user(IMAGE), [five("user", ("/files/f_1",))], [[CAT]]),
    "files without a word": (user("", IMAGE), [five("user", ("/files/f_1",))], [[CAT]]),
    "an answer in its order": (
        assistant("before", IMAGE, "after"),
        [five("assistant", "before"), five("assistant", ("/files/f_1",)), five("assistant", "after")],
        [["before", CAT, "after"]],
    ),
    "texts that nothing parts": (assistant("a", CALL, RESULT, "b"), [five("assistant", "ab")], [["ab"]]),
    "a thought": (
        assistant("hm", metadata=THOUGHT),
        [five("assistant", "hm", THOUGHT)],
        [["hm"]],
    ),
    "a thought without words": (assistant(CALL, metadata=THOUGHT), [five("assistant", "", THOUGHT)], [[""]]),
    "options": (
        assistant("sure?", IMAGE, options=OPTIONS, metadata={"own": [1]}),
        [
            five("assistant", "sure?", {"own": [1]}),
            five("assistant", ("/files/f_1",), {"own": [1]}, list(OPTIONS)),
        ],
        [["sure?", CAT]],
    ),
    "data and sources in place of text": (
        assistant(DataPart({"a": 1}), SourcePart("https://a.example")),
        [five("assistant", '{"a":1}\nhttps://a.example')],
        [['{"a":1}\nhttps://a.example']],
    ),
    "data beside text": (assistant("see", DataPart(1)), [five("assistant", "see")], [["see"]]),
    "reasoning and tools alone": (assistant(ReasoningPart("hm"), CALL), [], []),
    "results": (message("tool", RESULT), [], []),
}


@pytest.mark.parametrize(("stored", "in_five", "contents"), RENDERED.values(), ids=RENDERED.keys())
@pytest.mark.parametrize("options", [TEXT_ONLY, MULTIMODAL], ids=["text only", "multimodal"])
def test_message_is_rendered_as_gradio_passes_it(
    options: Any, stored: Message, in_five: list[Any], contents: list[list[Any]]
):
    parts = [
        [{"text": part, "type": "text"} if isinstance(part, str) else part for part in content] for content in contents
    ]
    ends = [five(stored.role, content, in_five[0]["metadata"], in_five[-1]["options"]) for content in parts]
    assert HISTORY_FORMATS["gradio5"].render([stored], options) == in_five
    assert HISTORY_FORMATS["gradio6"].render([stored], options) == ends


@pytest.mark.parametrize("name", ["gradio5", "gradio6"])
def test_what_clients_send_in_gradios_shape_is_read(name: str):
    sent = [
        five("user", [{"type": "text", "text": "hi"}]),
        five("assistant", "hello", {"title": "T"}, [{"value": "a"}]),
    ]
    parsed = HISTORY_FORMATS[name].parse(sent)
    assert [(each.role, each.metadata, each.options) for each in parsed] == [
        ("user", None, None),
        ("assistant", {"title": "T"}, ({"value": "a"},)),
    ]
