"""Exports of the Segment tab: files, code, and a cut-out for another tab."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core import export, images
from core.errors import InputError
from core.sam import snippets
from core.sources import resolver
from demos.canvas.gestures import Prompted
from demos.segment.session import (
    FILE_NAME,
    Pick,
    Session,
    Settings,
    chosen,
    given,
    masks,
    settings_of,
)
from demos.shell import result, ui
from demos.shell.shared import SharedPicture

if TYPE_CHECKING:
    from core.checkpoints import Checkpoint
    from core.types import RunInfo

FIRST = "Click an object on the picture first."


def build(shared: SharedPicture, state: list[Any]) -> list[Any]:
    """The accordions below the canvas. `state` is picture, checkpoint, smallest area, session.

    Returns the components to clear for another picture.
    """
    with gr.Accordion("Export the objects", open=False, elem_id="segment-export"):
        make, said, files = result.files_on_request(
            "segment",
            "Every object as a cut-out and a mask, one map of all objects (index PNG), COCO JSON "
            "and SVG; the zip contains all of them.",
        )
        use = gr.Button("Use the cut-out as the picture", size="sm", elem_id="segment-use")
    with gr.Accordion("Copy the code", open=False, elem_id="segment-code") as code:
        again = gr.Button("Refresh the code for the selected object", size="sm")
        note = gr.HTML(elem_id="segment-code-said")
        ours = gr.Code(
            language="python", label="With this project's core", interactive=False, max_lines=24
        )
        plain = gr.Code(
            language="python", label="With the library only", interactive=False, max_lines=24
        )
        file = gr.DownloadButton(
            "Weights for this code",
            size="sm",
            interactive=False,
            elem_id="segment-code-weights",
        )
    shared.use(use, cut_out, state)
    result.on_demand([make.click], _made, state, [said, files])
    for trigger in (code.expand, again.click):
        result.on_demand(
            [trigger], _copied, state, [note, ours, plain, file], show_progress="hidden"
        )
    return [code, note, ours, plain, file, said, files]


def _made(*state: Any) -> tuple[str, list[str]]:
    return "", _files(*state)


def _copied(*state: Any) -> tuple[Any, ...]:
    ours, plain = _code(*state)
    return "", ours, plain, _weights(ours, *state)


def _weights(code: str, picture: Any, checkpoint: str, _: float, session: Session | None) -> Any:
    """A starter's weights, which `code` cannot download; no other weights are offered."""
    pick = None
    if session is not None and session.gesture is not None:
        one = session.gesture.object(session.gesture.active)
        pick = None if one is None else _pick(session, one)
    resolved = resolver.resolve(checkpoint if pick is None else pick.grid.checkpoint, "segment")
    if resolved.tier != "starter" or "import" not in code:
        return gr.DownloadButton(value=None, interactive=False)
    path = ui.result_path(resolved.path.name)
    shutil.copyfile(resolved.path, path)
    return gr.DownloadButton(value=str(path), interactive=True)


def _files(
    picture: images.Picture | None, checkpoint: str, smallest: float, session: Session | None
) -> list[str]:
    picture, session = required(picture, session)
    settings = settings_of(picture, checkpoint, smallest)
    rgb = picture.load()
    made, info = objects(picture, session, settings)
    code = {
        f"code/{i:02d}.py": _texts(picture, session, settings, one)[0] for i, one in _asked(session)
    }
    contents = {
        "objects.zip": export.archive(rgb, made, _name(picture), info, code),
        "coco.json": _json(export.coco_dataset(made, _name(picture))),
        "objects.svg": export.svg(made).encode("utf-8", "replace"),
        "index.png": export.index_png(made),
        **{
            f"cutout-{i:02d}.png": export.cutout_png(rgb, one.mask) for i, one in enumerate(made, 1)
        },
    }
    return result.written(contents)


def _json(document: Any) -> bytes:
    import json

    return json.dumps(document).encode()


def _asked(session: Session) -> list[tuple[int, Prompted]]:
    """Objects that code can reproduce, with their numbers."""
    pairs = enumerate(session.objects(), 1)
    return [(i, one) for i, one in pairs if given(session, one) is None or _pick(session, one)]


def _pick(session: Session, one: Prompted) -> Pick | None:
    """Where an object's mask was picked; None if prompts were added to it."""
    return None if given(session, one) is None else session.picked.get(one.given or "")


