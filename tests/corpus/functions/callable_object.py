class Bot:
    def __init__(self):
        self.heard = []

    def __call__(self, message, history):
        self.heard.append(message)
        return " ".join(self.heard[-1 - len(history) // 2 :])


predict = Bot()
