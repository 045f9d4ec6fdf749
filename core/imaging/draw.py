"""Draw results on pictures; functions take and return (H, W, 3) uint8 and do not modify inputs."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from core.imaging import bands
from core.types import Detections, Mask, Masks

RGB = NDArray[np.uint8]
Colour = tuple[int, int, int]
Stack = Masks | NDArray[np.bool_] | Sequence[NDArray[np.bool_]] | Sequence[Mask]
_HUES = 48  # tried around the colour circle
Rect = tuple[int, int, int, int]  # x1, y1, x2, y2; x2 and y2 are outside

# Pillow's bundled font has Latin letters only. These fonts are looked up on the system, and only
# for labels that need them.
_WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansKR-Regular.otf",
    "NanumGothic.ttf",
    "AppleSDGothicNeo.ttc",
    "malgun.ttf",
    "DejaVuSans.ttf",
)


def boxes(rgb: RGB, detections: Detections, threshold: float = 0.0) -> RGB:
    """`boxes_image` as (H, W, 3) uint8, a new array."""
    return bands.to_array(boxes_image(rgb, detections, threshold))


def boxes_image(rgb: RGB, detections: Detections, threshold: float = 0.0) -> Image.Image:
    """Boxes with labels and scores; labels do not overlap and stay inside the picture.

    Line width and letters grow with the picture. Each label has its own colour. In a crowded
    picture the lowest-scored labels are left out, but their boxes are drawn.

    Args:
        rgb: (H, W, 3) uint8.
        detections: boxes in pixels of `rgb`, best first.
        threshold: boxes with a lower score (0..1) are omitted.

    Returns:
        A new picture of mode "RGB", ready to be saved.
    """
    canvas = Image.fromarray(rgb)
    pen = ImageDraw.Draw(canvas)
    scale = (canvas.width * canvas.height) ** 0.5
    line, size = max(2, round(scale * 0.0035)), max(11, round(scale * 0.024))
    shown = [
        (_clip(box, canvas.size), label, float(score))
        for box, label, score in zip(
            detections.boxes, detections.labels, detections.scores, strict=True
        )
        if score >= threshold
    ]
    colours = label_colours([label for _, label, _ in shown])
    for box, label, _ in reversed(shown):  # best on top
        pen.rectangle(box, outline=(0, 0, 0), width=line + 2)
        inner = (box[0] + 1, box[1] + 1, max(box[0] + 1, box[2] - 1), max(box[1] + 1, box[3] - 1))
        pen.rectangle(inner, outline=colours[label], width=line)
    taken: list[Rect] = []
    for box, label, score in shown:
        tag = _fit(" ".join(f"{label} {score:.0%}".split()), size, canvas.width)
        place = _place(tag, size, box, canvas.size, taken)
        if place:
            taken.append(place)
            fill = colours[label]
            pen.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=fill)
            middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
            pen.text(middle, tag, fill=text_colour(fill), font=_font_for(tag, size), anchor="mm")
    return canvas


def masks(rgb: RGB, masks: Stack, alpha: float = 0.45) -> RGB:
    """Tint each mask in its colour of `mask_palette`, with a contour; small masks are on top.

    Args:
        rgb: (H, W, 3) uint8.
        masks: (K, H, W) bool, or a sequence of K masks that are read one at a time.
        alpha: weight of the tint, 0 (none) to 1 (opaque).

    Returns:
        (H, W, 3) uint8, a new array.
    """
    out = rgb.copy()
    _paint_all(out, masks, alpha)
    return out


def masks_image(rgb: RGB, masks: Stack, alpha: float = 0.45) -> Image.Image:
    """`masks` as a new picture of mode "RGBX", ready to be saved as JPEG."""
    padded = bands.to_padded(rgb)
    _paint_all(padded[..., :3], masks, alpha)
    return bands.to_image(padded)


def _paint_all(out: RGB, masks: Stack, alpha: float) -> None:
    stack = masks.masks if isinstance(masks, Masks) else masks
    palette = mask_palette(len(stack))
    width = max(1, round((out.shape[0] * out.shape[1]) ** 0.5 * 0.003))
    areas = [one.area if isinstance(one, Mask) else int(np.count_nonzero(one)) for one in stack]
    for index in sorted(range(len(stack)), key=lambda i: -areas[i]):
        one = stack[index]
        if areas[index]:
            _paint(out, one.mask if isinstance(one, Mask) else one, palette[index], alpha, width)


def _paint(
    out: RGB, mask: NDArray[np.bool_], colour: NDArray[np.uint8], alpha: float, width: int
) -> None:
    """Draw one non-empty mask, some rows at a time."""
    rows, columns = _extent(mask)
    tables = [
        np.rint(np.arange(256) * (1 - alpha) + int(tone) * alpha).astype(np.uint8)
        for tone in colour
    ]
    for band in bands.bands(rows.stop - rows.start, columns.stop - columns.start):
        top, bottom = rows.start + band.start, rows.start + band.stop
        # The contour is this wide, so a band also needs that many rows above and below.
        first, last = max(rows.start, top - width), min(rows.stop, bottom + width)
        seen = mask[first:last, columns]
        edge = (seen & ~_shrunk(seen, width))[top - first : bottom - first]
        inside = mask[top:bottom, columns]
        for channel, table in enumerate(tables):
            plane = out[top:bottom, columns, channel]
            np.copyto(plane, table[plane], where=inside)
            np.copyto(plane, colour[channel], where=edge)


def mask_palette(count: int) -> NDArray[np.uint8]:
    """(count, 3) uint8 colours; neighbours in the list differ strongly in hue."""
    golden = 0.618034  # of a turn: keeps hues of a short list apart
    hues = [(0.58 + i * golden) % 1.0 for i in range(count)]
    light = [(0.55, 0.42, 0.68)[i % 3] for i in range(count)]
    rows = [_hls(hue, lightness) for hue, lightness in zip(hues, light, strict=True)]
    return np.array(rows, np.uint8).reshape(count, 3)


def heatmap(rgb: RGB, values: NDArray[np.floating], alpha: float = 0.55) -> RGB:
    """Blend a coarse map (e.g. attention of patches) over a picture, low is dark, high is bright.

    Args:
        rgb: (H, W, 3) uint8.
        values: (rows, columns) of any range, finite; stretched from lowest to highest, and
            interpolated to the size of the picture.
        alpha: weight of the map, 0..1.

    Returns:
        (H, W, 3) uint8, a new array.
    """
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    small = Image.fromarray(np.rint(scaled * 255).astype(np.uint8))
    size = (rgb.shape[1], rgb.shape[0])
    index = np.asarray(small.resize(size, Image.Resampling.BICUBIC))
    colours = Image.fromarray(colour_map()[index])
    return np.array(Image.blend(Image.fromarray(rgb), colours, alpha))


@cache
def colour_map() -> NDArray[np.uint8]:
    """(256, 3) uint8 from dark violet to light yellow, with evenly rising lightness.

    Lightness rises linearly while hue turns in OKLab (Ottosson, 2020), so that equal steps look
    equal, also in greyscale and to colour-blind viewers.
    """
    t = np.linspace(0.0, 1.0, 256)
    lightness, chroma = 0.22 + 0.73 * t, 0.04 + 0.40 * t * (1 - t) + 0.09 * t
    hue = np.deg2rad(295 + 170 * t)  # violet, over red and orange, to yellow at 105 degrees
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    to_lms = np.array(
        [
            [1.0, 0.3963377774, 0.2158037573],
            [1.0, -0.1055613458, -0.0638541728],
            [1.0, -0.0894841775, -1.2914855480],
        ]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((lab @ to_lms.T) ** 3 @ to_rgb.T, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)


def label_colour(label: str) -> Colour:
    """A colour that depends only on the label."""
    return _hls(*_hue(label))


def _hue(label: str) -> tuple[float, float]:
    """Hue and lightness, each 0..1."""
    number = zlib.crc32(label.encode())
    return (number & 0xFFFF) / 0x10000, (0.42, 0.52, 0.62)[(number >> 16) % 3]


def label_colours(labels: Sequence[str]) -> dict[str, Colour]:
    """A colour for each of the labels of one picture: that of `label_colour`, or where another
    label has nearly the same, the hue that is farthest from the others."""
    taken: list[float] = []
    colours: dict[str, Colour] = {}
    names = sorted(set(labels))
    apart = min(0.07, 0.6 / max(1, len(names)))
    for name in names:
        hue, lightness = _hue(name)
        if _distance(hue, taken) < apart:
            around = ((hue + step / _HUES) % 1 for step in range(_HUES))
            hue = max(around, key=lambda one: _distance(one, taken))
        taken.append(hue)
        colours[name] = _hls(hue, lightness)
    return colours


def _distance(hue: float, taken: Sequence[float]) -> float:
    """To the nearest of the hues, in turns of the colour circle."""
    return min((abs((hue - other + 0.5) % 1 - 0.5) for other in taken), default=1.0)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever has the higher contrast; at least 4.5 on any background."""
    black, white = (0, 0, 0), (255, 255, 255)
    return max((black, white), key=lambda colour: contrast(colour, background))


