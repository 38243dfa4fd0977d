def respond(message, history):
    history.append({"role": "user", "content": message})
    history.append({"role": "assistant", "content": "looking", "metadata": {"title": "Tool"}})
    yield history
    history.append({"role": "assistant", "content": f"found {message}"})
    yield history
