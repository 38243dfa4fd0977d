from chatserve import ChatServer

app = ChatServer()


@app.chat(validator=lambda message: {"is_valid": True})
def predict(message, history):
    return "never"
