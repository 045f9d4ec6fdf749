"""An input for several pictures at once."""

from __future__ import annotations

from typing import Any

import gradio as gr

from core import images
from demos.shell import picture


class PicturesIn(gr.File):
    """Passes the handler a list of `core.images.Picture`, empty while nothing is chosen.

    It reads only files that were uploaded to this server. A file that cannot be read becomes a
    picture for which `demos.shell.picture.refusal` has the reason.
    """

    is_template = True  # the page uses gr.File's own front end

    def __init__(
        self,
        *,
        label: str = "Pictures",
        elem_id: str | None = None,
        visible: bool = True,
        render: bool = True,
    ) -> None:
        super().__init__(
            label=label,
            file_types=["image", ".heic", ".heif", ".avif", ".tif", ".tiff"],
            file_count="multiple",
            type="filepath",
            height=220,
            elem_id=elem_id,
            visible=visible,
            render=render,
            interactive=True,
        )

    def get_config(self, cls: type | None = None) -> dict[str, Any]:
        """The configuration of gr.File, since the page draws that component."""
        return super().get_config(gr.File)

    def preprocess(self, payload: Any) -> list[images.Picture]:  # type: ignore[override]
        """The pictures in the order in which they were chosen."""
        chosen = getattr(payload, "root", payload)
        listed = chosen if isinstance(chosen, list) else [chosen] if chosen else []
        return [picture.of_upload(one) for one in listed]
