"""AP50 of an exported detector on the held-out pictures of VOC 2007, from the pictures themselves.

All pictures of the folder belong to VOC 2007's test set; a ninth of them was never trained on. The
figures are therefore no results on that test set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from core import detect, images
from core.nets import detector
from core.sources import state_dicts
from training import detectors_eval
from training.detectors_data import CLASSES, GRID, held_out
from training.detectors_maps import objects, tokens


def load(file: Path) -> tuple[torch.nn.Module, bool]:
    """The network of a starter's file, and whether it needs non-maximum suppression."""
    settings = state_dicts.starter_config(file, "detect") or {}
    with torch.device("meta"):
        net = detector.from_settings(settings)
    return state_dicts.assign(net, state_dicts.read(file), file.name), settings["kind"] == "cnn"


def ap50(file: Path, data: Path) -> tuple[float, int]:
    """The mean over the classes, and the number of pictures.

    Raises:
        FileNotFoundError: none is in `data`.
    """
    net, nms = load(file)
    answers = detect.postprocess_nms if nms else detect.postprocess_sigmoid
    truths, found = [], []
    for path in sorted((data / "JPEGImages").glob("[0-9]" * 6 + ".jpg")):
        if not held_out(path.stem):
            continue
        rgb = images.read(path)
        size = (rgb.shape[1], rgb.shape[0])
        maps = tokens(rgb).T.reshape(1, -1, GRID, GRID)
        with torch.inference_mode():
            logits, boxes = detector.answers(net, maps)
        found.append(answers(logits[0].numpy(), boxes[0].numpy(), 0.01, size))
        truths.append(objects(data / "Annotations" / f"{path.stem}.xml").astype(np.float32))
    if not truths:
        raise FileNotFoundError(f"no held-out pictures in {data / 'JPEGImages'}")
    return detectors_eval.mean_ap(truths, found, len(CLASSES))[0], len(truths)
