"""Classify: the picture changed at random, and whether the model still agrees."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.errors import InputError
from demos.segment.prompts import chosen_mask
from demos.segment.session import Session
from demos.shell import ui
from demos.shell.lesson import COMMON, Choice, Endpoint, Lesson, Show, Slider, code_of

if TYPE_CHECKING:
    from core.lessons.augmentation import Bench, Variant

SHOWN_SIDE = 220  # pixels of each picture on the page
_SHEET_SIDE = 224
MIDDLE, OWN = "middle", "own"
_MASK = "  # (H, W) bool: your object, such as a mask of core.segment.predict\n"
_STRENGTHS = (
    ("randaugment", "RandAugment", 0.3, "two random operations"),
    ("colour", "Colours", 0.0, "brightness, contrast, saturation, hue"),
    ("rotation", "Rotation", 0.0, "up to 180 degrees"),
    ("crop", "Crop", 0.3, "down to a tenth of the area"),
    ("cutmix", "CutMix", 0.0, "a box of another picture"),
    ("copy_paste", "Copy-Paste", 0.0, "share of pictures with the object on another picture"),
)


def _bench(
    picture: images.ImageLike,
    checkpoint: str,
    randaugment: float,
    colour: float,
    rotation: float,
    crop: float,
    cutmix: float,
    copy_paste: float,
    seed: float,
    mask: NDArray[np.bool_] | None = None,
) -> Bench:
    from core.lessons import augmentation as lesson

    strengths = lesson.Strengths(randaugment, colour, rotation, crop, cutmix, copy_paste)
    return lesson.bench(picture, checkpoint, strengths, seed, mask)


def _run(
    picture: images.Picture,
    checkpoint: str,
    randaugment: float,
    colour: float,
    rotation: float,
    crop: float,
    cutmix: float,
    copy_paste: float,
    pasted: str,
    seed: float,
    session: Session | None,
) -> tuple[str, str]:
    mask = chosen_mask(picture, session) if copy_paste and pasted == OWN else None
    found = _bench(
        picture, checkpoint, randaugment, colour, rotation, crop, cutmix, copy_paste, seed, mask
    )
    return grid_html(found), ui.info_html(found.info, f"{1 + len(found.variants)} pictures at once")


def grid_html(found: Bench) -> str:
    """The score, and each picture with its best class below."""
    label = html.escape(found.original.label)
    agreeing = sum(one.label == found.original.label for one in found.variants)
    score = (
        f'<p class="au-score"><b>{agreeing} of {len(found.variants)}</b> variants are still '
        f"<b>{label}</b>; on average they get {found.sureness:.0%} for it, the original "
        f"{found.original.probability:.0%}.</p>"
        f'<meter class="au-meter" min="0" max="1" value="{found.agreeing:.3f}" '
        f'aria-label="Share of variants with the same class"></meter>'
    )
    cells = "".join(_cell(one, found.original) for one in (found.original, *found.variants))
    return f'{score}<div class="au-grid">{cells}</div>'


def _cell(one: Variant, original: Variant) -> str:
    same = one.label == original.label
    kind, sign = ("same", "✓") if same else ("other", "✗")
    if one is original:
        kind, sign = "original", "Original:"
    details = [f"{one.probability:.0%}"]
    if not same:
        details.append(f"{html.escape(original.label)} {one.of_original:.0%}")
    if one.mixed:
        details.append(f"{one.mixed:.0%} of another picture")
    return (
        f'<figure class="au-{kind}"><img src="{_data_url(one.image)}" alt="">'
        f"<figcaption><b>{sign} {html.escape(one.label)}</b><br>{', '.join(details)}</figcaption>"
        "</figure>"
    )


def _data_url(rgb: images.RGB) -> str:
    buffer = io.BytesIO()
    Image.fromarray(images.resize_max(rgb, SHOWN_SIDE)).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _code(
    picture: images.Picture,
    checkpoint: str,
    randaugment: float,
    colour: float,
    rotation: float,
    crop: float,
    cutmix: float,
    copy_paste: float,
    pasted: str,
    seed: float,
    session: Session | None,
) -> str:
    from core.lessons import augmentation as lesson

    strengths = lesson.Strengths(randaugment, colour, rotation, crop, cutmix, copy_paste)
    text = code_of(
        lesson.bench,
        picture.name or "picture.png",
        checkpoint=checkpoint,
        strengths=strengths,
        seed=int(seed),
    )
    if copy_paste and pasted == OWN:
        text = text.replace("    seed=", f"    mask=mask,{_MASK}    seed=")
    return text.replace("strengths=Strengths(", "strengths=augmentation.Strengths(").replace(
        "print(found)", "print(found.agreeing, [one.label for one in found.variants])"
    )


def augmentation(
    image: images.RGB,
    checkpoint: str = "auto",
    randaugment: float = 0.3,
    colour: float = 0.0,
    rotation: float = 0.0,
    crop: float = 0.3,
    cutmix: float = 0.0,
    copy_paste: float = 0.0,
    seed: int = 0,
    points: list[list[float]] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Classify a picture and eight random variants of it, to see how stable the class is.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        randaugment: Strength of two random operations, 0 to 1, as are all strengths.
        colour: Strength of changes of brightness, contrast, saturation and hue.
        rotation: Strength of rotation; 1 is up to 180 degrees.
        crop: Strength of crops; 1 is down to a tenth of the area.
        cutmix: Strength of boxes of another picture.
        copy_paste: Share of variants with the object on another picture.
        seed: Of the random numbers; the same seed makes the same variants.
        points: [[x, y, label], …] in pixels for Segment to find the object; null for the middle.

    Returns:
        The original and the variants as one picture, three in a row; and their classes, the share
        with the original's class, and its mean probability over the variants.
    """
    rgb, mask = ui.required(image), None
    if points is not None:
        from core import segment

        if not isinstance(points, list):
            raise InputError("points must be a list of [x, y, label].")
        mask = segment.predict(rgb, points).best
    found = _bench(
        rgb,
        checkpoint,
        randaugment,
        colour,
        rotation,
        crop,
        cutmix,
        copy_paste,
        seed,
        mask,
    )
    path = ui.result_path("augmented.jpg")
    images.save_jpeg(_sheet([one.image for one in (found.original, *found.variants)]), path)
    rows = [
        {
            "label": one.label,
            "probability": round(one.probability, 5),
            "of_original": round(one.of_original, 5),
            "mixed": round(one.mixed, 4),
        }
        for one in (found.original, *found.variants)
    ]
    return str(path), {
        "original": rows[0],
        "variants": rows[1:],
        "agreeing": round(found.agreeing, 4),
        "sureness": round(found.sureness, 5),
        "info": found.info.to_dict(),
    }


