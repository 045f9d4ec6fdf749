"""An input for a file that is no picture to look at, such as a clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core.errors import HubError
from core.imaging.decoding import data_urls
from demos.shell.image import upload_path


class FileIn(gr.File):
    """Passes the handler the path of an uploaded file, its bytes if they came in a `data:` URL, or
    None while it is empty. It reads only files that were uploaded to this server."""

    is_template = True  # the page uses gr.File's own front end

    def __init__(
        self,
        endings: Sequence[str] = (),
        *,
        label: str = "File",
        elem_id: str | None = None,
        visible: bool = True,
        render: bool = True,
    ) -> None:
        super().__init__(
            label=label,
            file_types=list(endings) or None,
            file_count="single",
            type="filepath",
            height=120,
            elem_id=elem_id,
            visible=visible,
            render=render,
            interactive=True,
        )

    def get_config(self, cls: type | None = None) -> dict[str, Any]:
        """The configuration of gr.File, since the page draws that component."""
        return super().get_config(gr.File)

    def example_payload(self) -> Any:
        """The file in the page's own API documentation: one on the reader's machine."""
        return {"path": "clip.gif", "meta": {"_type": "gradio.FileData"}}

    def preprocess(self, payload: Any) -> Path | bytes | None:  # type: ignore[override]
        """The file of an upload, or the content of a `data:` URL.

        Raises:
            gr.Error: the file is not an upload, or no longer exists.
        """
        many = getattr(payload, "root", None)
        if isinstance(many, list):
            payload = many[0] if many else None
        if payload is None:
            return None
        try:
            if not payload.path and data_urls.is_data_url(str(payload.url)):
                return data_urls.content(payload.url)
            return upload_path(payload.path)
        except HubError as error:
            raise gr.Error(str(error), print_exception=False) from None
