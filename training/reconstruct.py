"""Reconstruct: a small masked autoencoder (transformers' ViTMAE) trained on photographs.

He et al., "Masked Autoencoders Are Scalable Vision Learners", 2022: three quarters of the patches
are hidden, the encoder sees the rest, and the decoder predicts the hidden pixels; the loss is the
mean squared error on those. `training.recognition_data` describes the data folder.

    python -m training.reconstruct --data DIR --minutes 30
    python -m training.reconstruct --data DIR --evaluate
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.restoration import inpaint_biharmonic
from torch import nn
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from core.sources import state_dicts
from training import common
from training.common import LoopConfig
from training.muon import MuonTrainer
from training.recognition_common import to_batch
from training.recognition_data import Pictures, crop_to, epoch_order, held_out, photographs

log = logging.getLogger("training")

KEY = "reconstruct-starter"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOT_MUON = ("token", "decoder_pred")
STORED = 144  # px of the pictures before cropping


@dataclass(frozen=True)
class Config:
    """Everything that shapes a run."""

    side: int = 128
    patch: int = 16
    dim: int = 192
    depth: int = 4
    decoder_dim: int = 192
    decoder_depth: int = 3
    heads: int = 3
    mlp_ratio: int = 2
    batch: int = 32  # small: in a few CPU minutes the number of steps matters
    scale: tuple[float, float] = (0.35, 1.0)  # area of the crop
    ratio: float = 1.6  # of its sides
    ratios: tuple[float, float] = (0.4, 0.8)  # hidden share at first: less is easier
    settled: float = 0.5  # share of the budget after which three quarters are hidden
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            minutes=30.0, lr=0.005, weight_decay=0.01, warmup_steps=100, final_lr=0.0, ema=0.998
        )
    )

    def vit_mae(self) -> ViTMAEConfig:
        """The library's configuration of the model."""
        return ViTMAEConfig(
            image_size=self.side,
            patch_size=self.patch,
            hidden_size=self.dim,
            num_hidden_layers=self.depth,
            num_attention_heads=self.heads,
            intermediate_size=self.dim * self.mlp_ratio,
            decoder_hidden_size=self.decoder_dim,
            decoder_num_hidden_layers=self.decoder_depth,
            decoder_num_attention_heads=self.heads,
            decoder_intermediate_size=self.decoder_dim * self.mlp_ratio,
            mask_ratio=0.75,
            norm_pix_loss=False,
        )


