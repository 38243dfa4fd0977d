"""Files in and out: `message` is `{"text", "files"}` with local paths; clients download a returned `File`.

Run it:   chatserve run examples/multimodal_echo.py
Ask it:   curl 'localhost:8000/files?name=photo.png' --data-binary @photo.png        (answers {"id": "f_…", …})
          curl localhost:8000/chat --json '{"message": {"text": "look", "files": ["f_…"]}}'
"""

from chatserve import ChatServer, File

app = ChatServer(title="Multimodal echo")


@app.chat(multimodal=True)
def predict(message, history):
    answer = [f"You wrote {message['text']!r} and uploaded {len(message['files'])} files."]
    answer += [File(path) for path in message["files"]]
    return answer
