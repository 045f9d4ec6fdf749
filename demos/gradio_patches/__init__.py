"""The few places that use private names of Gradio, checked at startup."""
