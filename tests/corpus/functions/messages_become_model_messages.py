def predict(message, history):
    sent = [{"role": "system", "content": "Be brief."}]
    for each in history:
        sent.append({"role": each["role"], "content": each["content"]})
    sent.append({"role": "user", "content": message})
    return " ".join(each["role"][0] + str(len(each["content"])) for each in sent)
