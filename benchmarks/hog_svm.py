"""A classical detector: one linear SVM a class on HOG windows that slide over a picture pyramid.

Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", 2005, with a round of
hard negatives and non-maximum suppression. It is trained on what the detect starter was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import hog
from torchvision.ops import nms

from training.detect_data import Boxes, Picture, Stock, Thing

CELL = 8  # px
AREA = 80 * 80  # px of a window, whatever its shape
LONGEST = (88, 112, 144, 184, 232)  # sides of the pyramid: a window covers all of it, to a third
NEGATIVES = 4000
KEPT = 30  # boxes of a class and picture
Features = NDArray[np.float64]


def blocks(picture: Picture) -> Features:
    """(H, W, 3) -> (rows, columns, 36): HOG of each 2x2 cells."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    found = hog(grey, pixels_per_cell=(CELL, CELL), cells_per_block=(2, 2), feature_vector=False)
    return found.reshape(*found.shape[:2], -1)


def resized(picture: Picture, width: int, height: int) -> Picture:
    """The picture at another size, whatever its shape was."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


class HogSvm:
    """Trains on the stock; called with a picture it gives boxes, classes and scores."""

    def __init__(self, stock: Stock, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.windows: list[tuple[int, int]] = []  # (width, height) px by class
        self.weights: list[Features] = []  # (rows, columns, 36) by class
        self.biases: list[float] = []
        for label, things in enumerate(stock.things):
            others = [
                t for other, group in enumerate(stock.things) if other != label for t in group
            ]
            window = _window_of(things)
            positives = np.stack([_described(t, window, flip) for t in things for flip in (0, 1)])
            scenes = [*stock.backgrounds, *(t.image for t in others)]
            negatives = _random_windows(scenes, window, rng)
            weight, bias = _fitted(positives, negatives)
            hard = self._hard_negatives(scenes, window, weight, bias, rng)
            weight, bias = _fitted(positives, np.concatenate([negatives, hard]))
            self.windows.append(window)
            self.weights.append(weight)
            self.biases.append(bias)

    @staticmethod
    def _hard_negatives(
        scenes: list[Picture],
        window: tuple[int, int],
        weight: Features,
        bias: float,
        rng: np.random.Generator,
    ) -> Features:
        """What a first SVM takes for the class where it is not."""
        found: list[Features] = []
        for index in rng.permutation(len(scenes))[:200]:
            for places, _ in _pyramid(scenes[index], [window]):
                values = np.tensordot(places[0], weight, 3) + bias
                for row, column in np.argwhere(values > -0.5)[:10]:
                    found.append(places[0][row, column].ravel())
        return np.array(found).reshape(-1, weight.size)

    def __call__(self, image: Picture) -> tuple[Boxes, NDArray[np.int64], Boxes]:
        """(H, W, 3) -> (N, 4) xyxy pixels, (N,) classes and (N,) scores, 0..1."""
        boxes: list[list[NDArray[np.float64]]] = [[] for _ in self.windows]
        values: list[list[float]] = [[] for _ in self.windows]
        for places, scale in _pyramid(image, self.windows):
            for label, windows in enumerate(places):
                answer = np.tensordot(windows, self.weights[label], 3) + self.biases[label]
                width, height = self.windows[label]
                for row, column in np.ndindex(answer.shape):
                    left, top = column * CELL, row * CELL
                    box = np.array([left, top, left + width, top + height])
                    boxes[label].append(box / scale)
                    values[label].append(float(answer[row, column]))
        return _best(boxes, values)


def _best(
    boxes: list[list[NDArray[np.float64]]], values: list[list[float]]
) -> tuple[Boxes, NDArray[np.int64], Boxes]:
    all_boxes, labels, scores = [np.zeros((0, 4))], [np.zeros(0, int)], [np.zeros(0)]
    for label, (places, answers) in enumerate(zip(boxes, values, strict=True)):
        if not places:
            continue
        corners, decided = torch.tensor(np.stack(places)), torch.tensor(answers).double()
        keep = nms(corners, decided, 0.3)[:KEPT]
        all_boxes.append(corners[keep].numpy())
        labels.append(np.full(len(keep), label))
        scores.append(torch.sigmoid(decided[keep]).numpy())
    return np.concatenate(all_boxes), np.concatenate(labels), np.concatenate(scores)


def _window_of(things: list[Thing]) -> tuple[int, int]:
    """(width, height) in px, whole cells, of the class's mean shape."""
    aspect = float(
        np.exp(np.mean([np.log((t.box[2] - t.box[0]) / (t.box[3] - t.box[1])) for t in things]))
    )
    width, height = np.sqrt(AREA * aspect), np.sqrt(AREA / aspect)
    return CELL * max(3, round(width / CELL)), CELL * max(3, round(height / CELL))


def _described(thing: Thing, window: tuple[int, int], flip: int) -> Features:
    left, top, right, bottom = np.round(thing.box).astype(int)
    cut = thing.image[max(top, 0) : bottom, max(left, 0) : right]
    cut = cut[:, ::-1] if flip else cut
    return blocks(resized(np.ascontiguousarray(cut), *window)).ravel()


def _pyramid(
    picture: Picture, windows: list[tuple[int, int]]
) -> Iterator[tuple[list[Features], float]]:
    """At each size: for each window (rows, columns, r, c, 36) of its places; and the scale."""
    for longest in LONGEST:
        scale = longest / max(picture.shape[:2])
        height, width = (max(2 * CELL, round(side * scale)) for side in picture.shape[:2])
        yield _places(blocks(resized(picture, width, height)), windows), scale


def _places(features: Features, windows: list[tuple[int, int]]) -> list[Features]:
    found: list[Features] = []
    for width, height in windows:
        rows, columns = height // CELL - 1, width // CELL - 1
        if features.shape[0] < rows or features.shape[1] < columns:
            found.append(np.zeros((0, 0, rows, columns, features.shape[2])))
            continue
        view: Any = np.lib.stride_tricks.sliding_window_view(features, (rows, columns), axis=(0, 1))  # type: ignore[call-overload]
        found.append(view.transpose(0, 1, 3, 4, 2))
    return found


def _random_windows(
    scenes: list[Picture], window: tuple[int, int], rng: np.random.Generator
) -> Features:
    """HOG of windows at random places of pictures that do not show the class."""
    found: list[Features] = []
    for index in rng.permutation(len(scenes)):
        for places, _ in _pyramid(scenes[index], [window]):
            if places[0].shape[0] and len(found) < NEGATIVES:
                row, column = (rng.integers(n) for n in places[0].shape[:2])
                found.append(places[0][row, column].ravel())
    return np.stack(found)


def _fitted(positives: Features, negatives: Features) -> tuple[Features, float]:
    """Weights in the shape of a window, and the bias, of a linear SVM."""
    from sklearn.svm import LinearSVC

    x = np.concatenate([positives, negatives])
    y = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0).fit(x, y)
    return machine.coef_[0], float(machine.intercept_[0])
