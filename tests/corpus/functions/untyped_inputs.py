def predict(message, history, system_prompt="Be brief.", temperature=0.5, stream=False, stop=None):
    return f"{system_prompt} {temperature} {stream} {stop} {message}"