def loss_of(
    pictures: Pictures,
    config: Config,
    step: int,
    progress: float,
    model: ViTMAEForPreTraining,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Mean squared error on hidden patches, in normalised units."""
    chosen = np.sort(epoch_order(len(pictures), config.batch, step, config.loop.seed))
    x = to_batch(pictures[chosen], MEAN, STD)
    x = crop_to(x, config.side, config.scale, config.ratio, rng).contiguous()
    early = progress < config.settled
    model.config.mask_ratio = float(rng.uniform(*config.ratios)) if early else 0.75
    return model(pixel_values=x).loss


def with_positions(model: ViTMAEForPreTraining) -> ViTMAEForPreTraining:
    """Write the fixed sine and cosine position embeddings into a model built from its config.

    transformers 5.23 leaves them zero in a model built from its config alone: it cannot distinguish
    positions and learns only the mean colour.
    """
    embeddings = model.vit.embeddings
    projection: Any = embeddings.patch_embeddings.projection
    projection._is_hf_initialized = False  # or the next line returns
    embeddings.initialize_weights()
    model.decoder.initialize_weights(embeddings.patch_embeddings.num_patches)
    return model


def trainer_of(config: Config, folder: Path) -> MuonTrainer:
    """A new trainer, or one resumed from `folder`."""
    torch.manual_seed(config.loop.seed)
    model = with_positions(ViTMAEForPreTraining(config.vit_mae()))
    model.set_attn_implementation("eager")  # the fused one's backward pass is slower on a CPU
    return MuonTrainer(model, config.loop, folder, NOT_MUON)


def train(
    trainer: MuonTrainer, pictures: Pictures, config: Config, until_step: int | None = None
) -> None:
    """Run the loop; the pictures of a step follow from its number."""

    def loss(model: nn.Module, rng: np.random.Generator) -> torch.Tensor:
        mae = cast(ViTMAEForPreTraining, model)
        return loss_of(pictures, config, trainer.step, trainer.progress, mae, rng)

    trainer.fit(loss, until_step)


def export(model: nn.Module, config: Config, path: Path) -> Path:
    """Write the starter: the plain state dict, and the library's configuration in the header."""
    header = {"vit_mae": config.vit_mae().to_dict(), "mean": list(MEAN), "std": list(STD)}
    state_dicts.save_starter(path, model.state_dict(), "reconstruct", header)
    return path


def load(path: Path) -> ViTMAEForPreTraining:
    """The model of a starter file, using only that file; refuses missing or extra keys."""
    _, header = state_dicts.read_header(path)
    config = ViTMAEConfig.from_dict(header["vit_mae"])
    state = state_dicts.read(path)
    model = state_dicts.from_pretrained(ViTMAEForPreTraining, config, state, path.name)
    return cast(ViTMAEForPreTraining, model)


def geometry(model: ViTMAEForPreTraining) -> tuple[int, int]:
    """Sides of the picture and of a patch in px."""
    return cast(int, model.config.image_size), cast(int, model.config.patch_size)


@torch.inference_mode()
def fill(
    model: ViTMAEForPreTraining, picture: Pictures, noise: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(s, s, 3) uint8 -> the predicted picture (s, s, 3) in 0..1 and its hidden pixels (s, s).

    `noise` (patches,): the patches with the smallest values stay visible.
    """
    out = model(to_batch(picture[None], MEAN, STD), noise=torch.from_numpy(noise)[None])
    side, patch = geometry(model)
    grid = side // patch
    mask = out.mask.view(grid, grid).bool().numpy()
    hidden = mask.repeat(patch, axis=0).repeat(patch, axis=1)
    filled = model.unpatchify(out.logits.float())[0].permute(1, 2, 0).double().numpy()
    return np.clip(filled * STD + MEAN, 0, 1), hidden


def mean_of_visible(picture: NDArray[np.float64], hidden: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill with the mean colour of the visible pixels."""
    return np.broadcast_to(picture[~hidden].mean(axis=0), picture.shape)


def biharmonic(picture: NDArray[np.float64], hidden: NDArray[np.bool_]) -> NDArray[np.float64]:
    """scikit-image's smooth inpainting."""
    visible = np.where(hidden[..., None], 0.0, picture)
    return np.clip(inpaint_biharmonic(visible, hidden, channel_axis=-1), 0, 1)


def evaluate(model: ViTMAEForPreTraining, pictures: Pictures) -> dict[str, float]:
    """PSNR in dB on hidden pixels, mean over the pictures, of the model and of two baselines.

    Three quarters of the patches are hidden, chosen by the picture's number, the same for all.
    """
    model.config.mask_ratio = 0.75
    side, patch = geometry(model)
    patches = (side // patch) ** 2
    rows = []
    for number, picture in enumerate(pictures):
        noise = np.random.default_rng(number).random(patches, dtype=np.float32)
        filled, hidden = fill(model, picture, noise)
        truth = picture / 255.0
        answers = (filled, biharmonic(truth, hidden), mean_of_visible(truth, hidden))
        rows.append([psnr(a[hidden], truth[hidden]) for a in answers])
    scores = np.mean(rows, axis=0)
    return dict(zip(("model", "biharmonic", "mean of visible"), scores.tolist(), strict=True))


def psnr(answer: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio in dB of values in 0..1."""
    return float(-10 * np.log10(np.mean((answer - truth) ** 2)))


def main() -> None:
    """Train and export, or measure the exported starter."""
    parser = common.arguments(__doc__ or "", 30.0)
    parser.add_argument("--export", action="store_true", help="export the run as it stands")
    args = common.read_options(parser)
    path = common.measured_file(args, KEY)
    if not args.evaluate:
        config = common.with_budget(Config(), args)
        trainer = trainer_of(config, args.runs / "reconstruct")
        if not args.export:
            train(trainer, photographs(args.data, STORED), config)
        path = export(trainer.ema, config, common.destination(args, KEY))
        log.info("%d steps, %.0f s", trainer.step, trainer.seconds)
        common.deliver(path)
    model = load(path)
    side = geometry(model)[0]
    common.measured(lambda: evaluate(model, held_out(args.data, side)), needed=args.evaluate)


if __name__ == "__main__":
    main()
