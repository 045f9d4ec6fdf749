"""Train both semantic starters: `python -m training.semantic --data DIR --minutes 30`.

The trunk stays as it is: `training.detectors_maps` stores its maps of `DIR/voc` once, for the
detectors and for this recipe. Only some pictures of VOC have masks; for the others the Segment
starter draws them in the true boxes (`training.semantic_data`). An FCN and a U-Net learn on the
same batches.

`--evaluate` scores the exported files on the held-out pictures, from the pictures themselves.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.nets import semantic
from training import (
    common,
    detectors_data,
    semantic_data,
    semantic_export,
    voc_masks,
)
from training.common import LoopConfig, log
from training.detectors_maps import Basis
from training.muon import MuonTrainer
from training.semantic_data import Store

CLASSES = 1 + len(detectors_data.CLASSES)
WIDTHS = {"fcn": 192, "unet": 128}
NOT_MUON = ("score",)
BATCH = 16
MEASURE_EVERY = 100  # steps
TRUE_SHARE = 0.15  # of the pictures of a batch, those with masks that people drew


def networks() -> nn.ModuleDict:
    """Both networks on stored maps."""
    return nn.ModuleDict(
        {
            kind: network(CLASSES, WIDTHS[kind], detectors_data.HEAD)
            for kind, network in semantic.NETWORKS.items()
        }
    )


def unpacked(maps: torch.Tensor, basis: Basis) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Stored maps (B, GRID, GRID, c) as (B, HEAD, h, w), (B, 112, h, w) and (B, 40, 2h, 2w)."""
    head, rest = maps[..., : detectors_data.HEAD], maps[..., detectors_data.HEAD :]
    rest = (rest * basis["ls"] + basis["lm"]).permute(0, 3, 1, 2)
    stride16, stride8 = rest[:, :-160], F.pixel_shuffle(rest[:, -160:], 2)
    return head.permute(0, 3, 1, 2).contiguous(), stride16.contiguous(), stride8.contiguous()


def mirrored(
    maps: detectors_data.Half, label: semantic_data.Labels
) -> tuple[detectors_data.Half, semantic_data.Labels]:
    """Both seen in a mirror; `detectors_data.flipped` says why all moves by one cell."""
    empty = np.zeros((0, 6), np.float32)
    turned = np.full_like(label, voc_masks.IGNORED)
    turned[:, 4:] = label[:, ::-1][:, :-4]
    return detectors_data.flipped(maps, empty)[0], turned


def draw(
    store: Store, basis: Basis, rng: np.random.Generator
) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Maps of a batch, and (B, SIDE, SIDE) classes."""
    picked = []
    groups = [np.flatnonzero(store.true), np.flatnonzero(~store.true)]
    for _ in range(BATCH):
        group = groups[0] if rng.random() < TRUE_SHARE or not len(groups[1]) else groups[1]
        i = int(rng.choice(group))
        pair = store.maps_of(i), store.labels[i]
        picked.append(mirrored(*pair) if rng.random() < 0.5 else pair)
    maps = torch.from_numpy(np.stack([m for m, _ in picked])).float()
    return unpacked(maps, basis), torch.from_numpy(np.stack([label for _, label in picked])).long()


def loss_of_logits(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus dice of the classes that are there.

    (B, C, h, w) logits; (B, H, W) classes, 255 where they are not known.
    """
    logits = F.interpolate(logits, target.shape[-2:], mode="bilinear", align_corners=False)
    entropy = F.cross_entropy(logits, target, ignore_index=voc_masks.IGNORED)
    known = (target != voc_masks.IGNORED)[:, None]
    wanted = F.one_hot(target.where(known[:, 0], torch.zeros_like(target)), logits.shape[1])
    wanted = wanted.permute(0, 3, 1, 2) * known
    shown = logits.softmax(1) * known
    overlap = (shown * wanted).sum((0, 2, 3))
    there = wanted.sum((0, 2, 3))
    dice = 1 - (2 * overlap + 1) / (shown.sum((0, 2, 3)) + there + 1)
    return entropy + dice[there > 0].mean()


@torch.inference_mode()
def measured(model: nn.ModuleDict, store: Store, basis: Basis) -> dict[str, float]:
    """Mean IoU of both on stored maps and masks."""
    counts = {kind: np.zeros((CLASSES, CLASSES)) for kind in model}
    for i in range(len(store.labels)):
        maps = unpacked(torch.from_numpy(store.maps_of(i)[None]).float(), basis)
        truth = store.labels[i]
        for kind, network in model.items():
            logits = F.interpolate(network(*maps), truth.shape, mode="bilinear")
            found = logits[0].argmax(0).numpy().astype(np.uint8)
            counts[kind] += semantic_data.agreement(found, truth, CLASSES)
    return {kind: float(np.nanmean(semantic_data.iou(c))) for kind, c in counts.items()}


def train(options: argparse.Namespace, folder: Path) -> nn.ModuleDict:
    """Train both networks, or go on, until the budget is spent; the averaged weights."""
    training, held, basis = semantic_data.load(
        options.data / "voc", options.runs / "detect", folder, options.segmenter, options.pictures
    )
    loop = common.budgeted(LoopConfig(lr=4e-3, weight_decay=0.02, ema=0.995), options)
    torch.manual_seed(loop.seed)
    trainer = MuonTrainer(networks(), loop, folder, NOT_MUON)

    def loss_of(model: nn.Module, rng: np.random.Generator) -> torch.Tensor:
        assert isinstance(model, nn.ModuleDict)
        maps, target = draw(training, basis, rng)
        return torch.stack([loss_of_logits(net(*maps), target) for net in model.values()]).sum()

    for until in itertools.count(MEASURE_EVERY, MEASURE_EVERY):
        trainer.fit(loss_of, until_step=until)
        averaged = trainer.ema
        assert isinstance(averaged, nn.ModuleDict)
        line = {"step": trainer.step, "minutes": round(trainer.seconds / 60, 2)}
        line |= measured(averaged, held, basis)
        log.info("%s", line)
        with (folder / "measured.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        if trainer.progress >= 1:
            return averaged
    raise AssertionError  # the loop has no end


def main() -> None:
    """Command line."""
    parser = common.arguments(__doc__ or "", minutes=30)
    parser.add_argument(
        "--segmenter",
        type=Path,
        default=common.WEIGHTS / "segment-starter.safetensors",
        help="Segment starter that draws the missing masks",
    )
    parser.add_argument(
        "--pictures", type=int, default=10_000, help="how many of them at most get such masks"
    )
    options = common.read_options(parser)
    masks = options.data / "voc" / "SegmentationClass"
    if not any(masks.glob("*.png")):
        raise SystemExit(f"No masks in {masks}: see training/DATA.md.")
    paths = {kind: common.measured_file(options, key) for kind, key in semantic_export.KEYS.items()}
    if not options.evaluate:
        folder = options.runs / "semantic"
        state = train(options, folder).state_dict()
        basis = torch.load(options.runs / "detect" / "basis.pt", weights_only=True)
        paths = {
            kind: common.destination(options, key) for kind, key in semantic_export.KEYS.items()
        }
        semantic_export.export(state, basis, WIDTHS, paths)
        for path in paths.values():
            common.deliver(path)
    for path in paths.values():
        log.info("%s: %s", path.stem, semantic_export.score(path, options.data / "voc"))


if __name__ == "__main__":
    main()
