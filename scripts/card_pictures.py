"""Draw the pictures of the model cards: a failure and the learning curve of each starter.

    python -m scripts.card_pictures [--runs DIR] [--only denoise-starter …]

`weights/<key>-failure.jpg` comes from the starter itself and pictures of `examples/`;
`weights/<key>-curve.png` from the log of the training run, if `--runs` has one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core import classify, detect, images, reconstruct, restore, segment, semantic
from core.imaging import draw, metrics
from scripts import strips
from scripts.make_examples import EXAMPLES, RGB, clean, degraded, shrink

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "weights"
SIDE = 240


def photograph(name: str, box: tuple[int, int, int, int] | None = None) -> RGB:
    """One of the example pictures, or a crop (left, top, right, bottom) of it."""
    whole = np.asarray(images.decode(EXAMPLES / name))
    left, top, right, bottom = box or (0, 0, whole.shape[1], whole.shape[0])
    return whole[top:bottom, left:right]


def denoise_failure() -> RGB:
    """Blotches: spatially correlated noise, as from phones."""
    noisy = degraded("blotchy.png")
    after = restore.denoise(noisy, "denoise-starter", sigma=25).image
    return _compared("blotchy noise", noisy, after, clean("blotchy.png"))


def super_resolve_failure(scale: int) -> Callable[[], RGB]:
    """Small print and fine regular lines."""

    def draw_it() -> RGB:
        original = clean("lines.png")
        small = shrink(original, scale)
        key = f"super-resolve-x{scale}-starter"
        after = restore.super_resolve(small, key, scale).image
        return _compared("fine lines, reduced", strips.fitted(small, SIDE), after, original)

    return draw_it


def deblur_failure() -> RGB:
    """Camera shake along a curved path, which is not in its training data."""
    shaken = degraded("shaken.png")
    after = restore.deblur(shaken, "deblur-starter").image
    return _compared("a curved shake", shaken, after, clean("shaken.png"))


def _compared(how: str, before: RGB, after: RGB, original: RGB) -> RGB:
    gain = f"{metrics.psnr(after, original):.1f} dB"
    if before.shape == original.shape:
        how = f"{how}: {metrics.psnr(before, original):.1f} dB"
    return strips.row([(how, before), (f"starter: {gain}", after), ("original", original)])


def classify_failure() -> RGB:
    """Subjects outside its classes, and the labels it gives them."""
    cells = []
    for name in ("astronaut.jpg", "face.jpg", "coins.jpg", "temple.jpg"):
        picture = photograph(name)
        answer = classify.predict(picture, "classify-starter", top_k=1)
        words = f"“{answer.labels[0]}”, {answer.scores[0]:.0%}"
        cells.append((words, strips.fitted(picture, SIDE)))
    return strips.row(cells)


def lenet_failure() -> RGB:
    """A printed 1 and 6, two digits and a photograph, and the digits that it reads."""
    cells = []
    printed = [(text, _printed(text)) for text in ("1", "6", "42")]
    for name, picture in (*printed, ("a cup", photograph("coffee.jpg"))):
        answer = classify.predict(picture, "lenet-starter", top_k=1)
        doubt = ", doubted" if answer.doubt else ""
        words = f"{name}: “{answer.labels[0]}”, {answer.scores[0]:.0%}{doubt}"
        cells.append((words, strips.fitted(picture, SIDE)))
    return strips.row(cells)


def _printed(text: str) -> RGB:
    page = Image.new("RGB", (SIDE, SIDE), (245, 245, 245))
    font = ImageFont.load_default(SIDE * 0.6)
    ImageDraw.Draw(page).text((SIDE / 2, SIDE / 2), text, (30, 30, 30), font, anchor="mm")
    return np.asarray(page)


def reconstruct_failure() -> RGB:
    """A face of which the visible patches show too little."""
    picture = photograph("astronaut.jpg", (60, 0, 460, 400))
    result = reconstruct.predict(picture, "reconstruct-starter", seed=3)
    named = (("visible patches", result.masked), ("starter", result.pasted), ("original", picture))
    return strips.row([(words, strips.fitted(shown, SIDE)) for words, shown in named])


def detect_failure(key: str) -> Callable[[], RGB]:
    """A flower, which is outside the classes, and a woman whose uniform is dark."""

    def draw_both() -> RGB:
        cells = []
        for name in ("flower.jpg", "hopper.jpg"):
            picture = photograph(name)
            found = detect.predict(picture, key, threshold=0.5)
            cells.append((name, strips.fitted(draw.boxes(picture, found, 0.5), SIDE)))
        return strips.row(cells)

    return draw_both


def segment_failure() -> RGB:
    """A click on one of many coins, and a click on a face in a crowded picture."""
    cells = []
    for name, x, y in (("coins.jpg", 0.5, 0.86), ("hopper.jpg", 0.5, 0.4)):
        picture = photograph(name)
        height, width = picture.shape[:2]
        found = segment.predict(picture, [[x * width, y * height, 1]], checkpoint="segment-starter")
        best = int(found.scores.argmax())
        shown = draw.masks(picture, found.masks[best][None])
        row, column = int(y * height), int(x * width)
        shown[row - 6 : row + 7, column - 6 : column + 7] = 255  # the click
        cells.append(
            (f"one click, predicted IoU {found.scores[best]:.2f}", strips.fitted(shown, SIDE))
        )
    return strips.row(cells)


def semantic_failure(key: str) -> Callable[[], RGB]:
    """Things outside its classes, and two things of which it makes one."""

    def draw_both() -> RGB:
        cells = []
        for name in ("hopper.jpg", "coffee.jpg"):
            picture = photograph(name)
            found = semantic.predict(picture, key)
            masks = [found.labels == i for i in range(1, len(found.classes))]
            named = [f"{label} {share:.0%}" for label, share in found.shares.items()][:3]
            cells.append((", ".join(named), strips.fitted(draw.masks(picture, masks), SIDE)))
        return strips.row(cells)

    return draw_both


FAILURES: dict[str, Callable[[], RGB]] = {
    "denoise-starter": denoise_failure,
    "super-resolve-x2-starter": super_resolve_failure(2),
    "super-resolve-x4-starter": super_resolve_failure(4),
    "deblur-starter": deblur_failure,
    "classify-starter": classify_failure,
    "lenet-starter": lenet_failure,
    "reconstruct-starter": reconstruct_failure,
    "detect-starter": detect_failure("detect-starter"),
    "detect-cnn-starter": detect_failure("detect-cnn-starter"),
    "segment-starter": segment_failure,
    "semantic-fcn-starter": semantic_failure("semantic-fcn-starter"),
    "semantic-unet-starter": semantic_failure("semantic-unet-starter"),
}


def curve(log: Path, out: Path) -> None:
    """Training loss and learning rate over CPU minutes, from the `log.jsonl` of a run."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    minutes = [line["minutes"] for line in lines]
    figure = Figure(figsize=(6, 2.6), dpi=110, layout="constrained")
    axes = figure.add_subplot(xlabel="CPU minutes", ylabel="training loss")
    axes.plot(minutes, [line["loss"] for line in lines], color="tab:blue", marker=".")
    rate = axes.twinx()
    rate.plot(minutes, [line["lr"] for line in lines], color="tab:grey", linestyle="--")
    rate.set_ylabel("learning rate (dashed)")
    figure.savefig(out)
    Image.open(out).convert("P", palette=Image.Palette.ADAPTIVE, colors=32).save(out, optimize=True)


def main() -> None:
    """Draw the requested pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="folder of the training runs")
    parser.add_argument("--only", nargs="+", choices=FAILURES, default=list(FAILURES))
    options = parser.parse_args()
    for key in options.only:
        strips.save(FAILURES[key](), WEIGHTS / f"{key}-failure.jpg")
        log = options.runs / key.removesuffix("-starter") / "log.jsonl" if options.runs else None
        if log and log.is_file():
            curve(log, WEIGHTS / f"{key}-curve.png")


if __name__ == "__main__":
    main()
