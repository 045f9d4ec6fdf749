"""Train the small promptable segmenter: `python -m training.segment --data DIR --minutes 60`.

`training.segment_data` describes the layout of `DIR`. Clicks and boxes are simulated as in Segment
Anything: a first click inside a mask (or its box, jittered), then corrective clicks where the
prediction is wrong, with the logits of the previous round as input. All four mask tokens learn: the
single mask from every prompt, the best of the other three from ambiguous prompts. The side of the
pictures grows from 160 to 320 px during training, which makes early steps three times cheaper.
The encoder begins with the trunk's weights, which are trained further at a low rate.
`--start FILE` starts a new run from a starter's weights instead of random ones. If that starter has
another encoder, only the prompt encoder and the mask decoder are taken, and stay as they are during
the first tenth of the run, in which the new encoder learns what they expect.

`--average FILE FILE` trains nothing and writes the mean of the weights of two runs of which one
began with the other's ("Model soups", Wortsman et al., 2022).

`--evaluate` scores the exported file on the held-out pictures, with baselines given the same
prompts, and prints the table of the model card.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from segment_anything.modeling import Sam
from torch import nn
from torch.nn import functional as F

from core.nets import sam as small_sam
from core.nets import trunk
from core.serving import runtime
from core.sources import state_dicts
from training import common, segment_data, segment_eval, segment_judge
from training.common import LoopConfig, Trainer, log
from training.muon import MuonTrainer
from training.segment_data import tight_box

KEY = "segment-starter"
# Thresholds of everything mode: a small network's predicted IoU and stability stay well below
# SAM's own thresholds (0.88, 0.95).
EVERYTHING = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.55}
JUDGED = 240  # training pictures on which the predicted IoU is refitted
NOT_MUON = ("embed", "token", "mask_downscaling", "iou_prediction_head")
MODEL: dict[str, Any] = {
    "img_size": 320,
    "dim": 128,
    "trunk": "tf_efficientnet_lite0",
    "heads": 4,
    "decoder_depth": 2,
    "mlp_dim": 256,
}
# Sides of a run that starts from a starter's weights.
GOING_ON = ((0.4, 224), (0.85, 288), (1.1, 320))


@dataclass(frozen=True)
class Config:
    """Sides of the pictures by share of the run, and prompts of a step."""

    sides: tuple[tuple[float, int], ...] = ((0.5, 160), (0.75, 224), (0.9, 288), (1.1, 320))
    batch: int = 8  # pictures
    prompts: int = 2  # for each picture
    max_rounds: int = 4  # the first prompt and up to three corrections
    boxes: float = 0.6  # share of steps that start from a box
    smallest: float = 0.006  # share of the picture that a mask must cover
    settling: float = 0.1  # share of the run in which a decoder that was taken over stays as it is


def embed(sam: Sam, pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) pixels 0..255 -> (B, dim, S/8, S/8); sets the prompt encoder to side S."""
    side = pixels.shape[-1]
    grid = side // small_sam.STRIDE
    sam.prompt_encoder.image_embedding_size = (grid, grid)
    sam.prompt_encoder.input_image_size = (side, side)
    x = (pixels - sam.pixel_mean) / sam.pixel_std
    return sam.image_encoder(x.contiguous(memory_format=torch.channels_last))


