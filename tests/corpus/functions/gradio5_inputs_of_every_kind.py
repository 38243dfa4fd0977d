import gradio as gr


def predict(message, history, tone, loud, count, tags):
    words = f"{tone} {count} {tags} {message}"
    return words.upper() if loud else words


demo = gr.ChatInterface(
    predict,
    type="messages",
    additional_inputs=[
        gr.Dropdown(["calm", "warm"], value="warm", label="Tone"),
        gr.Checkbox(value=False, label="Loud"),
        gr.Number(3, label="Count"),
        gr.CheckboxGroup(["a", "b"], value=["a"], label="Tags"),
    ],
    additional_inputs_accordion=gr.Accordion(label="More", open=False),
)
