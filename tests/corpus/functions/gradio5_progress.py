import gradio as gr


def predict(message, history, progress=gr.Progress()):  # noqa: B008
    progress(0, desc="Starting")
    for _ in progress.tqdm(range(2), desc="Working"):
        pass
    return f"done {message}"


demo = gr.ChatInterface(predict, type="messages")
