"""History with files: with `multimodal=True` every `content` is a list of parts.

Run it:   chatserve run examples/count_files.py
Ask it:   curl 'localhost:8000/files?name=photo.png' --data-binary @photo.png        (answers {"id": "f_…", …})
          curl localhost:8000/chat --json '{"message": {"text": "", "files": ["f_…"]}}'
"""

from chatserve import ChatServer

app = ChatServer(title="File counter")


@app.chat(multimodal=True)
def predict(message, history):
    new = len(message["files"])
    old = sum(part["type"] == "file" for entry in history for part in entry["content"])
    return f"{new} new, {new + old} in all"
