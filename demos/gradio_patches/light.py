"""Skip Gradio's thread hops and file checks for small values.

For each value of a call Gradio 6.31 switches to another thread and back, and for each file it
checks some seventy times where the file is (twice for results), on the one thread that serves
everybody. Each switch releases Python's lock, which handlers then take in turn: with 16 visitors on
two cores a core was idle for a third of the time. None of this is needed for small values, for
files that our handlers have just written, or for uploads, which `ImageIn` checks itself.
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

# Components whose values convert in microseconds; subclasses are excluded.
QUICK = {
    *(gr.Checkbox, gr.Dropdown, gr.HTML, gr.JSON, gr.Label, gr.Markdown, gr.Number, gr.Radio),
    *(gr.Slider, gr.Textbox),
}
_move = processing_utils.async_move_files_to_cache


def install() -> None:
    """Apply this to every page of the process."""
    replaced: Any = processing_utils
    replaced.async_move_files_to_cache = move_if_needed
    replaced = blocks
    replaced.anyio = _Anyio()


async def move_if_needed(
    data: Any,
    block: Any,
    postprocess: bool = False,
    check_in_upload_folder: bool = False,
    keep_in_cache: bool = False,
) -> Any:
    """Gradio's file move, only if a file may have to be moved or refused."""
    if isinstance(block, ImageIn) and check_in_upload_folder:
        return data  # it opens only uploads
    if postprocess:
        file = data.model_dump() if isinstance(data, GradioModel) else data
        if isinstance(file, dict) and files.is_result(file.get("path")):
            block.temp_files.add(file["path"])  # Gradio removes these at shutdown
            return {**file, "url": f"{API_PREFIX}/file={encode_file_path(file['path'])}"}
        if file is None or isinstance(file, (bool, int, float, str)):
            return file
    return await _move(data, block, postprocess, check_in_upload_folder, keep_in_cache)


class _Threads:
    @staticmethod
    async def run_sync(fn: Any, *args: Any, **options: Any) -> Any:
        """`anyio.to_thread.run_sync`, run in place if the switch costs more than the work."""
        if converts_in_place(fn, args):
            return fn(*args)
        return await anyio.to_thread.run_sync(fn, *args, **options)


class _Anyio:
    """Stands in for anyio in `gradio.blocks`."""

    to_thread = _Threads()

    def __getattr__(self, name: str) -> Any:
        return getattr(anyio, name)


def converts_in_place(fn: Any, args: tuple[Any, ...]) -> bool:
    """Whether `fn(*args)` converts a value of a small component, or a picture's file name."""
    component = type(getattr(fn, "__self__", None))
    if component in QUICK:
        return True
    named = len(args) == 1 and isinstance(args[0], (str, type(None)))
    return component is gr.Image and fn.__name__ == "postprocess" and named
