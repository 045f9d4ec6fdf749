"""Evaluation of the restore starters on benchmark pictures, with classical methods.

All figures are PSNR in dB of results rounded to 8 bits, averaged over pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_nl_means, richardson_lucy, wiener

from core.imaging import metrics
from training import degradations, restore_run
from training.degradations import gaussian
from training.restore_data import read_rgb
from training.restore_export import load

Scores = dict[str, float]
Denoiser = Callable[[np.ndarray, float], np.ndarray]  # (H, W, 3) in 0..1 and sigma of 255
SIGMAS = (15, 25, 50)
NLM_PICTURES = 6  # a few: non-local means takes seconds per picture
DEBLUR_EVERY = 7  # every seventh picture of CBSD68
DEBLUR_NOISE = 1.0  # sigma of the noise added after the blur, of 255
GUESS = 1.5  # sigma in px of the Gaussian that the classical deblurring methods assume


def benchmark(folder: Path, name: str) -> list[np.ndarray]:
    """The pictures of one benchmark below `folder`, (H, W, 3) uint8.

    Raises:
        SystemExit: there are none.
    """
    files = sorted((folder / name).glob("*.png"))
    if not files:
        raise SystemExit(f"No pictures in {folder / name}.")
    return [read_rgb(path) for path in files]


def psnr(result: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of a float picture in 0..1, rounded to 8 bits, against a uint8 one."""
    rounded = np.round(np.clip(result, 0, 1) * 255).astype(np.uint8)
    return metrics.psnr(rounded, truth)


def mean_scores(rows: list[Scores]) -> Scores:
    """The mean of each column."""
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in rows[0]}


def evaluate_denoise(path: Path, benchmarks: Path) -> Iterator[tuple[str, Scores]]:
    """CBSD68, whole pictures, noise level given; non-local means on a few of them."""
    model = load(path).model
    starter: dict[str, Denoiser] = {"starter": functools.partial(restore_run.denoise, model)}
    every = len(benchmark(benchmarks, "cbsd68")) // NLM_PICTURES + 1
    for sigma in SIGMAS:
        for methods, step in ((starter, 1), (starter | {"nlm": nlm}, every)):
            rows = denoise_scores(methods, benchmarks, sigma, step)
            yield f"CBSD68 sigma {sigma}, {len(rows)} pictures", mean_scores(rows)


def denoise_scores(
    methods: Mapping[str, Denoiser], benchmarks: Path, sigma: int, every: int = 1
) -> list[Scores]:
    """PSNR of each method on every n-th picture of CBSD68, and of the noisy picture itself.

    The noise is Gaussian, not clipped, and seeded by level and picture number.
    """
    rows = list[Scores]()
    for index, truth in enumerate(benchmark(benchmarks, "cbsd68")):
        if index % every:
            continue
        rng = np.random.default_rng([sigma, index])
        noisy = truth / 255.0 + rng.normal(0, sigma / 255.0, truth.shape)
        cleaned = {name: psnr(method(noisy, sigma), truth) for name, method in methods.items()}
        rows.append({"noisy": psnr(noisy, truth)} | cleaned)
    return rows


