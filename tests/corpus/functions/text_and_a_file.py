import tempfile
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp())


def predict(message, history):
    path = FOLDER / "note.txt"
    path.write_text(message)
    return ["Here it is:", path]
