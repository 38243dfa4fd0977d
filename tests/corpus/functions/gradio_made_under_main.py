import gradio as gr


def predict(message, history):
    return f"main {message}"


def build():
    with gr.Blocks(title="Page") as page:
        gr.ChatInterface(predict, type="messages")
    return page


if __name__ == "__main__":
    build().launch(server_name="0.0.0.0", share=True)
