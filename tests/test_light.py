"""Gradio's work around each call: what is left out, and that nothing else is."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import anyio
import gradio as gr
import numpy as np
import pytest
from gradio import processing_utils
from gradio.data_classes import FileData
from gradio_client import Client

from core import images
from demos import _page
from demos.canvas.component import PointPrompter
from demos.gradio_patches import light
from demos.server import files
from demos.shell.image import ImageIn
from demos.shell.picture import PictureIn
from tests.conftest import PATIENCE, wait_for


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    return tmp_path / "uploads"


@pytest.fixture
def original(monkeypatch):
    """What is handed on to Gradio's own function."""
    handed = []

    async def move(data, *rest):
        handed.append(data)
        return data

    monkeypatch.setattr(light, "_move", move)
    return handed


def moved(data, block=None, **options):
    return asyncio.run(light.move_if_needed(data, block or gr.Image(render=False), **options))


def written(name="a b.png"):
    return str(images.save_png(np.zeros((9, 9, 3), np.uint8), files.result_path(name)))


def test_a_result_has_the_same_address_as_from_gradio(folder):
    path = written()
    image = gr.Image(render=False, format="png")
    for value in (image.postprocess(path), image.postprocess(path).model_dump()):
        ours = moved(value, image, postprocess=True)
        assert ours == asyncio.run(light._move(value, image, postprocess=True))
        assert ours["path"] == path and "%20" in ours["url"]


def test_only_files_in_folders_of_results_are_taken_as_they_are(folder):
    path = written()
    results, own = folder / "results", path.split("/")[-2]
    assert files.is_result(path)
    for other in (
        *(None, 3, "", "a.png", str(folder / "a.png"), str(results / "a.png")),
        *(f"{results}/../{own}/a.png", f"{results}/{own}/..", f"{results}/{own}/"),
        *(f"{results}/{own}/../../secret", f"{results}/{own}/more/a.png", f"/tmp{path}"),
        *(f"{results}/{own[:-1]}/a.png", f"{results}/{own.upper()}X/a.png"),
    ):
        assert not files.is_result(other), other


def test_everything_else_goes_to_gradio(folder, original, tmp_path):
    elsewhere = {"path": str(tmp_path / "a.png"), "meta": {"_type": "gradio.FileData"}}
    mine = {"path": written(), "meta": {"_type": "gradio.FileData"}}
    moved(elsewhere, postprocess=True)
    moved([mine], postprocess=True)
    moved(mine)  # the value of a component as the page is built
    moved(mine, gr.Image(render=False), check_in_upload_folder=True)
    assert original == [elsewhere, [mine], mine, mine]
    assert moved("text", postprocess=True) == "text" and moved(None, postprocess=True) is None
    assert len(original) == 4


@pytest.mark.parametrize("kind", [ImageIn, PictureIn])
def test_inputs_that_look_at_their_files_themselves(folder, original, kind):
    named = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    image = kind(render=False)
    assert moved(named, image, check_in_upload_folder=True) == named
    assert not original
    taken = image.data_model(**named)
    if kind is ImageIn:
        with pytest.raises(gr.Error, match="Please upload a picture file"):
            image.preprocess(taken)
    else:  # it tells when it is asked for its pixels
        with pytest.raises(Exception, match="Please upload a picture file"):
            image.preprocess(taken).load()


@pytest.mark.parametrize(
    ("method", "value", "quick"),
    [
        (gr.Number(render=False).preprocess, 1, True),
        (gr.JSON(render=False).postprocess, {"a": 1}, True),
        (gr.Image(render=False).postprocess, "a.png", True),
        (gr.Image(render=False).postprocess, None, True),
        (gr.Image(render=False).postprocess, np.zeros((9, 9, 3), np.uint8), False),
        (gr.Image(render=False).preprocess, None, False),
        (ImageIn(render=False).preprocess, None, False),
        (PointPrompter(render=False).postprocess, "<p>", False),
        (gr.File(render=False).postprocess, "a.png", False),
        (len, "a handler", False),
    ],
)
def test_what_is_done_at_once(method, value, quick):
    assert light.converts_in_place(method, (value,)) is quick


def test_a_call_goes_to_another_thread_only_for_its_handler(monkeypatch):
    asked, ran = [], []
    run_sync = anyio.to_thread.run_sync

    async def counted(fn, *args, **options):
        asked.append(getattr(fn, "__name__", str(fn)))
        return await run_sync(fn, *args, **options)

    def work(text, number):
        ran.append(threading.current_thread())
        return f"{text} {number:g}", {"text": text}

    light.install()
    with _page.Page() as page:
        inputs, outputs = [gr.Textbox(), gr.Number()], [gr.Textbox(), gr.JSON()]
        gr.Button().click(work, inputs, outputs, api_name="work")
    page.queue(api_open=False)
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", show_error=False)
    try:
        config = page.server.config  # the loop that uvicorn takes where it is there
        if sys.platform != "win32":
            assert "uvloop" in config.get_loop_factory().__module__
        client = Client(page.local_url, verbose=False)
        monkeypatch.setattr(anyio, "to_thread", SimpleNamespace(run_sync=counted))
        assert client.predict("two", 2, api_name="/work") == ("two 2", {"text": "two"})
    finally:
        page.close()
    assert ran and ran[0] is not threading.main_thread()
    assert asked.count("work") == 1 and not {"preprocess", "postprocess"} & set(asked)


def test_results_go_with_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = []

    def work():
        made.append(written())
        return made[0]

    light.install()
    with _page.Page(delete_cache=(3600, 3600)) as page:
        gr.Button().click(work, None, gr.Image(format="png"), api_name="work")
    page.queue(api_open=False)
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", show_error=False)
    try:
        Client(page.local_url, verbose=False, download_files=False).predict(api_name="/work")
        assert Path(made[0]).exists()
    finally:
        page.close()
    wait_for(lambda: not Path(made[0]).exists())


def test_installing_twice_keeps_gradios_own_move_behind_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    light.install()
    light.install()
    source = tmp_path / "a.txt"
    source.write_text("not one of ours")
    block = gr.File(render=False)
    asked = processing_utils.async_move_files_to_cache(FileData(path=str(source)), block, True)
    result = asyncio.run(asyncio.wait_for(asked, PATIENCE))
    assert Path(result["path"]) != source
    assert Path(result["path"]).read_text() == "not one of ours"
