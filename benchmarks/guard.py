"""Check that the restoration guard catches broken output, keeps good output, and is cheap.

    python -m benchmarks.guard --benchmarks DIR [--every 4] [--sheet FILE.png]

Prints three tables and exits with 1 if a row misses its goal. `--benchmarks` is a folder with
`set5`, `set14` and `cbsd68` as PNG; `--every` takes every n-th of their pictures; `--sheet` shows
broken pictures: input, network output, result. Both columns share one pass of the network.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import hard_pictures
from benchmarks.startup import ROOT
from core import restore
from core.imaging import metrics
from core.nets import transforms
from core.restoring import guard as restore_guard
from core.sources import state_dicts
from core.types import RGB
from training import restore_eval, super_resolve
from training.restore_export import load

STARTERS = {
    "super-resolve-x2": restore_guard.SUPER_RESOLVE,
    "super-resolve-x4": restore_guard.SUPER_RESOLVE,
    "denoise": restore_guard.DENOISE,
    "deblur": restore_guard.DEBLUR,
}
WORST_MEAN = 20.0  # grey levels between the means of an 8 x 8 cell before and after
WORST_CONTRAST = 2.0  # times that of bicubic interpolation, or of the input, by cell
MOST_COST = 0.03  # of the network's time
SIGMA = 25.0  # level passed to the denoiser for pictures without a known one
ROUNDS = 5


@dataclass
class Starter:
    """A network, and the limits of its task."""

    name: str
    weights: Path
    limits: restore_guard.Limits = field(init=False)
    net: restore.Net = field(init=False)

    def __post_init__(self) -> None:
        self.limits = STARTERS[self.name]
        path = self.weights / f"{self.name}-starter.safetensors"
        reduced_by = state_dicts.read_header(path)[1].get("reduced_by", "")
        self.net = restore.Net(load(path), reduced_by)

    def answer(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The network's output for (1, 3, h, w), in 0..1."""
        return self.net.answer(x, sigma)


def worst_mean(before: RGB, after: RGB) -> float:
    """The largest distance between the means of an 8 x 8 cell, grey levels."""
    scale = after.shape[0] // before.shape[0]
    return float(np.abs(cell_means(after, 8 * scale) - cell_means(before, 8)).max())


def cell_means(picture: RGB, side: int) -> np.ndarray:
    """(rows, columns, 3): the mean of each whole cell of `side` x `side`."""
    high, wide = picture.shape[0] // side, picture.shape[1] // side
    whole = picture[: high * side, : wide * side].astype(float)
    return whole.reshape(high, side, wide, side, 3).mean((1, 3))


def contrast(before: RGB, after: RGB) -> float:
    """The largest standard deviation of a cell, in grey, beside that of plain interpolation; both
    with 12 levels added, so that flat cells count for little."""
    scale = after.shape[0] // before.shape[0]
    size = (after.shape[1], after.shape[0])
    plain = np.asarray(Image.fromarray(before).resize(size, Image.Resampling.BICUBIC))

    def deviation(picture: RGB) -> np.ndarray:
        values, side = picture.mean(2), 8 * scale
        high, wide = values.shape[0] // side, values.shape[1] // side
        cells = values[: high * side, : wide * side].reshape(high, side, wide, side)
        return cells.std((1, 3))

    return float(((deviation(after) + 12) / (deviation(plain) + 12)).max())


def broken(starters: list[Starter], sheet: Path | None) -> Iterator[tuple[list[str], bool]]:
    """One row for each kind of picture and network."""
    rows = []
    for kind, pictures in hard_pictures.kinds().items():
        for starter in starters:
            found = []
            for picture in pictures:
                x = transforms.to_batch(picture)
                y = starter.answer(x, SIGMA)
                checked = restore_guard.check(x, y, starter.limits)
                plain, result = transforms.to_rgb(y), transforms.to_rgb(checked.image)
                found.append((picture, plain, result, checked.guarded))
            pairs = ([(f[0], f[1]) for f in found], [(f[0], f[2]) for f in found])
            means = [max(worst_mean(*pair) for pair in those) for those in pairs]
            contrasts = [max(contrast(*pair) for pair in those) for those in pairs]
            share = float(np.mean([f[3] for f in found]))
            # A denoiser with a noise level also changes the means.
            most_mean = WORST_MEAN if starter.name != "denoise" else WORST_MEAN + SIGMA / 2
            good = means[1] <= most_mean and contrasts[1] <= WORST_CONTRAST
            cells = [f"{a:.1f}" for a in means] + [f"{a:.2f}" for a in contrasts]
            yield [kind, starter.name, str(len(found)), *cells, f"{share:.1%}"], good
            rows += [(f[0], f[1], f[2]) for f in found if f[3]][:2]
    if sheet:
        _draw(rows, sheet)


