def predict(message, history):
    prompt = ""
    for human, assistant in history:
        prompt += f"[{human}/{assistant}]"
    return prompt + message
