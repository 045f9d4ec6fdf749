"""A diagram of SAM's prompt encoder and mask decoder, as SVG, from shapes read off a model."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from core.sam.insight import Part

BOX = (196, 62)
STEP = (236, 96)
# Where each part stands, (column, row), and which parts it is made from.
PLACES = {
    "sparse": (0, 0),
    "embedding": (0, 1),
    "dense": (0, 2),
    "tokens": (1, 0),
    "places": (1, 1),
    "iou": (2, 0),
    "weights": (2, 1),
    "upscaled": (2, 2),
    "scores": (3, 0),
    "masks": (3, 1),
}
MADE_FROM = {
    "tokens": ("sparse", "embedding", "dense"),
    "places": ("sparse", "embedding", "dense"),
    "iou": ("tokens",),
    "weights": ("tokens",),
    "upscaled": ("places",),
    "scores": ("iou",),
    "masks": ("weights", "upscaled"),
}


def svg(parts: Sequence[Part], title: str = "From prompt to mask") -> str:
    """Boxes with name, shape and weights, joined by arrows, left to right.

    Lines and text take the colour of the page's text, so it fits a light and a dark theme.
    """
    known = {part.key: part for part in parts if part.key in PLACES}
    columns = 1 + max((PLACES[key][0] for key in known), default=0)
    rows = 1 + max((PLACES[key][1] for key in known), default=0)
    width, height = columns * STEP[0] - STEP[0] + BOX[0] + 4, rows * STEP[1] - STEP[1] + BOX[1] + 4
    said = "; ".join(f"{part.title}: {_shape(part)}" for part in known.values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {width} {height}" role="img" '
        'font-family="sans-serif" font-size="13" fill="none" stroke="currentColor">',
        f"<title>{escape(title)}</title><desc>{escape(said)}</desc>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0,0L8,4L0,8Z" fill="currentColor" '
        'stroke="none"/></marker></defs>',
    ]
    lines += [
        _arrow(source, key)
        for key, sources in MADE_FROM.items()
        for source in sources
        if key in known and source in known
    ]
    return "\n".join([*lines, *(_box(part) for part in known.values()), "</svg>", ""])


def _corner(key: str) -> tuple[int, int]:
    column, row = PLACES[key]
    return column * STEP[0], row * STEP[1]


def _arrow(source: str, target: str) -> str:
    (x1, y1), (x2, y2) = _corner(source), _corner(target)
    start, end, middle = x1 + BOX[0], x2, (x1 + BOX[0] + x2) // 2
    y1, y2 = y1 + BOX[1] // 2, y2 + BOX[1] // 2
    curve = f"M{start},{y1}C{middle},{y1} {middle},{y2} {end},{y2}"
    return f'<path d="{curve}" opacity="0.6" marker-end="url(#tip)"/>'


def _box(part: Part) -> str:
    x, y = _corner(part.key)
    weights = f"{part.parameters:,} weights" if part.parameters else ""
    texts = [(part.title, 18, "bold"), (_shape(part), 37, "normal"), (weights, 54, "normal")]
    inside = "".join(
        f'<text x="{x + BOX[0] // 2}" y="{y + down}" text-anchor="middle" stroke="none" '
        f'fill="currentColor" font-weight="{weight}">{escape(text)}</text>'
        for text, down, weight in texts
        if text
    )
    frame = f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="8"/>'
    return f'<g id="part-{part.key}">{frame}{inside}</g>'


def _shape(part: Part) -> str:
    return " x ".join(str(length) for length in part.shape)
