def predict(message, history):
    thoughts = [each for each in history if each.get("metadata") and each["metadata"].get("title")]
    yield [
        {"role": "assistant", "content": "hm", "metadata": {"title": "Thinking"}},
        {"role": "assistant", "content": f"{len(thoughts)} thoughts before"},
    ]
