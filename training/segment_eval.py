"""Score a segment starter on held-out pictures, with baselines that get the same prompts.

ECSSD: 200 pictures, one object each. BSDS500 val: up to five human segments of a picture, those of
the first annotator that cover at least 1 %. The first click is the deepest point of the mask; the
next ones are deepest in the largest wrong region, with the logits of the previous round as input.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.stats import spearmanr
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from skimage.color import rgb2lab
from skimage.segmentation import flood, random_walker

from core.imaging import draw
from core.imaging.metrics import mask_iou
from core.nets import sam as small_sam
from core.sources import state_dicts
from training import pages, segment_data
from training.common import log
from training.segment_data import tight_box

Mask = NDArray[np.bool_]
BASELINE_PICTURES = 60
HELD_OUT_PAGE = Path("runs/segment/held-out.jpg")
QUALITY = 88  # of the pages
SEGMENTS_PER_PICTURE = 5


def load(path: Path, side: int | None = None) -> Sam:
    """The model of a starter file; for pictures of `side` pixels, the file's own if left out."""
    _, config = state_dicts.read_header(path)
    sizes = {} if side is None else {"img_size": side}
    with torch.device("meta"):
        model = small_sam.build(**config["sam"] | sizes)
    loaded = state_dicts.assign(model, state_dicts.read(path), path.name)
    assert isinstance(loaded, Sam)
    return loaded


