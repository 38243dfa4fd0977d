from anthropic.types import RawContentBlockDeltaEvent, TextDelta


async def predict(message, history):
    for word in ("claude ", "said ", message):
        delta = TextDelta(type="text_delta", text=word)
        yield RawContentBlockDeltaEvent(type="content_block_delta", index=0, delta=delta)
