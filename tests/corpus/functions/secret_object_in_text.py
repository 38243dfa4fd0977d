class Secret:
    def __repr__(self):
        return "Secret(key=sk-secret)"


def predict(message, history):
    return "text", Secret()
