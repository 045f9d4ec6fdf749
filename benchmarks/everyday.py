"""Twenty everyday photographs: what Classify, Detect and Segment say of each.

    python -m benchmarks.everyday --data DIR [--sheet sheet.png] [--detector detect-starter]

The photographs are from ImageNet's sample photographs (training/DATA.md). The trunk has probably
been trained on them, so Classify's count tells whether nothing has been lost, not how good it is;
the detectors and Segment have never seen them. A box is right if it has the class and contains the
point that Segment's click is at. Masks are for the eye. Exits with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from core import classify, detect, images, segment
from core.imaging import draw
from core.types import RGB

CELL, LINE = 300, 15  # pixels
GOALS = {"classify": 17, "detect": 12}


@dataclass(frozen=True, slots=True)
class Photograph:
    """One file: names that are right, the class of VOC if it has one, and a point on the thing, in
    shares of width and height."""

    file: str
    names: str  # separated by |
    point: tuple[float, float]
    voc: str = ""


PHOTOGRAPHS = (
    Photograph("n02099601_golden_retriever", "retriever|dog", (0.45, 0.45), "dog"),
    Photograph("n02123045_tabby", "cat|tabby|lynx", (0.6, 0.4), "cat"),
    Photograph("n01531178_goldfinch", "goldfinch", (0.65, 0.5), "bird"),
    Photograph("n02389026_sorrel", "sorrel|horse", (0.45, 0.4), "horse"),
    Photograph("n02412080_ram", "ram|sheep|bighorn", (0.4, 0.5), "sheep"),
    Photograph("n02690373_airliner", "airliner|airplane", (0.8, 0.55), "airplane"),
    Photograph("n03791053_motor_scooter", "scooter|moped", (0.15, 0.65), "motorbike"),
    Photograph("n03792782_mountain_bike", "bike|bicycle", (0.2, 0.48), "bicycle"),
    Photograph("n04146614_school_bus", "bus", (0.5, 0.55), "bus"),
    Photograph("n03100240_convertible", "convertible|sports car|car", (0.5, 0.55), "car"),
    Photograph("n02917067_bullet_train", "train|locomotive", (0.5, 0.65), "train"),
    Photograph("n04273569_speedboat", "speedboat|boat", (0.5, 0.55), "boat"),
    Photograph("n04099969_rocking_chair", "chair", (0.5, 0.6), "chair"),
    Photograph("n04404412_television", "television|screen", (0.57, 0.32), "tv"),
    Photograph("n10148035_groom", "groom|bridegroom", (0.68, 0.7), "person"),
    Photograph("n03201208_dining_table", "dining table|board", (0.55, 0.5), "dining table"),
    Photograph("n07873807_pizza", "pizza", (0.5, 0.5)),
    Photograph("n06874185_traffic_light", "traffic light|traffic signal", (0.5, 0.5)),
    Photograph("n07745940_strawberry", "strawberry", (0.5, 0.6)),
    Photograph("n04398044_teapot", "teapot", (0.7, 0.55)),
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the three tasks said, and whether it was right (None: there is nothing to find)."""

    said: tuple[str, ...]
    named: bool
    found: tuple[str, ...]
    boxed: bool | None
    drawn: tuple[RGB, RGB]


def answers(photograph: Photograph, folder: Path, detector: str) -> Answers:
    """Ask all three about one photograph."""
    rgb = images.read(folder / f"{photograph.file}.JPEG")
    height, width = rgb.shape[:2]
    x, y = photograph.point[0] * width, photograph.point[1] * height
    three = classify.predict(rgb, "classify-starter", 3).labels
    right = photograph.names.split("|")
    boxes = detect.predict(rgb, detector, 0.5)
    inside = [
        label == photograph.voc and x1 <= x <= x2 and y1 <= y <= y2
        for label, (x1, y1, x2, y2) in zip(boxes.labels, boxes.boxes, strict=True)
    ]
    mask = segment.predict(rgb, [[x, y, 1]], checkpoint="segment-starter").best
    return Answers(
        three,
        any(name in label.lower() for label in three for name in right),
        boxes.labels,
        any(inside) if photograph.voc else None,
        (draw.boxes(rgb, boxes), draw.masks(rgb, mask[None])),
    )


def sheet(found: dict[Photograph, Answers]) -> Image.Image:
    """Each photograph with its boxes and with its mask, and its three classes above."""
    columns = 4
    rows = -(-len(found) // columns)
    whole = Image.new("RGB", (columns * CELL, rows * (CELL // 2 + 2 * LINE)), "white")
    pen = ImageDraw.Draw(whole)
    for index, answer in enumerate(found.values()):
        left = index % columns * CELL
        top = index // columns * (CELL // 2 + 2 * LINE)
        pen.text((left, top), ", ".join(answer.said)[:60], "black" if answer.named else "red")
        boxed = "red" if answer.boxed is False else "black"
        pen.text((left, top + LINE), ", ".join(answer.found)[:40] or "no box", boxed)
        for side, rgb in enumerate(answer.drawn):
            part = Image.fromarray(rgb)
            part.thumbnail((CELL // 2 - 4, CELL // 2 - 2))
            whole.paste(part, (left + side * CELL // 2, top + 2 * LINE))
    return whole


def main() -> int:
    """Print the table; 0 if the goals are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="see training/DATA.md")
    parser.add_argument("--detector", default="auto", help="auto: what a first visitor gets")
    parser.add_argument("--sheet", type=Path, help="PNG to write")
    options = parser.parse_args()
    folder = options.data / "imagenet_sample"
    if not folder.is_dir():
        print(f"No pictures in {folder}: see training/DATA.md.", file=sys.stderr)
        return 1
    found = {one: answers(one, folder, options.detector) for one in PHOTOGRAPHS}
    print("| photograph | three classes | boxes at 0.5 | named | boxed |\n|---|---|---|---|---|")
    for one, answer in found.items():
        boxed = {True: "yes", False: "no", None: ""}[answer.boxed]
        cells = (one.file, ", ".join(answer.said), ", ".join(answer.found))
        print("|", " | ".join([*cells, "yes" if answer.named else "no", boxed]), "|")
    counts = {
        "classify": sum(answer.named for answer in found.values()),
        "detect": sum(bool(answer.boxed) for answer in found.values()),
    }
    of = {"classify": len(found), "detect": sum(bool(one.voc) for one in found)}
    for task, count in counts.items():
        print(f"{task}: {count} of {of[task]}, goal {GOALS[task]}")
    if options.sheet:
        sheet(found).save(options.sheet)
    return 0 if all(counts[task] >= goal for task, goal in GOALS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
