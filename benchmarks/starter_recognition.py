"""Rows of `benchmarks.starters` for the classify and reconstruct starters."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray, rgb2hsv
from skimage.feature import hog

from benchmarks.starter_rows import Row
from training import classify as recipe
from training import reconstruct as mae
from training.recognition_data import Pictures, cifar10, held_out
from training.recognition_photos import photographs_of

CLASSIFY_GOAL, PHOTOGRAPHS_GOAL = 90.0, 70.0  # %
RECONSTRUCT_GOAL = 1.0  # dB more than smooth inpainting, and than the mean colour
NEIGHBOURS = 10


def classify(options: argparse.Namespace) -> Iterator[Row]:
    """CIFAR-10's test set and photographs of its classes from other sources."""
    from sklearn.neighbors import KNeighborsClassifier

    train, labels, names = cifar10(options.data, "train")
    test, answers, _ = cifar10(options.data, "test")
    photos, classes, _ = photographs_of(options.data, names, recipe.SIDE)
    recipe.refuse_overlap(train, test, photos)
    neighbours = KNeighborsClassifier(NEIGHBOURS, weights="distance", algorithm="brute")
    neighbours.fit(described(train), labels)
    model = recipe.load(options.weights / "classify-starter.safetensors")
    rows = (
        (f"CIFAR-10 test, {len(test)} pictures", test, answers, CLASSIFY_GOAL),
        (f"photographs of other sources, {len(photos)}", photos, classes, PHOTOGRAPHS_GOAL),
    )
    for where, pictures, truth, goal in rows:
        right = 100 * float(recipe.accuracy(model, pictures, truth).mean())
        near = 100 * float((neighbours.predict(described(pictures)) == truth).mean())
        name = f"{NEIGHBOURS} nearest neighbours, colour histogram and HOG"
        yield Row("classify", f"top-1, {where}", right, goal, "%", classical={name: near})


def described(pictures: Pictures) -> NDArray[np.float32]:
    """(N, 32, 32, 3) -> (N, features): colour histogram (HSV) and HOG, each of unit length."""
    return np.stack([np.concatenate([_histogram(p), _gradients(p)]) for p in pictures])


def _histogram(picture: Pictures) -> NDArray[np.float32]:
    hsv = rgb2hsv(picture).reshape(-1, 3)
    counts, _ = np.histogramdd(hsv, bins=(8, 3, 3), range=[(0, 1)] * 3)
    root = np.sqrt(counts.ravel())  # Hellinger: distances between roots suit histograms
    return (root / np.linalg.norm(root)).astype(np.float32)


def _gradients(picture: Pictures) -> NDArray[np.float32]:
    vector = hog(rgb2gray(picture), pixels_per_cell=(8, 8), cells_per_block=(2, 2))
    return (vector / (np.linalg.norm(vector) + 1e-9)).astype(np.float32)


def reconstruct(options: argparse.Namespace) -> Iterator[Row]:
    """PSNR of hidden pixels, three quarters of the patches hidden."""
    model = mae.load(options.weights / "reconstruct-starter.safetensors")
    pictures = held_out(options.data, mae.geometry(model)[0])
    scores = mae.evaluate(model, pictures)
    value = scores.pop("model")
    where = f"hidden pixels, {len(pictures)} pictures"
    yield Row("reconstruct", where, value, None, "dB", classical=scores)
    for name, other in scores.items():
        yield Row("reconstruct", f"more than {name}", value - other, RECONSTRUCT_GOAL, "dB")
