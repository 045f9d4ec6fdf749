"""The canvas for point prompts: its component, its gestures, and the answers to them."""
