class Bot:
    def __init__(self, name):
        self.name = name

    def respond(self, message, history):
        return f"{self.name} heard {message}"


predict = Bot("Ada").respond