def contrast(a: Colour, b: Colour) -> float:
    """Contrast ratio of two sRGB colours, 1..21 (WCAG 2)."""
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Colour) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _hls(hue: float, lightness: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


@cache
def _font(size: int, wide: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    for name in _WIDE_FONTS if wide else ():
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _font_for(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return _font(size, wide=any(ord(letter) > 0x24F for letter in text))


def _text_size(text: str, size: int) -> tuple[int, int]:
    """Width of the text and height of the line, with a margin."""
    left, _, right, _ = _font_for(text, size).getbbox(text)
    return int(right - left) + size // 2, int(size * 1.35)


def _fit(text: str, size: int, width: int) -> str:
    """The text, cut to the width of the picture."""
    while len(text) > 2 and _text_size(text, size)[0] > width:
        text = text[:-2] + "…"
    return text


def _clip(box: NDArray[np.float32], size: tuple[int, int]) -> Rect:
    xs = np.clip(np.nan_to_num(box[0::2]), 0, size[0] - 1)
    ys = np.clip(np.nan_to_num(box[1::2]), 0, size[1] - 1)
    return round(xs.min()), round(ys.min()), round(xs.max()), round(ys.max())


def _place(
    text: str, size: int, box: Rect, picture: tuple[int, int], taken: list[Rect]
) -> Rect | None:
    """The free place for a label that is nearest to its box; None if there is none."""
    width, height = _text_size(text, size)
    x1, y1, x2, y2 = box
    spots = [(x1, y1 - height), (x1, y1), (x1, y2), (x2 - width, y1 - height), (x1, y2 - height)]
    step = max(1, height // 2)
    for distance in range(step, max(picture), step):
        spots += [
            (x1, y1 + distance),
            (x1, y1 - distance),
            (x1 + distance, y1),
            (x1 - distance, y1),
        ]
    for x, y in spots:
        left = min(max(x, 0), picture[0] - width)
        top = min(max(y, 0), picture[1] - height)
        if left < 0 or top < 0:  # the label is larger than the picture
            return None
        if not any(
            left < t[2] and t[0] < left + width and top < t[3] and t[1] < top + height
            for t in taken
        ):
            return left, top, left + width, top + height
    return None


def _extent(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that contain the mask, which is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _shrunk(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The mask without a rim of `width` pixels."""
    padded = np.pad(mask, width)
    height, length = mask.shape
    inner = mask.copy()
    for dy, dx in ((0, width), (2 * width, width), (width, 0), (width, 2 * width)):
        inner &= padded[dy : dy + height, dx : dx + length]
    return inner
