"""Rows of `benchmarks.starters` for the classify and reconstruct starters."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from benchmarks import class_attention
from benchmarks.starter_rows import Row
from training import classify as recipe
from training import reconstruct as mae
from training.classify_features import Teacher
from training.recognition_data import held_out

SAMPLE_GOALS = {"top-1": 85.0, "top-5": 97.0, "agreement": 92.0}  # %
RECONSTRUCT_GOAL = 1.0  # dB more than smooth inpainting, and than the mean colour


def classify(options: argparse.Namespace) -> Iterator[Row]:
    """Answers beside those of the trunk in the same run, and where the class attention lies.

    The sample photographs are probably training pictures of ImageNet, and of the trunk: they tell
    whether any class is lost, not how accurate either is.
    """
    path = options.weights / f"{recipe.KEY}.safetensors"
    model = recipe.load(path, Teacher().classifier)
    scores = recipe.evaluate(model, options.data)
    for where, goals in (("samples", SAMPLE_GOALS), ("held out", {}), ("Caltech-101", {})):
        for measure in ("top-1", "top-5"):
            trunk = scores[f"{where}, {measure}, trunk"]
            name = f"{measure}, {where} (the trunk: {trunk:.1f} %)"
            yield Row("classify", name, scores[f"{where}, {measure}"], goals.get(measure), "%")
        name = f"agreement with the trunk, {where}"
        yield Row("classify", name, scores[f"{where}, agreement"], goals.get("agreement"), "%")
    shares = class_attention.shares(model, options.data)
    name = "class attention inside ECSSD's masks"
    area = {"share of the area": shares["area"]}
    yield Row("classify", name, shares["class attention"], None, "%", classical=area)
    name = "class activation map of the trunk inside ECSSD's masks"
    yield Row("classify", name, shares["class activation map"], None, "%")
    above = shares["pictures above chance"]
    yield Row("classify", "pictures whose class attention is above chance", above, None, "%")


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