def objects(
    picture: images.Picture, session: Session, settings: Settings
) -> tuple[list[export.SegmentedObject], RunInfo | None]:
    """All objects on the canvas with masks at full size.

    Raises:
        InputError: there are none, or an object has no mask.
    """
    made, info = [], None
    for one in session.objects():
        try:
            mask, score, stability, info_of = full_mask(picture, session, settings, one)
        except InputError as error:
            raise InputError(f"{one.name}: {error}") from None
        info = info_of or info
        points = tuple((float(x), float(y), int(label)) for x, y, label in one.points)
        box = tuple(float(v) for v in one.box) if one.box else None
        made.append(export.SegmentedObject(one.name, mask, score, stability, points, box))  # type: ignore[arg-type]
    if not made:
        raise InputError(FIRST)
    return made, info


def full_mask(
    picture: images.Picture, session: Session, settings: Settings, one: Prompted
) -> tuple[Any, float, float, RunInfo | None]:
    """(H, W) bool of an object, its predicted IoU and stability, and how it was made."""
    kept = given(session, one)
    if kept is not None:
        return kept.mask, kept.score, kept.stability, None
    found = masks(picture, session, settings, one)
    k = chosen(found, one)
    stability = 0.0 if found.stability is None else float(found.stability[k])
    return found.masks[k], float(found.scores[k]), stability, found.info


def active(session: Session) -> Prompted:
    """The selected object.

    Raises:
        InputError: it has no prompt.
    """
    one = session.gesture.object(session.gesture.active) if session.gesture else None
    if one is None or one.bare:
        raise InputError(FIRST)
    return one


def cut_out(
    picture: images.Picture | None, checkpoint: str, smallest: float, session: Session | None
) -> str:
    """The selected object, cropped, on white: other tabs do not support transparency."""
    picture, session = required(picture, session)
    settings = settings_of(picture, checkpoint, smallest)
    mask = full_mask(picture, session, settings, active(session))[0]
    rgba = Image.fromarray(export.cutout(picture.load(), mask, crop=True))
    white = Image.new("RGBA", rgba.size, "white")
    path = ui.result_path("cutout.png")
    images.save_png(np.array(Image.alpha_composite(white, rgba).convert("RGB")), path)
    return str(path)


def _code(
    picture: images.Picture | None, checkpoint: str, smallest: float, session: Session | None
) -> tuple[str, str]:
    if picture is None or session is None:
        return f"# {FIRST}\n", f"# {FIRST}\n"
    try:
        one = active(session)
    except InputError as error:
        return f"# {error}\n", f"# {error}\n"
    if given(session, one) is not None and not _pick(session, one):
        said = "# This mask was not made by a prompt; add a click to get code for it.\n"
        return said, said
    return _texts(picture, session, settings_of(picture, checkpoint, smallest), one)


def _texts(
    picture: images.Picture, session: Session, settings: Settings, one: Prompted
) -> tuple[str, str]:
    pick = _pick(session, one)
    chosen_now = settings.checkpoint if pick is None else pick.grid.checkpoint
    resolved = resolver.resolve(chosen_now, "segment")
    checkpoint, path = resolved.checkpoint, Path(resolved.path)
    # transformers opens a folder; do not reveal the path above it.
    folder = checkpoint.loader == "transformers"
    file = f"{path.parent.name}/{path.name}" if folder else path.name
    if pick is not None:
        return _everything(_name(picture), pick, checkpoint, file)
    base = session.given.get(one.given or "")
    box = one.box if one.box is not None or base is None else list(base.box)
    prompt = snippets.Prompt(
        _name(picture), one.points, box, refine=min(one.choice or 0, 2), min_area=settings.min_area
    )
    ours = snippets.with_core(prompt, checkpoint.key)
    plain = snippets.with_library(prompt, checkpoint, file)
    return snippets.saved(ours, one.choice or 0), snippets.saved(plain, one.choice or 0)


def _name(picture: images.Picture) -> str:
    """The visitor's name for the picture file."""
    return picture.name or FILE_NAME


def _everything(name: str, pick: Pick, checkpoint: Checkpoint, file: str) -> tuple[str, str]:
    """Code of a mask that was picked in everything mode."""
    settings = asdict(pick.grid)
    del settings["checkpoint"]  # may be "auto"; `checkpoint` is the resolved one
    ours = snippets.everything_with_core(name, checkpoint.key, **settings)
    ours = snippets.picked(ours, pick.x, pick.y, pick.area)
    if checkpoint.loader == "transformers":
        said = "# transformers has no equivalent everything mode; use the code with core.\n"
        return ours, said
    plain = snippets.everything_with_segment_anything(name, checkpoint, file, **settings)
    return ours, snippets.picked(plain, pick.x, pick.y, pick.area)


def required(
    picture: images.Picture | None, session: Session | None
) -> tuple[images.Picture, Session]:
    """Both, if they belong together.

    Raises:
        InputError: there is no picture, or the session is of another one.
    """
    if picture is None or session is None or session.digest != picture.digest:
        raise InputError(FIRST)
    return picture, session
