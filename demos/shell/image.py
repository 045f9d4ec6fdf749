"""The picture input: a stock gr.Image on the page, with our own decoder behind it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from cachetools import LRUCache

from core import images
from core.errors import BadImage, HubError
from core.imaging.decoding import data_urls
from demos.server import files

_GONE = "This picture is no longer on the server; please upload it again."
_DECODED_BYTES = 128 * 2**20
_decoded: LRUCache[tuple[str, int], images.RGB] = LRUCache(_DECODED_BYTES, lambda rgb: rgb.nbytes)
_lock = threading.Lock()
_turns: defaultdict[tuple[str, int], threading.Lock] = defaultdict(threading.Lock)


class ImageIn(gr.Image):
    """Passes the handler an upright (H, W, 3) uint8 array, or None while it is empty.

    It reads only files that were uploaded to this server; the stock component opens any picture on
    the server if a caller knows its path. Errors are one sentence.
    """

    is_template = True  # the page uses gr.Image's own front end

    def __init__(
        self,
        value: str | None = None,
        *,
        label: str = "Picture",
        sources: Sequence[Literal["upload", "webcam", "clipboard"]] = (
            "upload",
            "clipboard",
            "webcam",
        ),
        height: int | None = 300,
        elem_id: str | None = None,
        visible: bool = True,
        render: bool = True,
    ) -> None:
        super().__init__(
            value,
            label=label,
            sources=list(sources),
            type="filepath",
            format="png",
            height=height,
            elem_id=elem_id,
            visible=visible,
            render=render,
            interactive=True,
        )

    def get_config(self, cls: type | None = None) -> dict[str, Any]:
        """The configuration of gr.Image, since the page draws that component."""
        return super().get_config(gr.Image)

    def example_payload(self) -> Any:
        """The picture in the page's own API documentation: a file on the reader's machine."""
        return {"path": "picture.jpg", "meta": {"_type": "gradio.FileData"}}

    def preprocess(self, payload: Any) -> images.RGB | None:  # type: ignore[override]
        """Decode an uploaded file, or the content of a `data:` URL.

        Raises:
            gr.Error: the file is not an upload, no longer exists, or is not a readable picture.
        """
        if payload is None:
            return None
        try:
            if not payload.path and data_urls.is_data_url(str(payload.url)):
                return from_data_url(payload.url)
            return load_upload(payload.path)
        except HubError as error:
            raise gr.Error(str(error), print_exception=False) from None


def load_upload(name: str | None) -> images.RGB:
    """The decoded pixels of a file in the upload folder, cached by path and modification time.

    Raises:
        BadImage: the file is not an upload, no longer exists, or is not readable.
    """
    path = upload_path(name)
    try:
        key = (str(path), path.stat().st_mtime_ns)
    except OSError:  # deleted since `upload_path` found it
        raise BadImage(_GONE) from None
    with _lock:
        if key in _decoded:
            return _decoded[key]
        turn = _turns[key]
    with turn:  # the page and a model ask at the same time; decode once for both
        with _lock:
            if key in _decoded:
                return _decoded[key]
        try:
            rgb = images.read(path)
            rgb.flags.writeable = False  # shared between requests
            with _lock:
                if rgb.nbytes <= _decoded.maxsize:
                    _decoded[key] = rgb
        finally:
            with _lock:
                _turns.pop(key, None)
    return rgb


def from_data_url(url: str) -> images.RGB:
    """The picture in a `data:` URL, in any form that browsers read.

    Raises:
        BadImage: it exceeds the size limit for files, or is not a valid URL or picture.
    """
    return images.read(data_urls.content(url))


@cache
def _resolved(folder: Path) -> Path:
    return folder.resolve()


def upload_path(name: str | None) -> Path:
    """`name` as a path, if the file is in the upload folder and still exists.

    Raises:
        BadImage: otherwise.
    """
    if not name:
        raise BadImage("Please upload a picture file.")
    try:
        path = Path(name).resolve()
    except (OSError, ValueError):  # a null byte, or far too long
        raise BadImage("Please upload a picture file.") from None
    if not path.is_relative_to(_resolved(files.root())):
        raise BadImage("Please upload a picture file.")
    try:
        there = path.is_file()
    except OSError:  # the name is too long
        there = False
    if not there:
        raise BadImage(_GONE)
    return path
