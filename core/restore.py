"""Image restoration (denoise, super-resolution, deblurring) with networks that spandrel recognises.

A picture larger than a tile is restored in overlapping tiles whose seams are blended, so that the
network's memory does not grow with the picture.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, Literal

import torch

from core import checks, images, metrics, runtime, state_dicts, transforms
from core.errors import CheckpointError, InputError, OutOfMemory
from core.runtime import Built
from core.types import Restoration
from core.weights import Progress, Resolved

RestoreTask = Literal["denoise", "super_resolve", "deblur"]
Steps = Generator[float, None, Restoration]
TILES = (512, 256, 128)  # sides of a tile of the input, pixels; a smaller one where memory ends
CPU_TILE_OUTPUT = 1024  # on a CPU, the largest side of what comes out of a tile
OVERLAP = 32
GRID = 8  # sides of tiles are multiples of it, which networks would pad them to
MAX_OUTPUT_PIXELS = 64_000_000


def denoise(
    image: images.ImageLike,
    checkpoint: str = "auto",
    sigma: float | None = None,
    progress: Progress | None = None,
) -> Restoration:
    """Remove noise. `sigma` is its standard deviation in grey levels, 0 to 100; None estimates it.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    return runtime.finish(steps("denoise", image, checkpoint, sigma=sigma, progress=progress))


def super_resolve(
    image: images.ImageLike,
    checkpoint: str = "auto",
    scale: int = 2,
    progress: Progress | None = None,
) -> Restoration:
    """Enlarge by `scale`, which the checkpoint must have been trained for (2 or 4).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    return runtime.finish(steps("super_resolve", image, checkpoint, scale=scale, progress=progress))


def deblur(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Restoration:
    """Undo blur of an unknown kernel.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    return runtime.finish(steps("deblur", image, checkpoint, progress=progress))


def steps(
    task: RestoreTask,
    image: images.ImageLike,
    checkpoint: str = "auto",
    sigma: float | None = None,
    scale: int = 2,
    progress: Progress | None = None,
) -> Steps:
    """Any of the three as a generator that yields the fraction done after each tile.

    It returns the result. Closing it between tiles cancels the rest.
    """
    if sigma is not None:
        sigma = checks.number(sigma, "Sigma", 0, 100, "grey levels")
    scale = checks.whole(scale, "The scale")
    if scale not in (2, 3, 4, 8):
        raise InputError("The scale must be 2, 3, 4 or 8.")
    rgb = images.from_any(image)
    wanted = scale if task == "super_resolve" else None
    with runtime.run(task, checkpoint, _build, progress, scale=wanted) as run:
        net = run.lease.built.extra
        factor = _check_scale(task, run, scale)
        _check_size(rgb, factor)
        if task == "denoise" and sigma is None and net.noise_map:
            with run.watch.stage("estimate"):
                sigma = metrics.estimate_sigma(rgb)
        x = transforms.to_batch(rgb)
        y = yield from _restored(run, x, factor, sigma)
        used = sigma if task == "denoise" and net.noise_map else None
        return Restoration(transforms.to_rgb(y), factor, run.info(), used)


def _check_scale(task: RestoreTask, run: runtime.Run, scale: int) -> int:
    factor = run.lease.built.extra.scale
    if task != "super_resolve" and factor != 1:
        raise InputError(f"{run.name} enlarges by {factor}; choose it under super-resolution.")
    if task == "super_resolve" and factor == 1:
        raise InputError(f"{run.name} does not enlarge; choose another checkpoint.")
    if task == "super_resolve" and factor != scale:
        raise InputError(
            f"{run.name} enlarges by {factor}; choose scale {factor} or another checkpoint."
        )
    return factor


def _check_size(rgb: images.RGB, factor: int) -> None:
    h, w = rgb.shape[:2]
    if h * w * factor**2 > MAX_OUTPUT_PIXELS:
        raise InputError(
            f"{w} x {h} enlarged by {factor} is over "
            f"{MAX_OUTPUT_PIXELS // 1_000_000} megapixels; send a smaller picture."
        )


def _restored(
    run: runtime.Run, x: torch.Tensor, factor: int, sigma: float | None
) -> Generator[float, None, torch.Tensor]:
    """`_tiled` with the largest tiles that fit into memory."""
    *larger, smallest = tile_sides(factor)
    for tile in larger:
        try:
            return (yield from _tiled(run, x, factor, sigma, tile))
        except OutOfMemory:
            continue
    return (yield from _tiled(run, x, factor, sigma, smallest))


