import gradio as gr

gr.ChatInterface(lambda message, history: f"lambda {message}", type="messages").launch()
