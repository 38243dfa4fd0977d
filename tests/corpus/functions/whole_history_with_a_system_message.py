def respond(message, history):
    system = {"role": "system", "content": "Be brief."}
    answer = {"role": "assistant", "content": f"{len(history)} before {message}"}
    return [system, *history, {"role": "user", "content": message}, answer]
