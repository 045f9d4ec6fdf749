"""Image restoration (denoise, super-resolution, deblurring) with networks that spandrel recognises.

A picture larger than a tile is restored in overlapping, blended tiles, so that the network's memory
does not grow with the picture (`core.restoring.tiles`). Each tile's output is compared with its
input; where it departs, a fallback replaces it (`core.restoring.guard`).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from core import checks, images
from core.errors import CheckpointError, InputError, OutOfMemory
from core.imaging import metrics
from core.nets import transforms
from core.restoring import consistency, guard, tiles
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import RGB, Restoration

RestoreTask = Literal["denoise", "super_resolve", "deblur"]
Steps = Generator[float, None, Restoration]
TILES = (512, 256, 128)  # input tile sides in pixels; smaller when memory runs out
CPU_TILE_OUTPUT = 1024  # on a CPU, the largest side of an output tile
HUGE_PIXELS, HUGE_TILE = 24_000_000, 384  # of a result; it leaves less memory for tiles
MAX_OUTPUT_PIXELS = 64_000_000
LIMITS = {
    "denoise": guard.DENOISE,
    "super_resolve": guard.SUPER_RESOLVE,
    "deblur": guard.DEBLUR,
}


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
    """Enlarge by `scale`, which must match the checkpoint (2 or 4).

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
    """Run any of the three as a generator that yields the fraction done after each tile.

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
        net = run.extra
        factor = _check_scale(task, run, scale)
        _check_size(rgb, factor)
        if task == "denoise" and sigma is None and net.noise_map:
            with run.watch.stage("estimate"):
                sigma = metrics.estimate_sigma(rgb)
        job = _Job(run, LIMITS[task], sigma)
        restored = yield from _restored(job, rgb, factor)
        used = sigma if task == "denoise" and net.noise_map else None
        info, guarded = run.info(), job.guarded
        note = " ".join(filter(None, (info.note, guard.sentence(guarded, factor))))
        return Restoration(restored, factor, replace(info, note=note), used, guarded)


def _check_scale(task: RestoreTask, run: runtime.Run[Net], scale: int) -> int:
    factor = run.extra.scale
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


@dataclass(slots=True)
class _Job:
    """One picture's way through the network; adds up how much of it the guard replaced."""

    run: runtime.Run[Net]
    limits: guard.Limits
    sigma: float | None
    areas: list[tuple[int, float]] = field(default_factory=list)  # per tile: area, replaced share

    @property
    def guarded(self) -> float:
        """Share of the area, 0..1; areas that tiles share count twice."""
        total = sum(area for area, _ in self.areas)
        return sum(area * share for area, share in self.areas) / max(1, total)

    def tile(self, x: torch.Tensor) -> torch.Tensor:
        """(1, 3, h, w) -> (1, 3, h * scale, w * scale)."""
        with self.run.watch.stage("forward"):
            checked = self.run.extra(x, self.sigma, self.limits)
        self.areas.append((x.shape[-2] * x.shape[-1], checked.guarded))
        return checked.image


def _restored(job: _Job, rgb: RGB, factor: int) -> Generator[float, None, RGB]:
    """The whole picture, in the largest tiles that fit into memory."""
    *larger, smallest = tile_sides(factor, rgb.shape[0] * rgb.shape[1])
    for side in larger:
        try:
            return (yield from tiles.restored(rgb, factor, side, job.tile))
        except OutOfMemory:
            job.areas.clear()
    return (yield from tiles.restored(rgb, factor, smallest, job.tile))


def tile_sides(factor: int, pixels: int = 0) -> tuple[int, ...]:
    """The sides of tiles to try for a picture of that many pixels, largest first.

    On a CPU an enlarging network gets smaller tiles: its steps take seconds, and jobs are cancelled
    between steps. Even smaller ones would compute more of the picture twice: 6 to 17 % of the time
    with 288 pixels. A huge result means smaller ones too, for the sake of memory.
    """
    if runtime.device().type != "cpu":
        return TILES
    largest = HUGE_TILE if pixels * factor**2 > HUGE_PIXELS else TILES[0]
    most = max(TILES[-1], min(largest, CPU_TILE_OUTPUT // factor))
    return (most, *(side for side in TILES if side < most))


class Net:
    """One interface for all restoration networks: (1, 3, h, w) in 0..1 -> the same, times `scale`,
    checked against the input.

    Args:
        descriptor: spandrel's.
        reduced_by: the filter that made the small pictures the network was trained on; if it is
            known, results are made to agree with the input (`core.restoring.consistency`).
    """

    def __init__(self, descriptor: Any, reduced_by: str = "") -> None:
        self.descriptor = descriptor
        self.consistent = reduced_by == consistency.FILTER and descriptor.scale > 1
        self.scale: int = descriptor.scale
        # These two read the noise level from an extra channel, which spandrel would fix at 15.
        self.noise_map: bool = (
            descriptor.architecture.id in ("DRUNet", "DnCNN")
            and _first_convolution(descriptor.model).in_channels > descriptor.input_channels
        )

    def __call__(
        self, tile: torch.Tensor, sigma: float | None, limits: guard.Limits
    ) -> guard.Checked:
        def compute() -> guard.Checked:
            x = tile.to(runtime.device())
            checked = guard.check(x, self.answer(x, sigma), limits)
            return replace(checked, image=checked.image.cpu())

        return runtime.forward(compute, long=True)

    def answer(self, x: torch.Tensor, sigma: float | None) -> torch.Tensor:
        """The network alone, on its device: (1, 3, h, w) in 0..1 -> the same, times `scale`."""
        y = self._run(x, sigma).float().clamp_(0, 1)
        return consistency.corrected(x, y) if self.consistent else y

    def _run(self, x: torch.Tensor, sigma: float | None) -> torch.Tensor:
        if self.descriptor.input_channels == 1:  # a grey network handles each channel separately
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
    raise CheckpointError("The file does not contain a convolutional network.")


def _build(resolved: Resolved) -> Built[Net]:
    from spandrel import ImageModelDescriptor, UnsupportedModelError

    name = resolved.path.name
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    try:
        descriptor = state_dicts.restoration_net(state)
    except UnsupportedModelError as error:
        raise CheckpointError(f"{name} is not an architecture that spandrel supports.") from error
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
        raise CheckpointError(f"{name} takes {channels[0]} channels, not colour or grey.")
    config = state_dicts.starter_config(resolved.path, "super_resolve") or {}
    return Built(descriptor.model, Net(descriptor, config.get("reduced_by", "")))
