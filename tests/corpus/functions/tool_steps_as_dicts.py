def predict(message, history):
    step = {"role": "assistant", "content": "", "metadata": {"title": "Searching", "status": "pending"}}
    yield step
    step["content"] = f"3 pages about {message}"
    step["metadata"]["status"] = "done"
    yield [step]
    yield [step, {"role": "assistant", "content": f"Here is {message}"}]
