"""Gradio's components, pictures and figures as parts of an answer.

They are recognized by the names of their classes and modules; Gradio is never imported. A component counts for the
value it was made with. A path in it is plain data; pictures, sounds and figures that are in memory become PNG and WAV.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from chatserve import codec
from chatserve.core.errors import AnswerInvalid
from chatserve.core.types import DataPart, DraftPart, LocalFile, TextPart
from chatserve.formats.shared.file_parts import is_file, named_file, read_file
from chatserve.formats.shared.model_answer import json_of

Parts = Iterator[DraftPart]


def is_component(value: object) -> bool:
    """Whether a value is a component of Gradio, of any kind."""
    return any(base.__name__ == "Component" and _root_of(base) == "gradio" for base in type(value).__mro__)


def is_shown(value: object) -> bool:
    """Whether a value is a file or something that is drawn, so that it stands for parts of its own."""
    return is_file(value) or is_component(value) or _is_drawn(value)


def read_shown(value: Any) -> tuple[DraftPart, ...]:
    """Read a value for which `is_shown` is true. An empty component is no part, a gallery one for each picture.

    Raises:
        AnswerInvalid: the component is of a kind that has no part, or its value is not one of its kind.
    """
    if is_file(value):
        return (read_file(value),)
    if is_component(value):
        kind = next((base.__name__ for base in type(value).__mro__ if base.__name__ in _READERS), None)
        if kind is None:
            raise AnswerInvalid(
                f"a gr.{type(value).__name__} has no place in an answer; these have: {', '.join(sorted(_READERS))}"
            )
        given = _value_of(value)
        return () if given is None else tuple(_READERS[kind](value, given))
    return (LocalFile(_png_of(value), "image.png", "image/png"),)


def _root_of(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _arguments_of(component: Any) -> Mapping[str, Any]:
    """Return the arguments a component was made with; Gradio keeps those of each constructor, the outermost first."""
    attributes = vars(component)
    calls = attributes.get("_constructor_args") or ()
    merged = {name: value for call in reversed(calls) for name, value in call.items()}
    return merged | dict(attributes.get("given") or ())


def _value_of(component: Any) -> Any:
    """Return the value a component was made with, not the copy that Gradio made of it."""
    given = _arguments_of(component)
    value = given["value"] if "value" in given else vars(component).get("value")
    return value() if callable(value) else value


def _wrong(component: Any, value: Any) -> AnswerInvalid:
    return AnswerInvalid(f"a gr.{type(component).__name__} in an answer has a value of type {type(value).__name__}")


# --- files -------------------------------------------------------------------------------------------------------


def _read_files(component: Any, value: Any) -> Parts:
    """Yield the files of a component: one, or a list of them, each of which may have a caption or subtitles."""
    for each in value if isinstance(value, list) else [value]:
        yield _read_one(component, each[0] if isinstance(each, tuple) and each else each)


def _read_one(component: Any, value: Any) -> DraftPart:
    if isinstance(value, str):
        return named_file(value)
    if isinstance(value, bytes):
        return LocalFile(value)
    if is_file(value):
        return read_file(value)
    if isinstance(value, dict) and is_file(inner := value.get("image") or value.get("video")):
        return read_file(inner)
    if _is_drawn(value) or hasattr(value, "dtype"):
        return LocalFile(_png_of(value), "image.png", "image/png")
    raise _wrong(component, value)


def _read_audio(component: Any, value: Any) -> Parts:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], int) and hasattr(value[1], "dtype"):
        yield LocalFile(_wav_of(*value), "audio.wav", "audio/wav")
    else:
        yield _read_one(component, value)


def _read_plot(component: Any, value: Any) -> Parts:
    if not (callable(getattr(value, "savefig", None)) or callable(getattr(value, "to_image", None))):
        raise _wrong(component, value)
    yield LocalFile(_png_of(value), "plot.png", "image/png")


def _is_drawn(value: object) -> bool:
    """Whether a value is a picture of Pillow or a figure of matplotlib."""
    kind = type(value)
    return (kind.__module__.startswith("PIL.") and hasattr(value, "save")) or (
        kind.__module__.startswith("matplotlib.") and hasattr(value, "savefig")
    )


def _png_of(value: Any) -> bytes:
    """Return a picture, an array of a picture, or a figure as PNG. Raises: AnswerInvalid: it cannot be drawn."""
    buffer = io.BytesIO()
    try:
        if hasattr(value, "savefig"):
            value.savefig(buffer, format="png")
        elif hasattr(value, "to_image"):  # of plotly
            return bytes(value.to_image(format="png"))
        else:
            picture = _picture_of(value) if hasattr(value, "dtype") else value
            picture = picture if picture.mode in _PNG_MODES else picture.convert("RGB")
            picture.save(buffer, format="PNG")
    except (ImportError, OSError, TypeError, ValueError, KeyError) as error:
        raise AnswerInvalid(f"a value of type {type(value).__name__} cannot be drawn as PNG: {error}") from error
    return buffer.getvalue()


_PNG_MODES: Final = frozenset({"1", "L", "LA", "I", "P", "RGB", "RGBA"})


def _picture_of(array: Any) -> Any:
    """Return a picture of rows of pixels, whose values are 0 to 255 or, as floats, 0 to 1. Raises: ImportError."""
    pictures: Any = import_module("PIL.Image")  # only who has pictures has Pillow
    scaled = (array * 255).round() if array.dtype.kind == "f" else array
    return pictures.fromarray(scaled.clip(0, 255).astype("uint8"))


def _wav_of(rate: int, samples: Any) -> bytes:
    """Return sound as WAV of 16 bits. Samples are integers, or floats from -1 to 1; a row for each point in time."""
    kind, width = samples.dtype.kind, samples.dtype.itemsize
    if kind == "f":
        samples = (samples.clip(-1, 1) * 32767).round()
    elif kind == "u":
        samples = samples.astype("int64") - (1 << (8 * width - 1))
    if kind in "iu" and width != 2:
        samples = samples.astype("int64") * 65536 // (1 << 8 * width)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(samples.shape[1] if len(samples.shape) > 1 else 1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


# --- text and data -----------------------------------------------------------------------------------------------


def _read_text(component: Any, value: Any) -> Parts:
    if not isinstance(value, str):
        raise _wrong(component, value)
    yield TextPart(str.__str__(value))


def _read_json(component: Any, value: Any) -> Parts:
    if isinstance(value, str):
        try:
            value = codec.loads(value)
        except ValueError as error:
            raise _wrong(component, value) from error
    yield DataPart(json_of(value), "json")


def _read_label(component: Any, value: Any) -> Parts:
    """Yield what Gradio tells of a label: the likeliest of its classes, and all of them with their confidence."""
    told = value
    if isinstance(value, Mapping) and "label" not in value:
        ranked = sorted(value.items(), key=lambda pair: -pair[1])
        told = {
            "label": ranked[0][0] if ranked else None,
            "confidences": [{"label": label, "confidence": confidence} for label, confidence in ranked],
        }
    yield DataPart(json_of(told if isinstance(told, Mapping) else {"label": told}), "label")


def _read_table(component: Any, value: Any) -> Parts:
    headers = _arguments_of(component).get("headers")
    if hasattr(value, "columns") and callable(getattr(value, "to_dict", None)):  # of pandas
        split = value.to_dict(orient="split")
        headers, rows = split["columns"], split["data"]
    elif isinstance(value, Mapping) and "data" in value:
        headers, rows = value.get("headers", headers), value["data"]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        rows = [row if isinstance(row, list | tuple) or hasattr(row, "tolist") else [row] for row in value]
    elif hasattr(value, "tolist"):
        rows = value.tolist()
    else:
        raise _wrong(component, value)
    yield DataPart(json_of({"headers": list(headers or ()), "data": rows}), "dataframe")


_READERS: Final[Mapping[str, Callable[[Any, Any], Parts]]] = {
    "Image": _read_files,
    "Video": _read_files,
    "File": _read_files,
    "Gallery": _read_files,
    "Audio": _read_audio,
    "Plot": _read_plot,
    "Markdown": _read_text,
    "HTML": _read_text,
    "Code": _read_text,
    "JSON": _read_json,
    "Label": _read_label,
    "Dataframe": _read_table,
    "DataFrame": _read_table,
}
