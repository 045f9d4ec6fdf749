"""The little that touches private names of Gradio, checked at the start."""
