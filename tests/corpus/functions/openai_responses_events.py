from openai.types.responses import ResponseTextDeltaEvent


def predict(message, history):
    for number, word in enumerate(("event ", message)):
        yield ResponseTextDeltaEvent(
            type="response.output_text.delta",
            delta=word,
            item_id="i",
            output_index=0,
            content_index=0,
            sequence_number=number,
            logprobs=[],
        )
