class Secret:
    def __str__(self):
        return "sk-secret"


def predict(message, history):
    yield "so far"
    yield [{"role": "assistant", "content": "x", "metadata": {"title": Secret()}}]