def decode(
    sam: Sam,
    embedding: torch.Tensor,
    owner: torch.Tensor,
    points: torch.Tensor,
    labels: torch.Tensor,
    boxes: torch.Tensor | None,
    low_res: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """All four masks of N prompts over B pictures.

    SAM's decoder takes one picture with many prompts. It only ever adds the embedding to the
    dense prompt, so adding each prompt's own picture beforehand serves many pictures at once.

    Args:
        embedding: (B, dim, g, g); owner: (N,) picture of each prompt.
        points, labels: (N, P, 2) xy pixels and (N, P) with 1, 0, or -1 for no point.
        boxes: (N, 4) xyxy or None; low_res: (N, 1, 4g, 4g) logits or None.

    Returns:
        (N, 4, 4g, 4g) logits, the single mask first, and (N, 4) predicted IoU.
    """
    clicks = (points, labels) if points.shape[1] else None
    sparse, dense = sam.prompt_encoder(points=clicks, boxes=boxes, masks=low_res)
    logits, iou = sam.mask_decoder.predict_masks(
        image_embeddings=torch.zeros_like(embedding[:1]),
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense + embedding[owner],
    )
    return logits.float(), iou.float()


def inner_click(region: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float]:
    """A point well inside `region` as (x, y) cells: the deepest one, or a random inner one."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    if rng.random() < 0.5:
        flat = int(depth.argmax())
    else:
        flat = int(rng.choice(np.flatnonzero(depth >= 0.4 * depth.max())))
    return float(flat % region.shape[1]), float(flat // region.shape[1])


def corrective_click(
    wrong: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float] | None:
    """A point in the largest connected part of `wrong`; None if nothing is wrong."""
    parts, count = ndimage.label(wrong)
    if count == 0:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    return inner_click(parts == 1 + int(sizes.argmax()), rng)


@dataclass
class Batch:
    """`pixels` (B, 3, S, S); `targets` (N, 1, S/2, S/2) in 0..1; `owner` (N,); `boxes` (N, 4)."""

    pixels: torch.Tensor
    targets: torch.Tensor
    owner: torch.Tensor
    boxes: torch.Tensor


def make_batch(
    mixer: segment_data.Mixer, config: Config, side: int, rng: np.random.Generator
) -> Batch:
    """Augmented pictures, each with `prompts` of its masks (repeated where it has fewer)."""
    images: list[segment_data.Picture] = []
    masks: list[NDArray[np.bool_]] = []
    owner: list[int] = []
    while len(images) < config.batch:
        image, label = mixer.draw(rng, side)
        areas = np.bincount(label.ravel())
        areas[0] = 0
        fit = np.flatnonzero(areas >= config.smallest * side * side)
        if len(fit) == 0:
            continue
        fit = np.resize(rng.permutation(fit), config.prompts)
        owner += [len(images)] * len(fit)
        masks += [label == value for value in fit]
        images.append(image)
    full = torch.from_numpy(np.stack(masks)).float()[:, None]
    boxes = [_jittered_box(mask, rng) for mask in masks]
    return Batch(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float(),
        F.avg_pool2d(full, 2),
        torch.tensor(owner),
        torch.tensor(boxes, dtype=torch.float32),
    )


def _jittered_box(mask: NDArray[np.bool_], rng: np.random.Generator) -> list[float]:
    """Move each side by up to a tenth of the box, some boxes more than others.

    People draw boxes loosely, programs exactly; only exact ones show where the mask ends.
    """
    box = tight_box(mask)
    spread = 0.1 * rng.random() * np.tile(np.maximum(box[2:] - box[:2], 1), 2)
    moved = box + np.clip(rng.normal(0, 0.5, 4), -1, 1) * spread
    return np.clip(moved, 0, max(mask.shape) - 1).tolist()


def mask_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus dice of each mask. (N, M, h, w), (N, 1, h, w) -> (N, M)."""
    targets = targets.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((2, 3))
    shown = logits.sigmoid()
    overlap = (shown * targets).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (shown.sum((2, 3)) + targets.sum((2, 3)) + 1)
    return 2 * entropy + dice


def true_iou(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """IoU of logits > 0 with targets > 0.5. (N, M, h, w), (N, 1, h, w) -> (N, M)."""
    shown, wanted = logits > 0, targets > 0.5
    both = (shown & wanted).sum((2, 3)).float()
    return both / (shown | wanted).sum((2, 3)).clamp(min=1)


def round_loss(logits: torch.Tensor, iou: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Loss of one round: the single mask, the best of the three, and the four predicted IoUs."""
    losses = mask_loss(logits, targets)  # (N, 4)
    three = losses[:, 1:]
    # A little of the mean keeps all three tokens alive before they specialise.
    ambiguous = 0.95 * three.min(1).values + 0.05 * three.mean(1)
    judged = F.mse_loss(iou, true_iou(logits, targets))
    return (losses[:, 0] + ambiguous).mean() + 4 * judged


def _add_clicks(
    points: torch.Tensor,
    labels: torch.Tensor,
    shown: torch.Tensor | None,
    targets: torch.Tensor,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One more click for each prompt; cells of the (N, 1, h, w) masks are 2 pixels wide."""
    wanted = (targets[:, 0] > 0.5).numpy()
    new, kinds = [], []
    for i, mask in enumerate(wanted):
        wrong = mask if shown is None else mask ^ (shown[i, 0] > 0).numpy()
        place = corrective_click(wrong, rng) if shown is not None or mask.any() else None
        new.append((2 * place[0] + 0.5, 2 * place[1] + 0.5) if place else (0.0, 0.0))
        kinds.append(float(mask[int(place[1]), int(place[0])]) if place else -1.0)
    return (
        torch.cat([points, torch.tensor(new)[:, None]], 1),
        torch.cat([labels, torch.tensor(kinds)[:, None]], 1),
    )


def step_loss(sam: Sam, batch: Batch, config: Config, rng: np.random.Generator) -> torch.Tensor:
    """Loss over the rounds of one step."""
    embedding = embed(sam, batch.pixels)
    n = len(batch.owner)
    points, labels = torch.zeros(n, 0, 2), torch.zeros(n, 0)
    boxes = batch.boxes if rng.random() < config.boxes else None
    shown: torch.Tensor | None = None
    losses = []
    for turn in range(int(rng.integers(1, config.max_rounds + 1))):
        if turn or boxes is None:
            points, labels = _add_clicks(points, labels, shown, batch.targets, rng)
        logits, iou = decode(sam, embedding, batch.owner, points, labels, boxes, shown)
        losses.append(round_loss(logits, iou, batch.targets))
        best = iou[:, 1:].argmax(1) + 1 if rng.random() < 0.5 else torch.zeros(n, dtype=torch.long)
        shown = logits.detach()[torch.arange(n), best][:, None].clamp(-32, 32)
    return torch.stack(losses).mean()


def trunk_weights() -> state_dicts.StateDict:
    """The weights of EfficientNet-Lite0 without its class layer."""
    with runtime.run("classify", trunk.KEY, trunk.build) as run:
        state = run.lease.built.module.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("classifier.")}


def take_over(model: Sam, start: Path) -> bool:
    """Load what fits of the starter `start`; whether that was all."""
    state, own = state_dicts.read(start), model.state_dict()
    whole = state.keys() == own.keys()
    if not whole:
        parts = ("prompt_encoder.", "mask_decoder.")
        state = own | {name: value for name, value in state.items() if name.startswith(parts)}
    model.load_state_dict(state)
    return whole


def train(data: Path, loop: LoopConfig, folder: Path, start: Path | None = None) -> Trainer:
    """Train from `folder`'s last state, if any, or from `start`, until the budget is spent."""
    config = Config()
    torch.manual_seed(loop.seed)
    mixer = segment_data.Mixer(segment_data.load_training(data))
    model = small_sam.build(**MODEL)
    model.image_encoder.backbone.load_state_dict(trunk_weights())
    whole = start is not None and take_over(model, start)
    if whole:
        config = replace(config, sides=GOING_ON)
    trainer = MuonTrainer(model, loop, folder, NOT_MUON, learned="image_encoder.backbone.")

    def loss_of(model: nn.Module, rng: np.random.Generator) -> torch.Tensor:
        side = next(side for end, side in config.sides if trainer.progress < end)
        assert isinstance(model, Sam)
        learning = start is None or whole or trainer.progress >= config.settling
        model.mask_decoder.requires_grad_(learning)
        model.prompt_encoder.requires_grad_(learning)
        return step_loss(model, make_batch(mixer, config, side, rng), config, rng)

    trainer.fit(loss_of)
    return trainer


def export(model: Sam, data: Path, path: Path) -> None:
    """Write a trained model as a starter file, with the predicted IoU refitted."""
    samples = [s for group in segment_data.load_training(data).values() for s in group]
    chosen = np.random.default_rng(0).permutation(len(samples))[:JUDGED]
    segment_judge.fit(model, [samples[i] for i in chosen])
    save(model.state_dict(), path)


def save(state: state_dicts.StateDict, path: Path) -> None:
    """Write weights as a starter file."""
    header = {"sam": MODEL, "everything": EVERYTHING}
    state_dicts.save_starter(path, state, "segment", header)


def main() -> None:
    """Command line."""
    parser = common.arguments(__doc__ or "", minutes=60)
    parser.add_argument("--start", type=Path, help="starter file to start from")
    parser.add_argument("--average", type=Path, nargs=2, metavar="FILE", help="starter files")
    options = common.read_options(parser)
    if options.evaluate:
        segment_eval.report(common.measured_file(options, KEY), options.data)
        return
    path = common.destination(options, KEY)
    if options.average:
        save(common.mean_weights(*options.average), path)
        common.deliver(path)
        return
    loop = common.budgeted(
        LoopConfig(lr=4e-3, weight_decay=0.02, warmup_steps=50, ema=0.995), options
    )
    log.info("segment: %s", asdict(loop))
    trained = train(options.data, loop, options.runs / "segment", options.start)
    assert isinstance(trained.ema, Sam)
    export(trained.ema, options.data, path)
    common.deliver(path)


if __name__ == "__main__":
    main()
