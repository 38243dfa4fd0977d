def respond(message, history):
    history.append({"role": "user", "content": message})
    history.append({"role": "assistant", "content": ""})
    for letter in message:
        history[-1]["content"] += letter
        yield history
