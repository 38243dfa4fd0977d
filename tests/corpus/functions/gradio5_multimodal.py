import gradio as gr


def count_files(message, history):
    return f"You said {message['text']!r} with {len(message['files'])} files"


demo = gr.ChatInterface(
    fn=count_files,
    type="messages",
    multimodal=True,
    examples=[{"text": "No files", "files": []}],
    textbox=gr.MultimodalTextbox(file_count="multiple", file_types=["image"]),
)
demo.launch()
