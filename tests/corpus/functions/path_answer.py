import tempfile
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp())


def predict(message, history):
    path = FOLDER / f"{message}.txt"
    path.write_text(message * 2)
    return path
