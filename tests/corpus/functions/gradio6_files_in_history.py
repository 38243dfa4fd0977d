import gradio as gr


def count_images(message, history):
    before = 0
    for entry in history:
        for part in entry["content"]:
            if part["type"] == "file":
                before += 1
    return f"{len(message['files'])} new, {before} before, {message['text']}"


demo = gr.ChatInterface(count_images, multimodal=True)
