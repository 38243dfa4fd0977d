"""Gradio's components in answers, recognized without Gradio: as Gradio 5 and 6 make them, and as its stand-in does."""

import io
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chatserve import ChatMessage
from chatserve.contracts.formats import ParsedMessage, PartAppended
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import DataPart, LocalFile, SourcePart, TextPart
from tests.formats.answers import DELTAS, normalize, snapshot


class Gradios:
    """A component as Gradio makes it: its arguments are kept, `value` is a copy in its cache."""

    def __init__(self, **given: Any) -> None:
        self._constructor_args = [given, {"label": None}]
        self.value = {"path": "/tmp/gradio/hash/copy", "meta": {"_type": "gradio.FileData"}}


class StandIns:
    """A component as the stand-in makes it: it has any attribute."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "given":
            raise AttributeError(name)
        return SimpleNamespace()


def component(maker: type, name: str, **given: Any) -> Any:
    base = type("Component", (maker,), {"__module__": "gradio.components.base"})
    return type(name, (base,), {"__module__": f"gradio.components.{name.lower()}"})(**given)


class Frame:
    """A table of pandas."""

    columns = ("a", "b")

    def to_dict(self, orient: str) -> dict[str, Any]:
        return {orient: 0, "columns": ["a", "b"], "data": [[1, 2]]}


class Figure:
    def savefig(self, file: Any, format: str) -> None:  # noqa: A002 - matplotlib's name
        file.write(format.encode())


class PlotlyFigure:
    def to_image(self, format: str) -> bytes:  # noqa: A002 - plotly's name
        return format.encode()


Figure.__module__ = "matplotlib.figure"
NAMED = LocalFile(Path("/srv/a.png"), is_named=True)
PNG = LocalFile(b"png", "image.png", "image/png")
TABLE = {"headers": ["a", "b"], "data": [[1, 2]]}

PARTS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "image by path": ("Image", {"value": "/srv/a.png"}, [NAMED]),
    "image by Path": ("Image", {"value": Path("/srv/a.png")}, [LocalFile(Path("/srv/a.png"))]),
    "image by address": ("Image", {"value": "https://a.example/b.png"}, [SourcePart("https://a.example/b.png")]),
    "image by dict": ("Image", {"value": {"path": "/srv/a.png"}}, [NAMED]),
    "image of pixels": ("Image", {"value": np.zeros((2, 2, 3))}, [PNG]),
    "nothing": ("Image", {"value": None}, []),
    "no value": ("File", {}, None),  # type: ignore[dict-item]
    "video": ("Video", {"value": "/srv/a.png"}, [NAMED]),
    "video with subtitles": ("Video", {"value": ("/srv/a.png", "/srv/a.srt")}, [NAMED]),
    "files": ("File", {"value": ["/srv/a.png", "/srv/a.png"]}, [NAMED, NAMED]),
    "gallery": ("Gallery", {"value": ["/srv/a.png", ("/srv/a.png", "caption")]}, [NAMED, NAMED]),
    "audio by path": ("Audio", {"value": "/srv/a.png"}, [NAMED]),
    "plot": ("Plot", {"value": Figure()}, [LocalFile(b"png", "plot.png", "image/png")]),
    "plot of plotly": ("Plot", {"value": PlotlyFigure()}, [LocalFile(b"png", "plot.png", "image/png")]),
    "code": ("Code", {"value": "print(1)", "language": "python"}, [TextPart("print(1)")]),
    "html": ("HTML", {"value": "<b>x</b>"}, [TextPart("<b>x</b>")]),
    "markdown": ("Markdown", {"value": "# x"}, [TextPart("# x")]),
    "json": ("JSON", {"value": {"a": 1}}, [DataPart({"a": 1}, "json")]),
    "json as text": ("JSON", {"value": "[1]"}, [DataPart([1], "json")]),
    "label": ("Label", {"value": "cat"}, [DataPart({"label": "cat"}, "label")]),
    "label with confidences": (
        "Label",
        {"value": {"dog": 0.1, "cat": 0.9}},
        [
            DataPart(
                {
                    "label": "cat",
                    "confidences": [{"label": "cat", "confidence": 0.9}, {"label": "dog", "confidence": 0.1}],
                },
                "label",
            )
        ],
    ),
    "table of rows": ("Dataframe", {"value": [[1, 2]], "headers": ["a", "b"]}, [DataPart(TABLE, "dataframe")]),
    "table of pandas": ("DataFrame", {"value": Frame()}, [DataPart(TABLE, "dataframe")]),
    "table of Gradio": ("Dataframe", {"value": TABLE}, [DataPart(TABLE, "dataframe")]),
    "table of numpy": (
        "Dataframe",
        {"value": np.array([[1, 2]]), "headers": ["a", "b"]},
        [DataPart(TABLE, "dataframe")],
    ),
}


@pytest.fixture
def pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a Pillow in place that draws nothing."""

    class Picture:
        mode = "RGB"

        def save(self, file: Any, format: str) -> None:  # noqa: A002 - Pillow's name
            file.write(format.lower().encode())

    image: Any = ModuleType("PIL.Image")
    image.fromarray = lambda array: Picture() if array.dtype == np.uint8 else None
    package: Any = ModuleType("PIL")
    package.Image = image
    monkeypatch.setitem(sys.modules, "PIL", package)
    monkeypatch.setitem(sys.modules, "PIL.Image", image)


