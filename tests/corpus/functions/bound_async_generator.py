class Bot:
    words = "I heard "

    async def stream(self, message, history):
        yield self.words
        yield self.words + message


chat = Bot().stream