def _draw(rows: list[tuple[RGB, RGB, RGB]], path: Path, side: int = 224) -> None:
    """Input, network and result beside each other, the middle of each."""

    def part(picture: RGB, first: RGB) -> RGB:
        scale, half = picture.shape[0] // first.shape[0], min(28, min(first.shape[:2]) // 2)
        top, left = (scale * (first.shape[i] // 2 - half) for i in (0, 1))
        cut = picture[top : top + 2 * half * scale, left : left + 2 * half * scale]
        return np.asarray(Image.fromarray(cut).resize((side, side), Image.Resampling.NEAREST))

    lines = [np.hstack([part(one, row[0]) for one in row]) for row in rows]
    columns = [np.vstack(lines[i : i + 8]) for i in range(0, len(lines) - 7, 8)]
    Image.fromarray(np.hstack(columns)).save(path)


def good_pairs(name: str, data: Path, every: int) -> Iterator[tuple[str, RGB, RGB, float]]:
    """(set, input, truth, sigma): what a starter was trained for."""
    if name == "denoise":
        for sigma in restore_eval.SIGMAS:
            for i, truth in enumerate(restore_eval.benchmark(data, "cbsd68")[::every]):
                rng = np.random.default_rng([sigma, i * every])
                noisy = np.rint(truth + rng.normal(0, sigma, truth.shape))
                yield f"CBSD68 sigma {sigma}", np.clip(noisy, 0, 255).astype(np.uint8), truth, sigma
    elif name == "deblur":
        pictures = restore_eval.benchmark(data, "cbsd68")[:: restore_eval.DEBLUR_EVERY * every]
        for kernel in restore_eval.held_out_kernels().values():
            for i, picture in enumerate(pictures):
                blurred, truth = restore_eval.blurred_pair(picture, kernel, i)
                yield "CBSD68, held-out blurs", np.rint(blurred * 255).astype(np.uint8), truth, 0
    else:
        scale = int(name[-1])
        for folder in ("set5", "set14"):
            for picture in restore_eval.benchmark(data, folder)[::every]:
                truth = super_resolve.crop_to_multiple(picture, scale)
                yield folder, super_resolve.reduce(truth, scale), truth, 0


def good(starters: list[Starter], data: Path, every: int) -> Iterator[tuple[list[str], bool]]:
    """One row for each set: PSNR without and with the guard, and how near its limits were."""
    for starter in starters:
        sets: dict[str, list[tuple[float, float, bool, float]]] = {}
        for where, picture, truth, sigma in good_pairs(starter.name, data, every):
            x = transforms.to_batch(picture)
            y = starter.answer(x, sigma)
            checked = restore_guard.check(x, y, starter.limits)
            used = restore_guard.use_of_limits(x[0], y[0], starter.limits)
            plain, result = transforms.to_rgb(y), transforms.to_rgb(checked.image)
            scores = metrics.psnr(plain, truth), metrics.psnr(result, truth)
            same = bool(np.array_equal(plain, result))
            sets.setdefault(where, []).append((*scores, same, float(used.max())))
        for where, rows in sets.items():
            before, after, same, _ = np.mean(rows, 0)
            most = max(row[3] for row in rows)
            cells = [f"{before:.2f}", f"{after:.2f}", f"{same:.0%}", f"{most:.2f}"]
            yield [where, starter.name, str(len(rows)), *cells], same == 1


def cost(starters: list[Starter]) -> Iterator[tuple[list[str], bool]]:
    """CPU time of the guard beside the network's, of one thread, on tiles of the usual size."""
    for starter in starters:
        side = restore.tile_sides(starter.net.scale)[0] if starter.net.scale == 1 else 256
        image = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB").resize((side, side))
        x, spent = transforms.to_batch(np.asarray(image)), []
        for _ in range(ROUNDS + 1):
            started = time.process_time()
            y = starter.answer(x, SIGMA)
            between = time.process_time()
            restore_guard.check(x, y, starter.limits)
            spent.append((between - started, time.process_time() - between))
        network, guard = np.median(spent[1:], 0)
        share = guard / network
        milliseconds = [f"{1e3 * network:.0f}", f"{1e3 * guard:.1f}", f"{share:.1%}"]
        yield [f"{side} x {side}", starter.name, str(ROUNDS), *milliseconds], share <= MOST_COST


def _table(head: list[str], rows: Iterator[tuple[list[str], bool]]) -> bool:
    print(f"| {' | '.join(head)} | |\n|{'---|' * (len(head) + 1)}")
    verdicts = []
    for cells, reached in rows:
        print(f"| {' | '.join(cells)} | {'' if reached else 'SHORT'} |", flush=True)
        verdicts.append(reached)
    print()
    return all(verdicts)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; return 1 if a row misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--benchmarks", type=Path, default=Path("data/benchmarks"))
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--only", nargs="+", choices=STARTERS, default=list(STARTERS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with torch.inference_mode():
        starters = [Starter(name, options.weights) for name in options.only]
        first = ["pictures", "starter", "n"]
        means = ["worst mean, network", "with guard"]
        contrasts = ["worst contrast, network", "with guard"]
        reached = [
            _table([*first, *means, *contrasts, "replaced"], broken(starters, options.sheet)),
            _table(
                [*first, "PSNR, network", "with guard", "identical", "largest use of a limit"],
                good(starters, options.benchmarks, options.every),
            ),
            _table([*first, "network, ms", "guard, ms", "ratio"], cost(starters)),
        ]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
