def predict(message, history):
    sent = [{"role": "system", "content": "Be brief."}]
    for user, assistant in history:
        sent.append({"role": "user", "content": user})
        sent.append({"role": "assistant", "content": assistant})
    sent.append({"role": "user", "content": message})
    words = f"{len(sent)} messages, the last is {sent[-1]['content']}"
    for end in range(10, len(words) + 10, 10):
        yield words[:end]
