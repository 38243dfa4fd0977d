"""A `gr.ChatInterface` as its file has it: inputs, examples, a greeting and a state. Gradio need not be installed.

Run it:  chatserve run examples/gradio_interface.py
Ask it:  curl -N localhost:8000/chat --json '{"message": "Hello", "inputs": {"times": 3}}' -H 'Accept: text/plain'
"""

import gradio as gr


def parrot(message, history, punctuation, times, asked, request: gr.Request):
    asked["questions"] = asked.get("questions", 0) + 1
    if not message:
        raise gr.Error("Say something to the parrot.")
    answer = f"{asked['questions']}."
    for _ in range(int(times)):
        answer += f" {message}{punctuation}"
        yield answer


demo = gr.ChatInterface(
    parrot,
    type="messages",
    title="Parrot",
    description="Says what you say, as often as you like.",
    chatbot=gr.Chatbot(value=[{"role": "assistant", "content": "Squawk!"}], type="messages", height=400),
    additional_inputs=[
        gr.Dropdown([("question", "?"), ("call", "!")], value="!", label="Punctuation"),
        gr.Slider(1, 5, value=2, step=1, label="Times"),
        gr.State({}),
    ],
    examples=[["Hello", "!", 3], ["Really", "?", 1]],
    cache_examples=False,
)

if __name__ == "__main__":
    demo.queue(max_size=20).launch(theme=gr.themes.Soft())
