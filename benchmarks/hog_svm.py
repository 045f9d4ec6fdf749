"""A classical detector: one linear SVM a class on HOG windows that slide over a picture pyramid.

Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", 2005, with a round of
hard negatives and non-maximum suppression. It has the same training data as the detect starter.
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
AREA = 80 * 80  # px of a window of any shape
LONGEST = (88, 112, 144, 184, 232)  # sides of the pyramid, for objects from a third to all of it
SCENES = 600  # pictures without the class, for negative windows
HARD = 4000  # maximum hard negatives per class, from its first SVM
KEPT = 30  # boxes of a class and picture
Features = NDArray[np.float64]


def blocks(picture: Picture) -> Features:
    """(H, W, 3) -> (rows, columns, 36): HOG of each 2x2 cells."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    found = hog(grey, pixels_per_cell=(CELL, CELL), cells_per_block=(2, 2), feature_vector=False)
    return found.reshape(*found.shape[:2], -1)


def resized(picture: Picture, width: int, height: int) -> Picture:
    """The picture resized to any shape."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


class HogSvm:
    """Trains on the stock; calling it with a picture returns boxes, classes and scores."""

    def __init__(self, stock: Stock, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.windows: list[tuple[int, int]] = []  # (width, height) px by class
        self.weights: list[Features] = []  # (rows, columns, 36) by class
        self.biases: list[float] = []
        scenes = [(-1, image) for image in stock.backgrounds]
        scenes += [(t.label, t.image) for group in stock.things for t in group]
        chosen = rng.permutation(len(scenes))[:SCENES]
        known = [(scenes[i][0], level) for i in chosen for level, _ in _pyramid(scenes[i][1])]
        for label, things in enumerate(stock.things):
            window = _window_of(things)
            positives = np.stack([_described(t, window, flip) for t in things for flip in (0, 1)])
            others = [level for kind, level in known if kind != label]
            negatives = _random_windows(others, window, rng)
            weight, bias = _fitted(positives, negatives, window)
            hard = _hard_windows(others, window, weight, bias)
            weight, bias = _fitted(positives, np.concatenate([negatives, hard]), window)
            self.windows.append(window)
            self.weights.append(weight)
            self.biases.append(bias)

    def __call__(self, image: Picture) -> tuple[Boxes, NDArray[np.int64], Boxes]:
        """(H, W, 3) -> (N, 4) xyxy pixels, (N,) classes and (N,) scores, 0..1."""
        boxes: list[list[NDArray[np.float64]]] = [[] for _ in self.windows]
        values: list[list[float]] = [[] for _ in self.windows]
        for features, scale in _pyramid(image):
            for label, (width, height) in enumerate(self.windows):
                windows = _places(features, (width, height))
                answer = np.tensordot(windows, self.weights[label], 3) + self.biases[label]
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


def _blocks_of(window: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of blocks of 2x2 cells in a window of (width, height) px."""
    return window[1] // CELL - 1, window[0] // CELL - 1


def _described(thing: Thing, window: tuple[int, int], flip: int) -> Features:
    left, top, right, bottom = np.round(thing.box).astype(int)
    cut = thing.image[max(top, 0) : bottom, max(left, 0) : right]
    cut = cut[:, ::-1] if flip else cut
    return blocks(resized(np.ascontiguousarray(cut), *window)).ravel()


def _pyramid(picture: Picture) -> Iterator[tuple[Features, float]]:
    """The picture's blocks (rows, columns, 36) at each size, and the scale."""
    for longest in LONGEST:
        scale = longest / max(picture.shape[:2])
        height, width = (max(2 * CELL, round(side * scale)) for side in picture.shape[:2])
        yield blocks(resized(picture, width, height)), scale


def _places(features: Features, window: tuple[int, int]) -> Features:
    """(rows, columns, r, c, 36): the blocks under each window position."""
    rows, columns = _blocks_of(window)
    if features.shape[0] < rows or features.shape[1] < columns:
        return np.zeros((0, 0, rows, columns, features.shape[2]))
    view: Any = np.lib.stride_tricks.sliding_window_view(features, (rows, columns), axis=(0, 1))  # type: ignore[call-overload]
    return view.transpose(0, 1, 3, 4, 2)


def _random_windows(
    levels: list[Features], window: tuple[int, int], rng: np.random.Generator
) -> Features:
    """Features of random windows in pictures without the class."""
    found: list[Features] = []
    for features in levels:
        places = _places(features, window)
        if places.size:
            row, column = (rng.integers(n) for n in places.shape[:2])
            found.append(places[row, column].ravel())
    return np.stack(found)


def _hard_windows(
    levels: list[Features], window: tuple[int, int], weight: Features, bias: float
) -> Features:
    """Windows that a first SVM mistakes for the class (hard negatives)."""
    found: list[Features] = []
    for features in levels:
        places = _places(features, window)
        values = np.tensordot(places, weight, 3) + bias
        found += [places[row, column].ravel() for row, column in np.argwhere(values > -0.5)[:5]]
    return np.array(found[:HARD]).reshape(-1, weight.size)


def _fitted(
    positives: Features, negatives: Features, window: tuple[int, int]
) -> tuple[Features, float]:
    """Weights (rows, columns, 36) and the bias of a linear SVM."""
    from sklearn.svm import LinearSVC

    x = np.concatenate([positives, negatives])
    y = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0).fit(x, y)
    return machine.coef_[0].reshape(*_blocks_of(window), -1), float(machine.intercept_[0])
