class Memory:
    def __init__(self):
        self.heard = []


def predict(message, history, memory=Memory()):  # noqa: B008
    memory.heard.append(message)
    return " ".join(memory.heard[-1 - len(history) // 2 :])
