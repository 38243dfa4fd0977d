def respond(message, history):
    kept = history[-2:]
    kept.append({"role": "user", "content": message})
    kept.append({"role": "assistant", "content": f"kept {len(kept) - 1}"})
    return kept
