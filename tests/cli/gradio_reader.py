"""Reads the files of `gradio_files` in an environment that has Gradio: prints one JSON line for each, by name.

Usage: `gradio_reader.py FOLDER`. It imports of the tests only the table of files.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from chatserve.cli.target import load_target
from chatserve.core.errors import ConfigurationError
from tests.cli.gradio_files import FILES


def describe(file: Path) -> Any:
    """Return what a file would be served as, or why it is not."""
    try:
        target = load_target(str(file))
    except ConfigurationError as error:
        return error.detail
    chats = {
        name: [chat.inputs_schema, chat.options.history, chat.options.title, len(chat.examples)]
        for name, chat in target.app.chats.items()
    }
    notes = {note.label: sorted(note.text.split(", ")) for note in target.notes if note.label != "gradio"}
    return [target.taken, target.app.title, chats, notes]


def main(folder: Path) -> None:
    """Read each file."""
    warnings.simplefilter("ignore")
    (folder / "openai_like.py").write_text("class Client: ...\n", "utf-8")
    for name, text in FILES.items():
        sys.modules.pop("demo", None)
        file = folder / "demo.py"
        file.write_text(text, "utf-8")
        print(json.dumps([name, describe(file)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
