import threading


class Client:
    """A client of a model as many libraries make them: with a lock, of which no copy can be made."""

    def __init__(self):
        self.lock = threading.RLock()

    def complete(self, text):
        with self.lock:
            return f"completed {text}"


def predict(message, history, client=Client()):  # noqa: B008
    return client.complete(message)
