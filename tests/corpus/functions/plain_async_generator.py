async def chat(message, history):
    for end in range(1, len(message) + 1):
        yield message[:end]
