from chatserve import ChatServer

app = ChatServer()


@app.chat(yields="deltas")
def predict(message, history):
    for letter in message:
        yield letter.upper()