def deepest(region: Mask) -> tuple[int, int]:
    """(x, y) of the point farthest from the region's edge."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def largest_part(region: Mask) -> Mask:
    """The largest connected part of a region that is not empty."""
    parts, _ = ndimage.label(region)
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())


@dataclass(frozen=True)
class Click:
    """IoU of the mask with the best score, the best mask, the single mask; (score, IoU) of all."""

    score: float
    best: float
    single: float
    pairs: list[tuple[float, float]]


def one_click(predictor: SamPredictor, mask: Mask) -> Click:
    """IoU after one click: by score, best of three, and of the single mask."""
    point = np.array([deepest(mask)], float)
    masks, scores, _ = predictor.predict(point, np.ones(1), multimask_output=True)
    single, _, _ = predictor.predict(point, np.ones(1), multimask_output=False)
    true = [mask_iou(m, mask) for m in masks]
    pairs = list(zip(scores.tolist(), true, strict=True))
    return Click(true[int(scores.argmax())], max(true), mask_iou(single[0], mask), pairs)


def many_clicks(predictor: SamPredictor, mask: Mask, count: int) -> float:
    """IoU after `count` clicks; from the second on, the single mask, as in Segment Anything."""
    points, labels = [deepest(mask)], [1]
    masks, scores, low = predictor.predict(np.array(points, float), np.array(labels))
    shown, fed = masks[int(scores.argmax())], low[int(scores.argmax())][None]
    for _ in range(count - 1):
        wrong = shown ^ mask
        if not wrong.any():
            break
        x, y = deepest(largest_part(wrong))
        points.append((x, y))
        labels.append(int(mask[y, x]))
        masks, _, fed = predictor.predict(
            np.array(points, float), np.array(labels), mask_input=fed, multimask_output=False
        )
        shown = masks[0]
    return mask_iou(shown, mask)


def segments(sample: segment_data.Sample, seed: int) -> list[Mask]:
    """Held-out masks of a BSDS picture."""
    label = sample.maps[0]
    values = [v for v in np.unique(label) if (label == v).mean() >= 0.01]
    chosen = np.random.default_rng(seed).permutation(values)[:SEGMENTS_PER_PICTURE]
    return [label == v for v in chosen]


def walker(image: NDArray[np.uint8], mask: Mask, box: bool) -> float:
    """Random walker, seeded by a disc at the click and the border, or by the box, at 128 px."""
    scale = 128 / max(mask.shape)
    size = (round(mask.shape[1] * scale), round(mask.shape[0] * scale))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    truth = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    if not truth.any():
        return 0.0
    seeds = np.zeros(truth.shape, int)
    if box:
        left, top, right, bottom = tight_box(truth).astype(int)
        seeds[:] = 2
        seeds[top : bottom + 1, left : right + 1] = 0
        x, y = (left + right) // 2, (top + bottom) // 2
    else:
        x, y = deepest(truth)
        seeds[0], seeds[-1], seeds[:, 0], seeds[:, -1] = 2, 2, 2, 2
    seeds[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 1
    if not (seeds == 2).any():
        return mask_iou(np.ones_like(truth), truth)
    found = random_walker(small, seeds, beta=90, mode="cg_j", channel_axis=-1)
    return mask_iou(found == 1, truth)


def flooded(image: NDArray[np.uint8], mask: Mask, tolerance: float) -> float:
    """Flood fill from the click by distance in Lab."""
    x, y = deepest(mask)
    lab = rgb2lab(ndimage.gaussian_filter(image, (1, 1, 0)))
    return mask_iou(
        flood(np.linalg.norm(lab - lab[y, x], axis=2), (y, x), tolerance=tolerance), mask
    )


def score(model: Sam, root: Path, limit: int | None = None) -> dict[str, float]:
    """Every figure of the model card."""
    predictor = SamPredictor(model)
    found: dict[str, list[float]] = {}
    pairs: list[tuple[float, float]] = []
    ecssd, bsds = segment_data.load_held_out(root)

    def note(**figures: float) -> None:
        for name, value in figures.items():
            found.setdefault(name, []).append(value)

    for sample in ecssd[:limit]:
        mask = sample.maps[0] > 0
        predictor.set_image(sample.image)
        click = one_click(predictor, mask)
        pairs += click.pairs
        note(ecssd_click=click.score, ecssd_click_best=click.best, ecssd_click_single=click.single)
        boxed, _, _ = predictor.predict(box=tight_box(mask), multimask_output=False)
        filled = np.zeros_like(mask)
        left, top, right, bottom = tight_box(mask).astype(int)
        filled[top : bottom + 1, left : right + 1] = True
        note(ecssd_clicks_5=many_clicks(predictor, mask, 5), ecssd_box=mask_iou(boxed[0], mask))
        note(box_filled=mask_iou(filled, mask))
    for seed, sample in enumerate(bsds[:limit]):
        predictor.set_image(sample.image)
        for mask in segments(sample, seed):
            click = one_click(predictor, mask)
            pairs += click.pairs
            note(bsds_click=click.score, bsds_click_best=click.best, bsds_click_single=click.single)
    figures = {name: float(np.mean(values)) for name, values in found.items()}
    figures["spearman"] = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    return figures


def baseline_pictures(
    root: Path, limit: int | None
) -> tuple[list[tuple[NDArray[np.uint8], Mask]], list[tuple[NDArray[np.uint8], Mask]]]:
    """The first `limit` pictures of ECSSD and of BSDS (None: all), each with one mask."""
    ecssd, bsds = segment_data.load_held_out(root)
    first = [(s.image, s.maps[0] > 0) for s in ecssd[:limit]]
    return first, [(s.image, segments(s, seed)[0]) for seed, s in enumerate(bsds[:limit])]


def baselines(root: Path, limit: int) -> dict[str, float]:
    """Random walker and flood fill with the same prompts, on the first `limit` pictures."""
    first, human = baseline_pictures(root, limit)
    figures = {
        "ecssd_click_walker": [walker(image, mask, box=False) for image, mask in first],
        "ecssd_box_walker": [walker(image, mask, box=True) for image, mask in first],
        "bsds_click_walker": [walker(image, mask, box=False) for image, mask in human],
    }
    for name, pictures in (("ecssd", first), ("bsds", human)):
        for tolerance in (10, 20, 30):
            values = [flooded(image, mask, tolerance) for image, mask in pictures]
            figures[f"{name}_click_flood_{tolerance}"] = values
    return {name: float(np.mean(values)) for name, values in figures.items()}


def seconds(model: Sam) -> dict[str, float]:
    """CPU seconds to encode a picture and to answer a click, medians of 9."""
    predictor = SamPredictor(model)
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    encode, click = [], []
    for _ in range(9):
        start = time.process_time()
        predictor.set_image(picture)
        encode.append(time.process_time() - start)
        start = time.process_time()
        predictor.predict(np.array([[99.0, 99.0]]), np.ones(1))
        click.append(time.process_time() - start)
    return {"encode_seconds": float(np.median(encode)), "click_seconds": float(np.median(click))}


#: example picture, its clicks as (x, y, label) in shares of width and height
CLICKS = {
    "astronaut.jpg": [(0.43, 0.25, 1)],
    "chelsea.jpg": [(0.5, 0.45, 1)],
    "coffee.jpg": [(0.5, 0.4, 1)],
    "coins.jpg": [(0.87, 0.14, 1)],
    "flower.jpg": [(0.5, 0.5, 1)],
    "hopper.jpg": [(0.5, 0.4, 1)],
    "rocket.jpg": [(0.5, 0.62, 1)],
    "temple.jpg": [(0.33, 0.35, 1)],
}


def tile(
    predictor: SamPredictor, image: NDArray[np.uint8], clicks: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """A tile of a page: the mask with the best score for (x, y, label) clicks, in shares."""
    picture = Image.fromarray(image)
    picture.thumbnail((pages.SIDE, pages.SIDE))
    small = np.asarray(picture)
    places = clicks[:, :2] * picture.size
    predictor.set_image(small)
    masks, scores, _ = predictor.predict(places, clicks[:, 2])
    shown = draw.masks(small, masks[int(scores.argmax())][None])
    for x, y in places.astype(int):
        shown[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = (255, 255, 255)
    return pages.tile(shown)


def page(model: Sam, examples: Path, out: Path) -> None:
    """One click on each example picture, as one picture."""
    predictor = SamPredictor(model)
    images = [np.asarray(Image.open(examples / name).convert("RGB")) for name in CLICKS]
    pairs = zip(images, CLICKS.values(), strict=True)
    tiles = [tile(predictor, image, np.array(clicks)) for image, clicks in pairs]
    pages.save(tiles, 4, out, QUALITY)


def held_out_page(model: Sam, root: Path, out: Path, seed: int = 0) -> None:
    """One click on 16 held-out pictures of ECSSD and 8 of BSDS500, drawn by `seed`."""
    predictor, tiles = SamPredictor(model), []
    rng = np.random.default_rng(seed)
    for pictures, count in zip(baseline_pictures(root, None), (16, 8), strict=True):
        for index in rng.permutation(len(pictures))[:count]:
            image, mask = pictures[index]
            place = np.array(deepest(mask)) / mask.shape[::-1]
            tiles.append(tile(predictor, image, np.array([[*place, 1.0]])))
    pages.save(tiles, 6, out, QUALITY)


def report(path: Path, root: Path) -> None:
    """Log the figures of the starter at `path`; write a page of examples beside it and one of
    held-out pictures, which is not for the repository, into `runs`."""
    model = load(path)
    page(model, Path("examples"), path.with_suffix(".jpg"))
    held_out_page(model, root, HELD_OUT_PAGE)
    figures = score(model, root) | baselines(root, BASELINE_PICTURES) | seconds(model)
    for name, value in figures.items():
        log.info("%-24s %.3f", name, value)
