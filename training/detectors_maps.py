"""Store the trunk's maps of VOC 2007's pictures.

The trunk stays as it is, so its maps of a picture are computed once, reduced and kept as float16:
1 MB of four would not fit in memory for 5,000 pictures. The 1,280 channels of the last map are
projected to 384 directions that carry most of its variance and of what its class layer reads.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from core import images
from core.nets import detector, trunk
from core.serving import runtime
from training.common import log
from training.detectors_data import CLASSES, GRID, HEAD, REST

Basis = dict[str, torch.Tensor]
VIEW = trunk.View(16 * GRID, None, dilated=True)
SAMPLE = 220  # pictures from which the directions are computed


def objects(path: Path) -> NDArray[np.float64]:
    """(n, 6) of class, xyxy in pixels, difficult."""
    rows = []
    for thing in ET.parse(path).getroot().iter("object"):
        name = thing.findtext("name", "")
        if name in CLASSES:
            box = [
                float(thing.findtext(f"bndbox/{k}", "0")) for k in ("xmin", "ymin", "xmax", "ymax")
            ]
            hard = thing.findtext("difficult", "0") == "1"
            rows.append([CLASSES.index(name), box[0] - 1, box[1] - 1, *box[2:], hard])
    return np.array(rows, float).reshape(-1, 6)


def tokens(rgb: images.RGB) -> torch.Tensor:
    """(GRID * GRID, 1552) of `core.nets.detector.pack`."""
    maps, _ = trunk.read(rgb, VIEW)
    return detector.pack(maps.head, maps.stride16, maps.stride8)[0].flatten(1).T


def basis(sample: torch.Tensor) -> Basis:
    """Mean and projection of the last map, mean and spread of the finer ones.

    The directions are the principal ones in the sum of two metrics: the map's own, and that of the
    trunk's class layer. They are scaled half way to equal variance.
    """
    with runtime.run("classify", trunk.KEY, trunk.build) as run:
        layer = run.lease.built.module.state_dict()["classifier.weight"].double()
    head, rest = sample[:, : detector.HEAD], sample[:, detector.HEAD :]
    mean = head.mean(0)
    covariance = (head - mean).T.double() @ (head - mean).double() / len(head)
    layer = layer - layer.mean(0)
    metric = layer.T @ layer
    metric = metric / (metric * covariance).sum() + torch.eye(len(mean)) / covariance.trace()
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp(min=1e-6)
    root, inverse = vectors * values.sqrt() @ vectors.T, vectors * values.rsqrt() @ vectors.T
    weights, directions = torch.linalg.eigh(root @ metric @ root)
    weights, directions = weights.flip(0)[:HEAD], directions.flip(1)[:, :HEAD]
    project = inverse @ directions * weights**0.25
    project = project / ((head - mean).double() @ project).std()
    spread = rest.std(0).clamp(min=1e-3)
    return {"mu": mean, "P": project.float(), "lm": rest.mean(0), "ls": spread}


def reduced(rgb: images.RGB, known: Basis) -> torch.Tensor:
    """(GRID, GRID, HEAD + REST) of a picture, as they are stored."""
    found = tokens(rgb)
    head = (found[:, : detector.HEAD] - known["mu"]) @ known["P"]
    rest = (found[:, detector.HEAD :] - known["lm"]) / known["ls"]
    return torch.cat([head, rest], 1).view(GRID, GRID, HEAD + REST)


def store(data: Path, runs: Path, read: Callable[[Path], images.RGB] = images.read) -> None:
    """Write `basis.pt`, `cache/A.npy` and `cache/A.json`; continues where it stopped."""
    paths = sorted((data / "JPEGImages").glob("[0-9]" * 6 + ".jpg"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))]
    cache = runs / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    if not (runs / "basis.pt").exists():
        torch.save(basis(torch.cat([tokens(read(p)) for p in paths[:SAMPLE]])), runs / "basis.pt")
    known: Basis = torch.load(runs / "basis.pt", weights_only=True)
    index = cache / "A.json"
    rows = json.loads(index.read_text()) if index.exists() else []
    mode, shape = ("r+" if rows else "w+"), (len(paths), GRID, GRID, HEAD + REST)
    out = np.lib.format.open_memmap(cache / "A.npy", mode, np.float16, shape)
    for i in range(len(rows), len(paths)):
        rgb = read(paths[i])
        out[i] = reduced(rgb, known).half().numpy()
        boxes = objects(data / "Annotations" / f"{paths[i].stem}.xml")
        boxes[:, 1:5] /= np.tile(rgb.shape[1::-1], 2)
        rows.append({"id": paths[i].stem, "objects": boxes.round(5).tolist()})
        if i % 100 == 99 or i == len(paths) - 1:
            index.write_text(json.dumps(rows))
            log.info("%d of %d", i + 1, len(paths))