def nlm(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """Non-local means (scikit-image) with the known noise level and its documented settings."""
    level = sigma / 255.0
    return denoise_nl_means(
        noisy, patch_size=5, patch_distance=6, h=0.6 * level, sigma=level, channel_axis=2
    )


def luma(picture: np.ndarray, border: int) -> np.ndarray:
    """Y of YCbCr (16..235) of a uint8 picture, without `border` px on each side."""
    return rgb2ycbcr(picture)[border:-border, border:-border, 0]


def evaluate_super_resolve(path: Path, benchmarks: Path) -> Iterator[tuple[str, Scores]]:
    """Set5 and Set14, Y channel, without a border of `scale` px, reduced by Pillow's bicubic."""
    descriptor = load(path)
    scale = descriptor.scale
    for name in ("set5", "set14"):
        rows = list[Scores]()
        for picture in benchmark(benchmarks, name):
            truth = degradations.crop_to_multiple(picture, scale)
            small = degradations.reduce(truth, scale)
            size = (truth.shape[1], truth.shape[0])
            cubic = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
            large = restore_run.enlarge(descriptor.model, small)
            results = {"bicubic": cubic, "starter": np.round(large * 255).astype(np.uint8)}
            y = luma(truth, scale)
            rows.append(
                {
                    key: float(peak_signal_noise_ratio(y, luma(r, scale), data_range=255))
                    for key, r in results.items()
                }
            )
        yield f"{name} x{scale} Y, {len(rows)} pictures", mean_scores(rows)


def held_out_kernels() -> dict[str, np.ndarray]:
    """The held-out blurs by name."""
    gaussians = {f"gaussian {s} px": gaussian(s) for s in degradations.HELD_OUT_GAUSSIAN}
    motions = {
        f"motion {n:g} px {a:g} deg": degradations.motion(n, a)
        for n, a in degradations.HELD_OUT_MOTION
    }
    return gaussians | motions


def evaluate_deblur(path: Path, benchmarks: Path) -> Iterator[tuple[str, Scores]]:
    """Pictures of CBSD68 blurred by each held-out kernel, with noise of sigma 1 and 8 bits."""
    pictures, model = benchmark(benchmarks, "cbsd68")[::DEBLUR_EVERY], load(path).model
    everything = list[Scores]()
    for name, kernel in held_out_kernels().items():
        rows = list[Scores]()
        for index, picture in enumerate(pictures):
            blurred, truth = blurred_pair(picture, kernel, index)
            results = {
                "input": blurred,
                "wiener": by_channel(wiener_guess, blurred),
                "richardson-lucy": by_channel(lucy_guess, blurred),
                "starter": restore_run.deblur(model, blurred),
            }
            rows.append({key: psnr(result, truth) for key, result in results.items()})
        worst = min(row["starter"] - row["input"] for row in rows)
        everything += rows
        yield f"{name}, {len(rows)} pictures", mean_scores(rows) | {"smallest gain": worst}
    worst = min(row["starter"] - row["input"] for row in everything)
    yield "all kernels", mean_scores(everything) | {"smallest gain": worst}


def blurred_pair(
    picture: np.ndarray, kernel: np.ndarray, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """(blurred float picture in 0..1 on 8-bit steps, the part of the original that it shows)."""
    rim = kernel.shape[0] // 2
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255.0
    blurred = degradations.blur(x, kernel[None])[0].permute(1, 2, 0).numpy()
    noise = np.random.default_rng(index).normal(0, DEBLUR_NOISE / 255.0, blurred.shape)
    steps = np.round(np.clip(blurred + noise, 0, 1) * 255).astype(np.float32)
    return steps / np.float32(255), picture[rim:-rim, rim:-rim]


def wiener_guess(channel: np.ndarray) -> np.ndarray:
    """Wiener filter (scikit-image) for a guessed Gaussian."""
    return wiener(channel, gaussian(GUESS), balance=0.02, clip=True)


def lucy_guess(channel: np.ndarray) -> np.ndarray:
    """Ten rounds of Richardson-Lucy (scikit-image) for a guessed Gaussian."""
    return richardson_lucy(channel, gaussian(GUESS), num_iter=10)


def by_channel(method: Callable[[np.ndarray], np.ndarray], picture: np.ndarray) -> np.ndarray:
    """Apply a method for grey pictures to each channel, with 16 px of mirrored padding."""
    wide = np.pad(picture, ((16, 16), (16, 16), (0, 0)), mode="reflect")
    return np.stack([method(wide[..., c]) for c in range(3)], axis=2)[16:-16, 16:-16]


def report(rows: Iterator[tuple[str, Scores]]) -> None:
    """Print one line per row."""
    for name, scores in rows:
        print(f"{name}: " + ", ".join(f"{key} {value:.2f} dB" for key, value in scores.items()))
