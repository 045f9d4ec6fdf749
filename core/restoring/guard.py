"""Keep a restoration network from destroying a picture.

Outside the colours and textures it was trained on, a network can return anything: the
super-resolution starters turned saturated blue, coloured text and noise into black and white mazes.
So each output is compared with the picture, cell by cell (8 x 8 pixels of the input). With `small`,
the output reduced to the input's size, every cell has to pass three tests:

- **mean**: the means of `small` and of the picture are close;
- **change**: `small` - picture has little energy (root mean square). If the network enlarges, a
cell also passes if the output itself stays close to the picture, for networks that remove noise;
- **detail**: what the output adds inside the input's pixels has little energy.

"Little" grows with the spread of the picture in and around the cell (the standard deviation over
3 x 3 cells): edges, texture and noise allow more than flat areas. Cells that fail get the fallback:
bicubic interpolation, or the input itself if the network does not enlarge. Cells near them that are
over `WEAK` of a limit follow, and the seams are blended. If all cells pass, the output is returned
unchanged, bit for bit.

The limits were derived from good outputs of the starters, which must not change, and from pictures
that broke them (`python -m benchmarks.guard` prints both). Good enlarging moved the mean of a cell
by at most 4 grey levels and changed it by 17, while mazes moved it by up to 255 and changed flat
areas by 127. A denoiser evens out what noise of sigma 50 does to means, 6 levels and at most 23;
deblurring moves edges across cells, which changed means by up to 29 levels and cells by up to 61.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from core import checks

CELL = 8  # pixels of the input along each side of a cell
WEAK = 0.5  # share of a limit, for cells next to a failed one
_REACH = 3  # growth steps of the fallback into weak cells, two cells each


@dataclass(frozen=True, slots=True)
class Limit:
    """`level` grey levels (of 255) in a flat area, plus `gain` times the picture's spread."""

    level: float
    gain: float = 0.0

    def energy(self, variance: torch.Tensor) -> torch.Tensor:
        """The largest allowed mean square, for values in 0..1."""
        return (self.level / 255) ** 2 + self.gain**2 * variance


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of the three tests; `whole` is for the output itself, where it excuses `change`.

    With `calm` the gain of `mean` uses the least spread of the cell and its neighbours. That is
    the noise, which is everywhere; edges excuse no other mean, unless blur moved them.
    """

    mean: Limit
    change: Limit
    whole: Limit | None = None
    detail: Limit | None = None
    calm: bool = False


SUPER_RESOLVE = Limits(Limit(12), Limit(12, 0.25), whole=Limit(20, 1.1), detail=Limit(24, 1.8))
DENOISE = Limits(Limit(16, 0.3), Limit(32, 1.5), calm=True)
DEBLUR = Limits(Limit(20, 0.5), Limit(64, 2.0))


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """`image` (1, 3, H, W) in 0..1, and the share of its area, 0..1, that was replaced."""

    image: torch.Tensor
    guarded: float


def check(x: torch.Tensor, y: torch.Tensor, limits: Limits) -> Checked:
    """The network's output `y` for `x`, with the fallback where it departs from `x`.

    Args:
        x: (1, 3, h, w) float32 in 0..1.
        y: (1, 3, h * scale, w * scale) float32 in 0..1; may contain NaN.
        limits: those of the task.

    Raises:
        CheckpointError: every cell of the output contains NaN or infinity.
    """
    scale = y.shape[-1] // x.shape[-1]
    use = use_of_limits(x[0], y[0], limits)
    beyond = ~(use <= 1)  # true for NaN as well
    if not beyond.any():
        return Checked(y, 0.0)
    if not torch.isfinite(use).any():
        raise checks.not_numbers()
    weight = _weights(beyond, ~(use <= WEAK), x.shape[-2:], scale)
    fallback = x
    if scale > 1:  # "antialias" only for its kernel, the usual one (a = -0.5)
        size = (y.shape[-2], y.shape[-1])
        fallback = F.interpolate(x, size, mode="bicubic", antialias=True).clamp(0, 1)
    y = torch.where(torch.isfinite(y), y, fallback)
    return Checked(y.lerp(fallback, weight), float(weight.mean()))


def sentence(share: float, scale: int) -> str:
    """The message for a result with a `share` (0..1) of fallback; "" for 0."""
    if share <= 0:
        return ""
    area = "less than 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")
    there = "there bicubic interpolation is shown instead" if scale > 1 else "there it is unchanged"
    return f"The model's output departed from the picture in {area} of its area; {there}."


def use_of_limits(x: torch.Tensor, y: torch.Tensor, limits: Limits) -> torch.Tensor:
    """How much of its limits each cell uses, in the worst test and channel; over 1 fails.

    Args:
        x, y: as for `check`, but (3, h, w) and (3, h * scale, w * scale).

    Returns:
        (rows, columns); the last cells end at the border, so they may overlap those before.
    """
    scale = y.shape[-1] // x.shape[-1]
    x, y = x.permute(1, 2, 0), y.permute(1, 2, 0)  # the usual memory layout: faster sums
    small = _means(y, scale) if scale > 1 else y
    change = small - x
    mean, square = _means(x, CELL), _means(x * x, CELL)
    spread = _spread(mean, square)
    least = _calmest(mean, square) if limits.calm else spread
    most = limits.mean.level / 255 + limits.mean.gain * least.sqrt()
    moved = _means(change, CELL).abs().amax(-1) / most
    changed = _means(change.square_(), CELL)
    share = changed.amax(-1) / limits.change.energy(spread)
    if limits.whole and limits.detail:
        # The mean of (y - x)², with each pixel of x repeated, without arrays as large as y.
        whole = _means(y * y, CELL * scale) + square - 2 * _means(small * x, CELL)
        detail = (whole - changed).amax(-1)
        share = torch.minimum(share, whole.amax(-1) / limits.whole.energy(spread))
        share = torch.maximum(share, detail / limits.detail.energy(spread))
    return torch.maximum(moved, share.clamp_min(0).sqrt())


def _spread(mean: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
    """(rows, columns, 3) means and mean squares -> the largest channel's variance over 3 x 3 cells,
    (rows, columns)."""
    both = torch.stack([mean, square]).permute(0, 3, 1, 2)
    around = F.avg_pool2d(both, 3, 1, 1, count_include_pad=False)
    return (around[1] - around[0].square()).clamp_min(0).amax(0)


def _calmest(mean: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
    """Like `_spread`, but the variance within the calmest of the 3 x 3 cells."""
    variance = (square - mean.square()).clamp_min(0).amax(-1)
    return -F.max_pool2d(-variance[None], 3, 1, 1)[0]


def _means(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """(H, W, C) -> the mean of each cell of `side` x `side`; the last ones end at the border."""
    high, wide = pixels.shape[:2]
    if high > side and high % side:
        whole = pixels[: high - high % side]
        return torch.cat([_means(whole, side), _means(pixels[-side:], side)])
    if wide > side and wide % side:
        whole = pixels[:, : wide - wide % side]
        return torch.cat([_means(whole, side), _means(pixels[:, -side:], side)], 1)
    rows, columns = min(side, high), min(side, wide)
    # Summing rows first takes a third of the time of average pooling.
    sums = pixels.unflatten(0, (-1, rows)).sum(1).unflatten(1, (-1, columns)).sum(2)
    return sums / (rows * columns)


def _weights(
    beyond: torch.Tensor, weak: torch.Tensor, size: tuple[int, ...], scale: int
) -> torch.Tensor:
    """(1, 1, h * scale, w * scale): 1 in failed cells, falling to 0 over the next cell."""
    cells = beyond
    for _ in range(_REACH):
        cells = cells | (weak & _grown(cells, 2))
    spread = _grown(cells, 1)[None, None].float()
    high, wide = spread.shape[-2] * CELL * scale, spread.shape[-1] * CELL * scale
    smooth = F.interpolate(spread, (high, wide), mode="bilinear")
    return smooth[..., : size[0] * scale, : size[1] * scale]


def _grown(cells: torch.Tensor, by: int) -> torch.Tensor:
    """(rows, columns) bool, dilated by `by` cells."""
    window = F.max_pool2d(cells[None, None].float(), 2 * by + 1, stride=1, padding=by)
    return window[0, 0] > 0
