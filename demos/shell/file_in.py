"""Inputs for files: one that is no picture to look at, such as a clip, or several pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core import images
from core.errors import HubError
from core.imaging.decoding import data_urls
from demos.shell import picture
from demos.shell.image import upload_path

PICTURE_ENDINGS = ("image", ".heic", ".heif", ".avif", ".tif", ".tiff")


class _Files(gr.File):
    """What both have in common: the page draws them as gr.File, and they take uploads alone."""

    is_template = True  # the page uses gr.File's own front end
    many = False
    shown = 120  # height in pixels

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
            file_count="multiple" if self.many else "single",
            type="filepath",
            height=self.shown,
            elem_id=elem_id,
            visible=visible,
            render=render,
            interactive=True,
        )

    def get_block_name(self) -> str:
        """The name of the front-end component; Gradio would use the parent class's name."""
        return "file"

    def get_config(self, cls: type | None = None) -> dict[str, Any]:
        """The configuration of gr.File, since the page draws that component."""
        return super().get_config(gr.File)


class FileIn(_Files):
    """Passes the handler the path of an uploaded file, its bytes if they came in a `data:` URL, or
    None while it is empty. It reads only files that were uploaded to this server."""

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


class PicturesIn(_Files):
    """Passes the handler a list of `core.images.Picture`, empty while nothing is chosen.

    It reads only files that were uploaded to this server. A file that cannot be read becomes a
    picture for which `demos.shell.picture.refusal` has the reason.
    """

    many = True
    shown = 220

    def preprocess(self, payload: Any) -> list[images.Picture]:  # type: ignore[override]
        """The pictures in the order in which they were chosen."""
        chosen = getattr(payload, "root", payload)
        listed = chosen if isinstance(chosen, list) else [chosen] if chosen else []
        return [picture.of_upload(one) for one in listed]
