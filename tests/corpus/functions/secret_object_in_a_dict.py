class Secret:
    def __str__(self):
        return "sk-secret"


def predict(message, history):
    return {"text": message, "client": Secret()}
