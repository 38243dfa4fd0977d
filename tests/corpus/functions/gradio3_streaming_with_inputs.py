import gradio as gr


def echo(message, history, system_prompt, tokens):
    response = f"{system_prompt}: {message}"
    for i in range(min(len(response), int(tokens))):
        yield response[: i + 1]


demo = gr.ChatInterface(
    echo,
    additional_inputs=[
        gr.Textbox("You are helpful", label="System Prompt"),
        gr.Slider(10, 100, value=50, step=1, label="Tokens"),
    ],
)

if __name__ == "__main__":
    demo.queue().launch()
