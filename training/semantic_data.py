"""Maps and masks for the semantic starters: true masks where there are any, else masks that the
Segment starter draws in the true boxes.

A pseudo mask is drawn from large boxes to small ones. What lies outside all boxes is background;
places where the mask is in doubt, boxes that are marked difficult, and boxes whose mask fills less
than a seventh of them are left out of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.sam.engines import Embedding, Engine, SamEngine
from training import detectors_data, detectors_maps, segment_eval, voc_masks
from training.common import log
from training.detectors_data import GRID, HEAD, REST, Array, Half
from training.detectors_maps import Basis
from training.voc_masks import IGNORED

SIDE = 4 * GRID  # of stored masks
DOUBT = 0.8  # logits nearer to 0 are left out
FILLED = 1 / 7  # share of its box that a mask must cover
DRAWN_AT = 224  # pixels of the pictures' longer side, to draw masks in half the time
Labels = NDArray[np.uint8]


def small(classes: Labels) -> Labels:
    """(SIDE, SIDE) of (H, W) class numbers."""
    picture = Image.fromarray(classes).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return np.asarray(picture)


@torch.inference_mode()
def box_logits(engine: Engine, rgb: images.RGB, boxes: Array) -> NDArray[np.float32]:
    """(N, SIDE, SIDE) logits of the Segment starter for boxes xyxy in 0..1."""
    size = (rgb.shape[0], rgb.shape[1])
    embedding = Embedding(engine.encode(rgb), size)
    corners = boxes.reshape(-1, 2, 2) * np.array([size[1], size[0]])
    framed = torch.as_tensor(engine.to_frame(corners, size)).float().reshape(-1, 4)
    low_res, _ = engine.decode(embedding, None, None, framed, None, False)
    shown = engine.on_picture(low_res, size)
    return torch.nn.functional.interpolate(shown, (SIDE, SIDE), mode="bilinear")[:, 0].numpy()


def paint(objects: Array, logits: NDArray[np.float32]) -> Labels:
    """(SIDE, SIDE) class numbers from 1, 0 and 255, of objects (N, 6) and their logits."""
    label = np.zeros((SIDE, SIDE), np.uint8)
    area = (objects[:, 3] - objects[:, 1]) * (objects[:, 4] - objects[:, 2])
    for i in np.argsort(-area):
        left, top = np.floor(objects[i, 1:3] * SIDE).astype(int)
        right, bottom = np.ceil(objects[i, 3:5] * SIDE).astype(int)
        box = np.zeros((SIDE, SIDE), bool)
        box[max(0, top) : bottom, max(0, left) : right] = True
        mask = box & (logits[i] > DOUBT)
        if objects[i, 5] or mask.sum() < FILLED * box.sum():
            label[box & (label == 0)] = IGNORED
            continue
        label[box & (np.abs(logits[i]) <= DOUBT)] = IGNORED
        label[mask] = int(objects[i, 0]) + 1
    return label


@dataclass
class Store:
    """Stored maps of pictures, and their (N, SIDE, SIDE) class numbers.

    `rows` are the pictures' places in `files`, pairs of a file and an index; `true` says which
    masks people drew.
    """

    files: list[Half]
    rows: list[tuple[int, int]]
    labels: Labels
    true: NDArray[np.bool_]

    def maps_of(self, i: int) -> Half:
        """(GRID, GRID, channels) of picture `i`."""
        file, row = self.rows[i]
        return np.array(self.files[file][row])


def pseudo_labels(
    data: Path, names: list[str], objects: list[Array], model: object, path: Path, count: int
) -> Labels:
    """Masks of the first `count` pictures, kept in `path`; continues where it stopped."""
    engine = SamEngine(model)
    shape = (len(names), SIDE, SIDE)
    done = path.with_suffix(".done")
    begin = int(done.read_text()) if done.exists() else 0
    labels = np.lib.format.open_memmap(path, "r+" if begin else "w+", np.uint8, shape)
    count = min(count, len(names))
    for i in range(begin, count):
        if len(objects[i]):
            rgb = images.read(voc_masks.picture(data, names[i]))
            labels[i] = paint(objects[i], box_logits(engine, rgb, objects[i][:, 1:5]))
        else:
            labels[i] = 0
        if i % 100 == 99 or i == count - 1:
            done.write_text(str(i + 1))
            log.info("masks: %d of %d", i + 1, count)
    return labels[:count]


def agreement(labels: Labels, truth: Labels, classes: int = 21) -> NDArray[np.float64]:
    """(classes, classes) counts of truth (rows) against labels; 255 in either does not count."""
    known = (labels != IGNORED) & (truth != IGNORED)
    pairs = truth[known].astype(int) * classes + labels[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(float)


def iou(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(classes,) intersection over union; NaN for classes that occur nowhere."""
    both = np.diag(counts)
    whole = counts.sum(0) + counts.sum(1) - both
    return np.where(whole > 0, both / np.maximum(whole, 1), np.nan)


def _more_maps(voc: Path, names: list[str], basis: Basis, path: Path) -> Half:
    """Maps of pictures that the detectors' recipe did not store, kept in `path`."""
    if not path.exists():
        found = np.zeros((len(names), GRID, GRID, HEAD + REST), np.float16)
        for i, name in enumerate(names):
            rgb = images.read(voc_masks.picture(voc, name))
            found[i] = detectors_maps.reduced(rgb, basis).half().numpy()
        np.save(path, found)
    stored: Half = np.load(path, mmap_mode="r")
    return stored


def load(
    voc: Path, detect: Path, folder: Path, segmenter: Path, count: int
) -> tuple[Store, Store, Basis]:
    """The pictures to train on, the held-out ones, and the basis of the stored maps.

    Args:
        detect: folder of the detectors' recipe; its maps are computed if they are missing.
        folder: where masks and further maps are kept.
        segmenter: the file of the Segment starter that draws the missing masks.
        count: how many pictures get such masks at most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (detect / "cache" / "A.json").exists():
        detectors_maps.store(voc, detect)
    basis: Basis = torch.load(detect / "basis.pt", weights_only=True)
    view, names, _ = detectors_data.load(detect / "cache", "A")
    drawn = set(voc_masks.names(voc))
    held = set(voc_masks.held_out_names(voc))
    more = sorted(drawn - set(names))
    files: list[Half] = [view.maps, _more_maps(voc, more, basis, folder / "more.npy")]
    places = {name: (0, i) for i, name in enumerate(names)}
    places |= {name: (1, i) for i, name in enumerate(more)}
    others = [i for i, name in enumerate(names) if name not in drawn]
    pseudo = pseudo_labels(
        voc,
        [names[i] for i in others],
        [view.objects[i] for i in others],
        segment_eval.load(segmenter, DRAWN_AT),
        folder / "masks.npy",
        count,
    )
    others = others[: len(pseudo)]

    def store(chosen: list[str], labels: list[Labels], true: list[bool]) -> Store:
        return Store(files, [places[n] for n in chosen], np.stack(labels), np.array(true))

    known = {name: small(voc_masks.read(voc, name)) for name in sorted(drawn)}
    mine = sorted(drawn - held)
    training = store(
        mine + [names[i] for i in others],
        [known[name] for name in mine] + list(pseudo),
        [True] * len(mine) + [False] * len(others),
    )
    kept = sorted(held)
    return training, store(kept, [known[n] for n in kept], [True] * len(kept)), basis