def tile_sides(factor: int) -> tuple[int, ...]:
    """The sides of tiles to try, largest first.

    On a CPU an enlarging network gets smaller ones: its steps are seconds long, and a job is
    cancelled between two. Smaller ones still would compute more of a picture twice, which cost 6
    to 17 % of the time with 288 pixels.
    """
    if runtime.device().type != "cpu":
        return TILES
    most = max(TILES[-1], min(TILES[0], CPU_TILE_OUTPUT // factor))
    return (most, *(side for side in TILES if side < most))


def _tiled(
    run: runtime.Run, x: torch.Tensor, factor: int, sigma: float | None, side: int
) -> Generator[float, None, torch.Tensor]:
    """(1, 3, H, W) -> (1, 3, H * factor, W * factor), tile by tile with linearly blended seams."""
    h, w = x.shape[-2:]
    (tops, high), (lefts, wide) = tile_rows(h, side), tile_rows(w, side)
    starts = [(top, left) for top in tops for left in lefts]
    total = torch.zeros(1, 3, h * factor, w * factor)
    weight = torch.zeros(1, 1, h * factor, w * factor)
    for done, (top, left) in enumerate(starts, start=1):
        tile = x[..., top : top + high, left : left + wide]
        with run.watch.stage("forward"):
            y = run.lease.built.extra(tile, sigma)
        if len(starts) == 1:  # nothing to blend, and the network's own values to the last bit
            yield 1.0
            return y
        window = _ramp(top, tile.shape[-2], h, factor)[:, None]
        window = window * _ramp(left, tile.shape[-1], w, factor)
        rows = slice(top * factor, top * factor + y.shape[-2])
        columns = slice(left * factor, left * factor + y.shape[-1])
        total[..., rows, columns] += y * window
        weight[..., rows, columns] += window
        yield done / len(starts)
    return total.div_(weight)


def tile_rows(length: int, side: int) -> tuple[list[int], int]:
    """Where tiles begin along one side of a picture, and how long all of them are.

    As few as do with at most `side` pixels (a multiple of `GRID`), spread evenly: tiles of just
    that side would compute much of a picture twice, the last one pushed back to its border.
    """
    if length <= side:
        return [0], length
    count = math.ceil((length - OVERLAP) / (side - OVERLAP))
    even = math.ceil((length + (count - 1) * OVERLAP) / count)
    size = min(length, math.ceil(even / GRID) * GRID)
    return [round(i * (length - size) / (count - 1)) for i in range(count)], size


def _ramp(start: int, length: int, whole: int, factor: int) -> torch.Tensor:
    """Weights (length * factor,) of a tile along one side of a picture of `whole` pixels.

    Towards another tile they fall to 0 before the tile ends, because a network knows least about
    its outermost pixels; at the border of the picture they stay 1.
    """
    place = (torch.arange(length * factor) + 0.5) / factor  # in pixels of the input
    quarter = OVERLAP / 4
    weight = torch.ones(length * factor)
    if start > 0:
        weight *= ((place - quarter) / (2 * quarter)).clamp(0, 1)
    if start + length < whole:
        weight *= ((length - place - quarter) / (2 * quarter)).clamp(0, 1)
    return weight


class Net:
    """One call for every restoration network: (1, 3, h, w) in 0..1 -> the same, times `scale`."""

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor
        self.scale: int = descriptor.scale
        # These two read the noise level from one channel more, which spandrel would fix at 15.
        self.noise_map: bool = (
            descriptor.architecture.id in ("DRUNet", "DnCNN")
            and _first_convolution(descriptor.model).in_channels > descriptor.input_channels
        )

    def __call__(self, tile: torch.Tensor, sigma: float | None) -> torch.Tensor:
        y = runtime.forward(
            lambda: self._run(tile.to(runtime.device()), sigma).float().cpu(), long=True
        )
        if not torch.isfinite(y).all():
            raise checks.not_numbers()
        return y.clamp(0, 1)

    def _run(self, x: torch.Tensor, sigma: float | None) -> torch.Tensor:
        if self.descriptor.input_channels == 1:  # a grey network restores each channel alone
            return torch.cat([self._call(channel, sigma) for channel in x.split(1, dim=1)], 1)
        return self._call(x, sigma)

    def _call(self, x: torch.Tensor, sigma: float | None) -> torch.Tensor:
        if not self.noise_map or sigma is None:
            return self.descriptor(x)
        h, w = x.shape[-2:]
        padded = transforms.pad_to_multiple(x, self.descriptor.size_requirements.multiple_of)
        level = torch.full_like(padded[:, :1], sigma / 255)
        return self.descriptor.model(torch.cat([padded, level], 1))[..., :h, :w]


def _first_convolution(module: torch.nn.Module) -> torch.nn.Conv2d:
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            return part
    raise CheckpointError("The file holds no convolutional network.")


def _build(resolved: Resolved) -> Built:
    from spandrel import ImageModelDescriptor, UnsupportedModelError

    name = resolved.path.name
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    try:
        descriptor = state_dicts.restoration_net(state)
    except UnsupportedModelError as error:
        raise CheckpointError(f"{name} is not a network that spandrel recognises.") from error
    except MemoryError:
        raise
    except Exception as error:  # spandrel reads sizes from tensors that a bad file may lack
        raise CheckpointError(
            f"{name} does not fit its network (weights missing, unknown or of another shape); "
            "choose another file."
        ) from error
    if not isinstance(descriptor, ImageModelDescriptor):
        raise CheckpointError(f"{name} needs a mask; it does not restore pictures.")
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels not in ((3, 3), (1, 1)):
        raise CheckpointError(f"{name} works on {channels[0]} channels, not on colour or grey.")
    return Built(descriptor.model, Net(descriptor))
