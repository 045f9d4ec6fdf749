"""The few places that use private names of Gradio, checked at startup."""

# Before any module of this room: their own imports would name one missing name only.
from demos.gradio_patches import check as check
