async def respond(message, history):
    history += [{"role": "user", "content": message}, {"role": "assistant", "content": message * 2}]
    yield history
