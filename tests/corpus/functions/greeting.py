from chatserve import ChatServer

app = ChatServer()


@app.chat(greeting="Hello, ask me.")
def predict(message, history):
    return f"{message} {len([each for each in history if each['role'] == 'assistant'])}"
