import gradio as gr

with gr.Blocks() as demo:
    code = gr.Code(label="Code", render=False)

    def chat(message, history):
        if message == "two":
            return "the second", gr.Code(language="python", value="print(2)")
        return f"plain {message}", None

    with gr.Row():
        with gr.Column():
            gr.Markdown("<center><h1>Write code</h1></center>")
            gr.ChatInterface(chat, examples=["one", "two"], additional_outputs=[code], type="messages")
        with gr.Column():
            code.render()

demo.launch()
