"""Restore tab: denoising, super-resolution and deblurring, with a lossless before-after slider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from core import images
from core.imaging import metrics
from demos import Tab
from demos.shell import api, examples, lesson_view, offers, picker, ui
from demos.shell import result as _result
from demos.shell.shared import SharedPicture

if TYPE_CHECKING:
    from core.restore import RestoreTask, Steps
    from core.types import Restoration

EXAMPLES = {
    "denoise": ("noisy.png", "noisy-2.png", "blotchy.png"),
    "super_resolve": ("small.png", "small-2.png", "lines.png"),
    "deblur": ("blurred.png", "motion.png", "shaken.png"),
}
HINTS = {
    "denoise": "Among the examples, the cat under noise shows the starter at its best: it was "
    "trained on such noise. It cannot remove the blotches of the other cat.",
    "super_resolve": "The astronaut shows the starter at its best. The lines of the temple "
    "are finer than its pixels; no small network can restore them.",
    "deblur": "The first cup shows the starter at its best: uniform softness. The shaken cup "
    "moved along a curve, which was not in the training data.",
}
TASKS: tuple[RestoreTask, ...] = ("denoise", "super_resolve", "deblur")
CLEAN_BELOW = 3.0  # grey levels; noise that hardly anybody sees
CLEAN = "There is almost no noise in this picture, so both sides look alike. Try the noisy cat."
# Of `metrics.blur`: 3 of 4 photographs of BSDS500 are below, and none blurred with sigma 1.2.
SHARP_BELOW = 0.32
SHARP = "This picture looks sharp already; what is sharpened further soon looks harsh."
LARGE, PART = 2_000_000, 512  # pixels from which the middle is shown first, and its side
BICUBIC = "Bicubic"
BEFORE = ("Its pixels", BICUBIC)
TITLES = {"denoise": "Denoise", "super_resolve": "Super-resolution", "deblur": "Deblur"}
VERBS = {"denoise": "Denoise", "super_resolve": "Enlarge", "deblur": "Deblur"}


def build(shared: SharedPicture) -> None:
    """Fill the tab: one inner tab per task."""
    with gr.Tabs():
        for task in TASKS:
            with gr.Tab(TITLES[task], id=task, elem_id=f"restore-{task}") as inner:
                _build_task(shared, task)
            shared.opens(inner, task)
    api.endpoint(
        "denoise", denoise, ("image", "text", "number"), ("lossless", "json"), queue=ui.LONG_QUEUE
    )
    api.endpoint(
        "super_resolve",
        super_resolve,
        ("image", "text", "number"),
        ("lossless", "json"),
        queue=ui.LONG_QUEUE,
    )
    api.endpoint("deblur", deblur, ("image", "text"), ("lossless", "json"), queue=ui.LONG_QUEUE)


def _build_task(shared: SharedPicture, task: RestoreTask) -> None:
    examples.suits(task, EXAMPLES[task])
    with ui.lab():
        with ui.area("out"):
            answer = _result.Answer(task, "The picture before and after")
            slider = gr.ImageSlider(
                label="Before | after",
                format="png",
                type="filepath",
                interactive=False,
                elem_id=f"{task}-result",
                buttons=["fullscreen"],
            )
            info = gr.HTML(elem_id=f"{task}-info")
            offer = offers.Offer(task, task)
            with gr.Row():
                download = gr.DownloadButton("Download PNG", interactive=False, size="sm")
                use = gr.Button(
                    "Use as the picture", size="sm", elem_id=f"{task}-use", elem_classes=["answer"]
                )
        with ui.area("set"):
            estimate, sigma, scale, before = controls = _controls(task)
            factor = scale if task == "super_resolve" else None
            checkpoint = picker.checkpoint_picker(task, task, factor)
            for control in controls:
                control.render()
            button = gr.Button(VERBS[task], variant="primary", elem_id=f"{task}-run")
            cancel = gr.Button("Cancel", size="sm", elem_id=f"{task}-cancel")
            ui.hint(HINTS[task])
    estimate.change(
        lambda on: gr.Slider(interactive=not on),
        [estimate],
        [sigma],
        api_visibility="private",
        show_progress="hidden",
        queue=False,
    )
    shared.use_shown(use, slider, "(pair) => pair && pair[1]")
    offer.wire(checkpoint, factor)
    lesson_view.render(task, shared.picture, shared.turns[task], checkpoint)
    answer.wire(
        shared,
        [
            button.click,
            checkpoint.input,
            offer.ready.change,
            sigma.release,
            estimate.input,
            scale.input,
            before.input,
        ],
        _handler(task),
        [shared.picture, checkpoint, estimate, sigma, scale, before],
        [slider, info, download],
        queue=ui.LONG_QUEUE,
        progress_on=slider,  # the line below it tells how long the rest takes
    )
    answer.cancel(cancel)


def _controls(task: RestoreTask) -> tuple[gr.Checkbox, gr.Slider, gr.Radio, gr.Radio]:
    denoising, enlarging = task == "denoise", task == "super_resolve"
    estimate = gr.Checkbox(True, label="Estimate the noise level", visible=denoising, render=False)
    sigma = gr.Slider(
        0,
        75,
        25,
        step=1,
        label="Noise level (sigma, grey levels)",
        interactive=False,  # while the level is estimated
        visible=denoising,
        render=False,
    )
    scale = gr.Radio(
        [2, 4],
        value=2,
        label="Enlarge by",
        info="A checkpoint chosen by name uses its own scale.",
        visible=enlarging,
        render=False,
    )
    before = gr.Radio(
        list(BEFORE),
        value=BEFORE[0],
        label="Compare with",
        info="The picture enlarged without a network.",
        visible=enlarging,
        render=False,
    )
    return estimate, sigma, scale, before


def _handler(task: RestoreTask) -> Any:
    def run(
        image: images.Picture,
        checkpoint: str,
        estimate: bool,
        sigma: float,
        scale: int,
        before: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds it by its default)
    ) -> Iterator[tuple[Any, ...]]:
        from core import restore

        level = None if estimate else sigma
        factor = _factor(task, checkpoint, scale)
        fetching = ui.download_progress(progress)

        def steps(picture: images.Picture) -> Steps:
            return restore.steps(task, picture, checkpoint, level, factor, fetching)

        pixels = image.size[0] * image.size[1]
        enlarged = factor**2 if task == "super_resolve" else 1
        if LARGE < pixels <= restore.MAX_OUTPUT_PIXELS // enlarged:
            part = images.picture(_middle(image.load()))
            result = yield from ui.followed(steps(part), progress, "Restoring the middle", 3)
            shown, info, _ = _shown(task, part.load(), result, before, _to_come(image, result))
            yield _result.Partial((shown, info, gr.skip()))
        result = yield from ui.followed(steps(image), progress, "Restoring", 3)
        rgb = image.load()
        yield _shown(task, rgb, result, before, _advice(task, rgb, result, estimate))

    return run


def _middle(image: images.RGB) -> images.RGB:
    """The square of PART x PART pixels in the middle; all of a side that is shorter."""
    top, left = (max(0, side - PART) // 2 for side in image.shape[:2])
    return image[top : top + PART, left : left + PART]


def _to_come(image: images.Picture, part: Restoration) -> str:
    """That only the middle is shown, and about how long the whole picture takes."""
    (height, width), (h, w) = image.size, part.image.shape[:2]
    share = h * w / part.scale**2 / (height * width)
    seconds = part.info.seconds.get("forward", 0.0) / share
    lasts = f", which takes about {max(1, round(seconds))} s" if seconds else ""
    return (
        f"This is the middle. The whole picture, {width} x {height}, follows{lasts}; "
        "press Cancel to stop."
    )


def _advice(task: RestoreTask, image: images.RGB, result: Restoration, estimated: bool) -> str:
    """A sentence where there is little to restore, or ""."""
    if task == "denoise" and estimated and result.sigma is not None:
        return CLEAN if result.sigma < CLEAN_BELOW else ""
    if task == "deblur" and metrics.blur(_middle(image)) < SHARP_BELOW:
        return SHARP
    return ""


def _factor(task: RestoreTask, checkpoint: str, scale: int) -> int:
    """The requested scale; a checkpoint chosen by name has its own."""
    from core.sources import resolver

    if task == "super_resolve" and checkpoint != "auto":
        return resolver.find(checkpoint, task).scale
    return scale or 2  # a radio button may be empty


def _shown(
    task: RestoreTask, image: images.RGB, result: Restoration, before: str = "", said: str = ""
) -> tuple[Any, ...]:
    path = ui.result_path("before.png")
    after = _saved(task, result)
    images.save_png(_enlarged(image, result.scale, before), path)
    h, w = result.image.shape[:2]
    facts = [f"{w} x {h} pixels"]
    if result.sigma is not None:
        facts.append(f"noise level {result.sigma:.1f}")
    button = gr.DownloadButton(value=after, interactive=True)
    about = f'<p class="about">{said}</p>' if said else ""
    return (str(path), after), about + ui.info_html(result.info, *facts), button


def _enlarged(image: images.RGB, scale: int, how: str) -> images.RGB:
    """The picture as large as its result: each pixel repeated, which shows exactly the input, or
    interpolated."""
    if scale == 1:
        return image
    height, width, channels = image.shape
    if how == BICUBIC:
        size = (width * scale, height * scale)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    shape = (height, scale, width, scale, channels)  # one copy; `repeat` would make two
    pixels = np.broadcast_to(image[:, None, :, None], shape)
    return pixels.reshape(height * scale, width * scale, channels)


def _saved(task: str, result: Restoration) -> str:
    path = ui.result_path(f"{task}.png")
    images.save_png(result.image, path)
    return str(path)


def denoise(
    image: images.RGB, checkpoint: str = "auto", sigma: float | None = None
) -> tuple[str, dict[str, object]]:
    """Remove noise from a picture.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        sigma: Standard deviation of the noise in grey levels (0 to 100); null estimates it.

    Returns:
        The restored picture (lossless), and how the answer was made.
    """
    from core import restore

    result = ui.run_while_wanted(restore.steps("denoise", image, checkpoint, sigma))
    return _saved("denoise", result), _info(result)


def super_resolve(
    image: images.RGB, checkpoint: str = "auto", scale: int = 2
) -> tuple[str, dict[str, object]]:
    """Enlarge a picture.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        scale: 2 or 4.

    Returns:
        The enlarged picture (lossless), and how the answer was made.
    """
    from core import restore

    steps = restore.steps("super_resolve", image, checkpoint, scale=scale)
    result = ui.run_while_wanted(steps)
    return _saved("super_resolve", result), _info(result)


def deblur(image: images.RGB, checkpoint: str = "auto") -> tuple[str, dict[str, object]]:
    """Undo blur of an unknown kernel.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.

    Returns:
        The restored picture (lossless), and how the answer was made.
    """
    from core import restore

    result = ui.run_while_wanted(restore.steps("deblur", image, checkpoint))
    return _saved("deblur", result), _info(result)


def _info(result: Restoration) -> dict[str, object]:
    return {
        **result.info.to_dict(),
        "scale": result.scale,
        "sigma": result.sigma,
        "guarded": round(result.guarded, 4),
    }


TAB = Tab(
    "restore",
    "Restore",
    50,
    build,
    "Remove noise or blur, or enlarge; the slider compares before and after.",
    inner=TASKS,
)