SHAPES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda made: made,
    "content": ChatMessage,
    "in content": lambda made: ChatMessage([made]),
    "in a list": lambda made: [made],
    "dict": lambda made: {"role": "assistant", "content": made},
    "in a pair": lambda made: [[None, made]],
}


@pytest.mark.usefixtures("pillow")
@pytest.mark.parametrize("maker", [Gradios, StandIns])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize(("name", "given", "parts"), PARTS.values(), ids=PARTS.keys())
def test_component_is_the_part_of_its_value(
    name: str, given: dict[str, Any], parts: list[Any] | None, shape: Callable[[Any], Any], maker: type
):
    if parts is None:
        if maker is Gradios:
            pytest.skip("Gradio always knows the value")
        parts = []
    (output,) = normalize(shape(component(maker, name, **given)))
    (message,) = output.messages
    assert message.content == tuple(parts)


def test_component_is_appended_in_delta_mode():
    assert normalize(component(Gradios, "Code", value="x"), DELTAS) == [PartAppended(TextPart("x"))]


def test_figure_is_a_picture_without_a_component():
    picture = LocalFile(b"png", "image.png", "image/png")
    assert normalize(Figure()) == snapshot(ParsedMessage("assistant", (picture,)))


@pytest.mark.parametrize(
    ("samples", "frames"),
    [
        (np.array([0, 1000], dtype="int16"), [0, 1000]),
        (np.array([0, 1.0, -2.0], dtype="float32"), [0, 32767, -32767]),
        (np.array([1 << 20, -(1 << 20)], dtype="int32"), [16, -16]),
        (np.array([0, 128, 255], dtype="uint8"), [-32768, 0, 32512]),
        (np.array([[1, 2], [3, 4]], dtype="int16"), [1, 2, 3, 4]),
    ],
)
def test_sound_in_memory_is_wav_of_16_bits(samples: Any, frames: list[int]):
    (output,) = normalize(component(Gradios, "Audio", value=(8000, samples)))
    (part,) = output.messages[0].content
    with wave.open(io.BytesIO(bytes(part.source))) as file:
        assert (file.getframerate(), file.getnchannels()) == (8000, samples.shape[1] if samples.ndim > 1 else 1)
        assert np.frombuffer(file.readframes(99), dtype="<i2").tolist() == frames


REFUSED: dict[str, tuple[str, Any]] = {
    "another component": ("Slider", 3),
    "file of an object": ("File", object()),
    "plot of an object": ("Plot", object()),
    "code of an object": ("Code", object()),
    "html of a dict": ("HTML", {"a": 1}),
    "json of an object": ("JSON", {"a": object()}),
    "json of no JSON": ("JSON", "no JSON"),
    "table of an object": ("Dataframe", object()),
    "table of objects": ("Dataframe", [[object()]]),
    "image of text pixels": ("Image", np.array(["x"])),
}


@pytest.mark.usefixtures("pillow")
@pytest.mark.parametrize("maker", [Gradios, StandIns])
@pytest.mark.parametrize(("name", "value"), REFUSED.values(), ids=REFUSED.keys())
def test_other_components_are_refused(name: str, value: Any, maker: type):
    for shape in (lambda made: made, ChatMessage, lambda made: {"in": made}):
        with pytest.raises(AnswerInvalid):
            normalize(shape(component(maker, name, value=value)))


def test_component_within_data_is_refused():
    for maker in (Gradios, StandIns):
        with pytest.raises(AnswerInvalid, match=r"no JSON form"):
            normalize({"a": [component(maker, "Code", value="x")]})


def test_picture_without_pillow_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(AnswerInvalid, match=r"cannot be drawn as PNG"):
        normalize(component(Gradios, "Image", value=np.zeros((2, 2, 3))))
