"""Score a detect starter: AP at IoU 0.5 on held-out pictures and scenes, with a baseline.

Pictures are unmodified held-out photographs, mostly of one object; faces are the last files, which
begin with a new person. Scenes put up to four held-out objects on held-out backgrounds. The
baseline describes the whole picture by HOG and returns label and box of the most similar training
picture; a single box cannot score well in scenes of several objects.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from skimage.feature import hog
from transformers import DetrConfig, DetrForObjectDetection

from core.imaging import draw
from core.sources import state_dicts
from core.types import Detections, RunInfo
from training import detect_data, detect_scenes, pages
from training.common import log
from training.detect_data import CLASSES, Boxes, Picture, Stock, normalise

PICTURES_PER_CLASS = 80
SCENES = 240


class Detector:
    """A starter file as a function from pictures to boxes."""

    def __init__(self, path: Path) -> None:
        _, self.config = state_dicts.read_header(path)
        model = DetrForObjectDetection.from_pretrained(
            None,
            config=DetrConfig.from_dict(self.config["detr"]),
            state_dict=state_dicts.read(path),
        )
        self.model = model.eval()

    @torch.inference_mode()
    def __call__(self, image: Picture) -> tuple[Boxes, NDArray[np.int64], Boxes]:
        """(Q, 4) xyxy pixels, (Q,) classes and (Q,) scores of all queries."""
        h, w = image.shape[:2]
        size = self.config["size"]
        scale = min(size["shortest_edge"] / min(h, w), size["longest_edge"] / max(h, w))
        small = Image.fromarray(image).resize((round(w * scale), round(h * scale)), 2)
        outputs = self.model(normalise(np.array(small)[None]))
        scores, labels = outputs.logits[0].softmax(-1)[:, :-1].max(-1)
        cx, cy, bw, bh = outputs.pred_boxes[0].unbind(-1)
        corners = torch.stack([cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2], -1)
        boxes = corners.numpy().astype(float) * [w, h, w, h]
        return boxes, labels.numpy(), scores.numpy().astype(float)


class NearestPicture:
    """Label and box of the most similar training picture by HOG."""

    def __init__(self, stock: Stock) -> None:
        self.things = [thing for group in stock.things for thing in group]
        self.features = np.stack([self._describe(thing.image) for thing in self.things])

    @staticmethod
    def _describe(image: Picture) -> NDArray[np.float64]:
        small = Image.fromarray(image).convert("L").resize((96, 96), Image.Resampling.BILINEAR)
        vector = hog(np.asarray(small), pixels_per_cell=(12, 12), cells_per_block=(2, 2))
        return vector / (np.linalg.norm(vector) + 1e-9)

    def __call__(self, image: Picture) -> tuple[Boxes, NDArray[np.int64], Boxes]:
        likeness = self.features @ self._describe(image)
        thing = self.things[int(likeness.argmax())]
        from_size, to_size = thing.image.shape[1::-1], image.shape[1::-1]
        box = thing.box * np.tile(np.array(to_size) / np.array(from_size), 2)
        return box[None], np.array([thing.label]), np.array([likeness.max()])


def ap50(
    truths: list[tuple[list[Boxes], list[int]]],
    answers: list[tuple[Boxes, NDArray[np.int64], Boxes]],
) -> dict[str, float]:
    """AP at IoU 0.5 by class, and their mean, as COCO counts it."""
    coco = COCO()
    notes: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    for i, (boxes, labels) in enumerate(truths):
        for box, label in zip(boxes, labels, strict=True):
            wide = [*box[:2], *(box[2:] - box[:2])]
            notes.append({"id": len(notes) + 1, "image_id": i, "category_id": int(label) + 1,
                          "bbox": wide, "area": wide[2] * wide[3], "iscrowd": 0})  # fmt: skip
    for i, (found, kinds, scores) in enumerate(answers):
        for box, label, score in zip(found, kinds, scores, strict=True):
            results.append({"image_id": i, "category_id": int(label) + 1, "score": float(score),
                            "bbox": [*box[:2], *(box[2:] - box[:2])]})  # fmt: skip
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    images = [{"id": i} for i in range(len(truths))]
    with contextlib.redirect_stdout(io.StringIO()):
        coco.dataset = {"images": images, "annotations": notes, "categories": categories}
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][0, :, :, 0, -1]  # (recall, class)
    by_class = {name: float(precision[:, i].mean()) for i, name in enumerate(CLASSES)}
    return by_class | {"mean": float(np.mean(list(by_class.values())))}


def held_out_sets(
    test: Stock,
) -> dict[str, tuple[list[Picture], list[tuple[list[Boxes], list[int]]]]]:
    """By kind ("pictures", "scenes"): the pictures, and the boxes and labels of each."""
    pictures = [t for group in test.things for t in group[:PICTURES_PER_CLASS]]
    rng = np.random.default_rng(0)
    shapes = ((192, 256), (256, 192), (224, 224))
    scenes = [detect_scenes.make_scene(test, *shapes[i % 3], rng) for i in range(SCENES)]
    return {
        "pictures": ([p.image for p in pictures], [([p.box], [p.label]) for p in pictures]),
        "scenes": ([s.image for s in scenes], [(s.boxes, s.labels) for s in scenes]),
    }


def page(detector: Detector, images: list[Picture], out: Path, threshold: float = 0.7) -> None:
    """The boxes above a score on each picture, six in a row."""
    tiles = []
    for image in images:
        picture = Image.fromarray(image)
        picture = picture.resize([round(s * pages.SIDE / max(picture.size)) for s in picture.size])
        pixels = np.asarray(picture)
        boxes, labels, scores = detector(pixels)
        order = np.argsort(-scores)
        names = tuple(CLASSES[labels[i]] for i in order)
        found = Detections(
            np.clip(boxes[order], 0, np.tile(picture.size, 2)).astype(np.float32),
            scores[order].astype(np.float32),
            names,
            picture.size,
            RunInfo("detect-starter", "starter", "cpu"),
        )
        tiles.append(pages.tile(draw.boxes(pixels, found, threshold)))
    pages.save(tiles, 6, out, quality=85)


def report(path: Path, data: Path) -> dict[str, dict[str, float]]:
    """Log AP50 of the starter at `path` and of the baseline; write a page of 24 beside it.

    The page shows 18 held-out pictures and 6 held-out scenes, drawn by a fixed seed.
    """
    training, test = detect_data.load(data)
    sets = held_out_sets(test)
    pictures, scenes = sets["pictures"][0], sets["scenes"][0]
    chosen = np.random.default_rng(1).permutation(len(pictures))[:18]
    shown = [np.ascontiguousarray(pictures[i]) for i in chosen]
    # Beside the training run, not the weights: data set pictures are not shipped.
    target = Path("runs/detect/held-out.jpg")
    page(Detector(path), shown + scenes[:6], target)
    figures = {}
    for name, method in (("starter", Detector(path)), ("nearest", NearestPicture(training))):
        for kind, (images, truths) in sets.items():
            answers = [method(np.ascontiguousarray(image)) for image in images]
            figures[f"{name} on {kind}"] = ap50(truths, answers)
            line = ", ".join(f"{k} {v:.3f}" for k, v in figures[f"{name} on {kind}"].items())
            log.info("AP50 of %s on %d %s: %s", name, len(images), kind, line)
    return figures
