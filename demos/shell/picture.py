"""A picture input that passes a reference, so that clicks do not decode the file again."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
from cachetools import LRUCache

from core import images
from core.errors import BadImage, HubError
from demos.shell.image import ImageIn, load_upload, upload_path

_known: LRUCache[tuple[str, int], tuple[str, tuple[int, int]]] = LRUCache(4096)  # digest and (H, W)
_lock = threading.Lock()


class PictureIn(ImageIn):
    """Passes the handler a `core.images.Picture`, or None while it is empty."""

    def get_block_name(self) -> str:
        """The name of the front-end component; Gradio would use the parent class's name."""
        return "image"

    def preprocess(self, payload: Any) -> Any:
        """The picture's digest and size, read once for each file.

        A file that is not an upload, no longer exists, or is not readable becomes a picture whose
        `load` raises the error: an error here would leave the previous picture's results in place.
        """
        if payload is None:
            return None
        try:
            if not payload.path:
                return images.picture(super().preprocess(payload))
        except HubError as error:
            return _refused(str(error))
        except gr.Error as error:
            return _refused(error.message)
        return of_upload(payload)


def of_upload(payload: Any) -> images.Picture:
    """The picture of an uploaded file, by the name that the browser gave it; if it cannot be read,
    one whose `load` raises the error."""
    name = _named(payload.orig_name)
    try:
        path = upload_path(payload.path)
        return replace(picture_of(path), name=name or path.name)
    except HubError as error:
        return replace(_refused(str(error)), name=name)


def _named(name: Any) -> str:
    """The last part of the file name that the browser sent; "" if it sent none."""
    return re.split(r"[/\\\\]", name)[-1].strip()[:200] if isinstance(name, str) else ""


def _refused(sentence: str) -> images.Picture:
    def load() -> images.RGB:
        raise BadImage(sentence)

    return images.Picture("", (1, 1), load)


def refusal(picture: images.Picture) -> str:
    """One sentence with the reason a picture's file was refused; "" if it was read."""
    if picture.digest:
        return ""
    try:
        picture.load()
    except HubError as error:
        return str(error)
    return ""


def picture_of(path: Path) -> images.Picture:
    """The picture of a file in the upload folder.

    Raises:
        BadImage: the file no longer exists or is not readable.
    """
    load = partial(load_upload, str(path))  # can be pickled
    key = (str(path), path.stat().st_mtime_ns if path.exists() else 0)
    with _lock:
        found = _known.get(key)
    if found is None:
        rgb = load()
        found = images.digest(rgb), (rgb.shape[0], rgb.shape[1])
        with _lock:
            _known[key] = found
    return images.Picture(*found, load)
