from chatserve import ChatServer

app = ChatServer()


def check(message):
    return "no twos, please" if message == "two" else None


@app.chat(validator=check)
def predict(message, history):
    return f"{message} {len(history)}"
