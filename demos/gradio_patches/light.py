"""Gradio's work around each call, made light.

For each value of a call Gradio 6.31 goes to another thread and back, and for each file it asks the
file system some seventy times where that lies, for results twice, in the one thread that serves
everybody. Each of these lets go of Python's lock, which the handlers then take in turns: of 16
visitors' requests on two cores a third of the time went by with a core idle. Nothing of it is
needed for small values, for files that a handler of ours has just written, and for uploads, which
`ImageIn` looks at itself.
"""

from __future__ import annotations

from typing import Any

import anyio
import gradio as gr
from gradio import blocks, processing_utils
from gradio.data_classes import GradioModel
from gradio.route_utils import API_PREFIX
from gradio_client.utils import encode_file_path

from demos.server import files
from demos.shell.image import ImageIn

# Whose values are converted in microseconds; not what derives from them.
QUICK = {
    *(gr.Checkbox, gr.Dropdown, gr.HTML, gr.JSON, gr.Label, gr.Markdown, gr.Number, gr.Radio),
    *(gr.Slider, gr.Textbox),
}
_move = processing_utils.async_move_files_to_cache


def install() -> None:
    """Let every page of this process work so."""
    replaced: Any = processing_utils
    replaced.async_move_files_to_cache = moved
    replaced = blocks
    replaced.anyio = _Anyio()


async def moved(
    data: Any,
    block: Any,
    postprocess: bool = False,
    check_in_upload_folder: bool = False,
    keep_in_cache: bool = False,
) -> Any:
    """Gradio's move of files into its folder, where there may be something to move or to refuse."""
    if isinstance(block, ImageIn) and check_in_upload_folder:
        return data  # opens nothing but uploads
    if postprocess:
        file = data.model_dump() if isinstance(data, GradioModel) else data
        if isinstance(file, dict) and files.is_result(file.get("path")):
            block.temp_files.add(file["path"])  # Gradio removes them as the hub ends
            return {**file, "url": f"{API_PREFIX}/file={encode_file_path(file['path'])}"}
        if file is None or isinstance(file, (bool, int, float, str)):
            return file
    return await _move(data, block, postprocess, check_in_upload_folder, keep_in_cache)


class _Threads:
    @staticmethod
    async def run_sync(fn: Any, *args: Any, **options: Any) -> Any:
        """`anyio.to_thread.run_sync`, here and now where that takes longer than the work."""
        if is_quick(fn, args):
            return fn(*args)
        return await anyio.to_thread.run_sync(fn, *args, **options)


class _Anyio:
    """anyio for `gradio.blocks`."""

    to_thread = _Threads()

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)


def is_quick(fn: Any, args: tuple[Any, ...]) -> bool:
    """Whether `fn(*args)` converts a value of a small component, or names a picture's file."""
    component = type(getattr(fn, "__self__", None))
    if component in QUICK:
        return True
    named = len(args) == 1 and isinstance(args[0], (str, type(None)))
    return component is gr.Image and fn.__name__ == "postprocess" and named