def _sheet(pictures: list[images.RGB]) -> images.RGB:
    """Pictures of one size, three in a row, on black."""
    small = [images.resize_max(rgb, _SHEET_SIDE) for rgb in pictures]
    rows = [np.concatenate(small[i : i + 3], axis=1) for i in range(0, len(small), 3)]
    return np.concatenate(rows, axis=0)


LESSON = Lesson(
    key="augmentation",
    title="Does it still know it?",
    tab="classify",
    about="The picture and eight random variants of it, as training makes them, with the best "
    "class of each. A stable model keeps its answer while the object can still be recognised.",
    run=_run,
    shows=(Show("html", "grid"), Show("html", "facts")),
    controls=(
        *(Slider(key, name, 0, 1, value, 0.05, info) for key, name, value, info in _STRENGTHS),
        Choice(
            "pasted",
            "Object of Copy-Paste",
            [("what Segment finds in the middle", MIDDLE), ("what you cut out on Segment", OWN)],
            MIDDLE,
        ),
        Slider("seed", "Seed", 0, 99, 0, 1, "other random numbers"),
    ),
    needs=(*COMMON, "session"),
    order=40,
    code=_code,
    endpoint=Endpoint(
        "augmentation",
        augmentation,
        ("image", "text", *("number",) * 7, "json"),
        ("picture", "json"),
    ),
)
