"""Reconstruct tab: a masked autoencoder fills in hidden patches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import images
from demos import Tab
from demos.shell import api, examples, lesson_view, offers, picker, ui
from demos.shell import result as _result
from demos.shell.shared import SharedPicture

if TYPE_CHECKING:
    from core.types import Reconstruction

EXAMPLES = ("flower.jpg", "chelsea.jpg", "temple.jpg", "rocket.jpg", "astronaut.jpg")
HINT = (
    "Soft backgrounds such as the flower's show the starter at its best. It restores the colours "
    "of the astronaut, but neither the face nor the helmet."
)
VIEWS = ("masked", "image", "pasted")


def build(shared: SharedPicture) -> None:
    """Fill the tab."""
    examples.suits("reconstruct", EXAMPLES)
    with ui.lab():
        with ui.area("out"):
            answer = _result.Answer("reconstruct", "The model's prediction of the hidden patches")
            with gr.Row(elem_classes=["answer"]):
                pictures = [
                    ui.picture_output(label, f"reconstruct-{view}", lossless=True, min_width=200)
                    for view, label in zip(
                        VIEWS,
                        ("Masked", "Predicted", "Pasted"),
                        strict=True,
                    )
                ]
            info = gr.HTML(elem_id="reconstruct-info")
            offer = offers.Offer("reconstruct", "reconstruct")
            gr.Markdown(
                "The model sees only the patches of the first picture and predicts the others. "
                "It was not trained on visible patches, so its prediction of them looks worse: the "
                "third picture keeps the originals.",
                elem_classes=["answer", "about"],
            )
            use = gr.Button(
                "Use as the picture", size="sm", elem_id="reconstruct-use", elem_classes=["answer"]
            )
        with ui.area("set"):
            checkpoint = picker.checkpoint_picker("reconstruct", "reconstruct")
            ratio = gr.Slider(
                0.05, 0.95, 0.75, step=0.05, label="Mask ratio", info="Share of patches hidden."
            )
            shuffle = gr.Button("Hide other patches", size="sm")
            button = gr.Button("Reconstruct", variant="primary", elem_id="reconstruct-run")
            with ui.more():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
            ui.hint(HINT)
    shared.use_shown(use, pictures[2])
    shuffle.click(
        lambda: int(np.random.default_rng().integers(2**31)), [], [seed], api_visibility="private"
    )
    offer.wire(checkpoint)
    lesson_view.render("reconstruct", shared.picture, shared.turns["reconstruct"], checkpoint)
    answer.wire(
        shared,
        [button.click, checkpoint.input, offer.ready.change, ratio.change, seed.change],
        _run,
        [shared.picture, checkpoint, ratio, seed],
        [*pictures, info],
    )
    api.endpoint(
        "reconstruct",
        reconstruct,
        ("image", "text", "number", "number"),
        ("lossless", "lossless", "lossless", "json"),
    )


def _run(
    image: images.Picture,
    checkpoint: str,
    mask_ratio: float,
    seed: int | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds it by its default)
) -> tuple[Any, ...]:
    from core import reconstruct as task

    result = task.predict(image, checkpoint, mask_ratio, seed or 0, ui.download_progress(progress))
    hidden = f"{int(result.patch_mask.sum())} of {result.patch_mask.size} patches hidden"
    error = f"PSNR on hidden pixels {-10 * np.log10(max(result.hidden_mse, 1e-10)):.1f} dB"
    return *_saved(result), ui.info_html(result.info, hidden, error)


def _saved(result: Reconstruction) -> tuple[str, ...]:
    folder = ui.result_folder()
    return tuple(
        str(images.save_png(getattr(result, view), folder / f"{view}.png")) for view in VIEWS
    )


def reconstruct(
    image: images.RGB, checkpoint: str = "auto", mask_ratio: float = 0.75, seed: int = 0
) -> tuple[str, str, str, dict[str, object]]:
    """Hide patches of a picture and let a masked autoencoder fill them in.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        mask_ratio: Share of patches hidden, 0.05 to 0.95.
        seed: Chooses which patches are hidden.

    Returns:
        The masked picture, the reconstruction, the reconstruction with the visible patches pasted
        in, and how the answer was made.
    """
    from core import reconstruct as task

    result = task.predict(image, checkpoint, mask_ratio, seed)
    masked, predicted, pasted = _saved(result)
    return masked, predicted, pasted, result.info.to_dict()


TAB = Tab(
    "reconstruct",
    "Reconstruct",
    40,
    build,
    "How a masked autoencoder fills in hidden patches.",
)
