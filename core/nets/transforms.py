"""Image <-> tensor: the only place where pixels become model inputs and back.

If a library has the transform that a checkpoint was trained with, that one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from core.cpu.own_ways import OwnWay
from core.errors import InputError
from core.imaging import bands
from core.types import RGB

MAX_ASPECT = 100


def refuse_narrow(height: int, width: int) -> None:
    """Refuse a picture so narrow that a resize would give no pixels, or far too many.

    Raises:
        InputError: one side is over `MAX_ASPECT` times the other.
    """
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise InputError(f"The picture is too narrow ({width} x {height} pixels); crop it first.")


def timm_transform(data_config: dict[str, Any]) -> Callable[[RGB], torch.Tensor]:
    """timm's evaluation transform for a data config: (H, W, 3) uint8 -> (1, 3, s, s) float32."""
    from timm.data import create_transform

    transform = create_transform(**data_config, is_training=False)
    return lambda rgb: transform(Image.fromarray(rgb))[None]


def seen(size: tuple[int, int], crop: float | None) -> tuple[float, float, float, float]:
    """The part of a picture of `size` (H, W) that a classifier's transform keeps.

    Args:
        crop: side of the middle square as a share of the shorter side; None for the whole picture.

    Returns:
        (x1, y1, x2, y2) in pixels.
    """
    h, w = size
    if crop is None:
        return 0.0, 0.0, float(w), float(h)
    half = crop * min(h, w) / 2
    return w / 2 - half, h / 2 - half, w / 2 + half, h / 2 + half


def detr_transform(
    size: dict[str, int], mean: Sequence[float], std: Sequence[float], multiple: int = 1
) -> Callable[[RGB], torch.Tensor]:
    """DETR's transform: shortest side to `shortest_edge`, longest at most `longest_edge`.

    (H, W, 3) uint8 -> (1, 3, h, w) float32, normalised; h and w rounded down to a `multiple`, as
    YOLOS's processor does.
    """
    from transformers.image_transforms import get_size_with_aspect_ratio
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    processor = DetrImageProcessorPil(
        size=size, image_mean=list(mean), image_std=list(std), do_pad=False, do_resize=False
    )

    def transform(rgb: RGB) -> torch.Tensor:
        # The library's own resize; its processor would first copy all pixels three times.
        height, width = get_size_with_aspect_ratio(
            rgb.shape[:2], size["shortest_edge"], size.get("longest_edge")
        )
        height, width = (max(multiple, side - side % multiple) for side in (height, width))
        small = bands.resized(rgb, (width, height), Image.Resampling.BILINEAR)
        return processor(small, return_tensors="pt")["pixel_values"]

    return transform


def square_transform(
    side: int, mean: Sequence[float], std: Sequence[float]
) -> Callable[[RGB], torch.Tensor]:
    """transformers' ViTImageProcessor: the whole picture squeezed to (1, 3, side, side) float32,
    normalised."""
    shift = torch.tensor(list(mean)).view(1, 3, 1, 1)
    scale = torch.tensor(list(std)).view(1, 3, 1, 1)

    def transform(rgb: RGB) -> torch.Tensor:
        # Matches ViTImageProcessor in an eighth of its time, which copies all pixels before it
        # shrinks them.
        x = _resized(rgb, side, side, "bilinear")
        x = x.to(torch.float32, memory_format=torch.contiguous_format)
        return x.div_(255).sub_(shift).div_(scale)

    return transform


def rcnn_transform(net: Any) -> Callable[[RGB], torch.Tensor]:
    """torchvision's `GeneralizedRCNNTransform`, without its padding.

    (H, W, 3) uint8 -> (1, 3, h, w) float32, normalised: for COCO's Faster R-CNN and RetinaNet the
    shorter side becomes 800 pixels, the longer one at most 1333; SSDLite squeezes the picture to
    320 x 320.
    """

    def prepared(rgb: RGB) -> torch.Tensor:
        shorter, longer = sorted(rgb.shape[:2])
        scale = min(net.min_size[-1] / shorter, net.max_size / longer)
        scaled = [int(side * scale) for side in rgb.shape[:2]]
        height, width = net.fixed_size[::-1] if net.fixed_size else scaled
        return _sampled(rgb, height, width, net.image_mean, net.image_std)

    return prepared


def sampled_transform(
    side: int, mean: Sequence[float], std: Sequence[float]
) -> Callable[[RGB], torch.Tensor]:
    """As `square_transform`, but without antialias: the transform of RF-DETR."""
    return lambda rgb: _sampled(rgb, side, side, mean, std)


def _sampled(
    rgb: RGB, height: int, width: int, mean: Sequence[float], std: Sequence[float]
) -> torch.Tensor:
    """(1, 3, height, width) float32, normalised, as `F.interpolate` resizes without antialias.

    It reads at most four pixels for each, so all of a large picture is never made a float.
    """
    (top, bottom, down), (left, right, along) = (
        _between(side, wanted) for side, wanted in zip(rgb.shape, (height, width), strict=False)
    )
    rows = []
    for row in (top, bottom):
        one, other = (torch.from_numpy(rgb[row][:, column]).float() for column in (left, right))
        rows.append(one + (other - one) * along[:, None])
    x = (rows[0] + (rows[1] - rows[0]) * down[:, None, None]) / 255
    return ((x - torch.tensor(list(mean))) / torch.tensor(list(std))).permute(2, 0, 1)[None]


def _between(side: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64], torch.Tensor]:
    """For each of `wanted` pixels the two of `side` beside its centre, and the second's weight."""
    places = np.maximum((np.arange(wanted) + 0.5) * side / wanted - 0.5, 0)
    first = np.minimum(places.astype(np.int64), side - 1)
    weight = torch.from_numpy(places - first).float()
    return first, np.minimum(first + 1, side - 1), weight


def to_batch(rgb: RGB) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32 in 0..1."""
    return torch.tensor(rgb).permute(2, 0, 1)[None].float() / 255


def to_rgb(batch: torch.Tensor) -> RGB:
    """(1, 3, H, W) in 0..1 -> (H, W, 3) uint8, rounded and clamped."""
    return to_rgbs(batch[:1])[0]


def to_rgbs(batch: torch.Tensor) -> RGB:
    """(B, 3, H, W) in 0..1 -> (B, H, W, 3) uint8, rounded and clamped."""
    images = batch.detach().float().clamp(0, 1).mul_(255).round_()  # in place: may be large
    return np.ascontiguousarray(images.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


def to_view(rgb: RGB, height: int, width: int, exact: bool = False) -> RGB:
    """(H, W, 3) uint8 -> (height, width, 3) uint8, bicubic; within two levels of Pillow.

    Args:
        exact: use the nearest pixel instead, which keeps edges sharp.
    """
    if exact:
        rows, columns = _nearest(rgb.shape[0], height), _nearest(rgb.shape[1], width)
        return np.take(np.take(rgb, columns, 1), rows, 0)
    large = _resized(rgb, height, width, "bicubic")
    return np.ascontiguousarray(large[0].permute(1, 2, 0).numpy())


def _resized(rgb: RGB, height: int, width: int, mode: str) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, height, width) uint8, in channels-last layout.

    PyTorch resizes bytes in that layout five times as fast as Pillow.
    """
    size = (height, width)
    return OF_BYTES.run(lambda: _by_pytorch(rgb, size, mode), lambda: _by_pillow(rgb, size, mode))


def _by_pytorch(rgb: RGB, size: tuple[int, int], mode: str) -> torch.Tensor:
    batch = torch.from_numpy(_Borrowed.of(rgb))[None].permute(0, 3, 1, 2)
    return F.interpolate(batch, size, mode=mode, antialias=True)


def _by_pillow(rgb: RGB, size: tuple[int, int], mode: str) -> torch.Tensor:
    resample = Image.Resampling[mode.upper()]
    small = bands.to_array(bands.resized(rgb, (size[1], size[0]), resample))
    return torch.from_numpy(small)[None].permute(0, 3, 1, 2)


def _trial() -> bool:
    """PyTorch and Pillow differ by a level or two."""
    rgb = (np.arange(29 * 37 * 3) * 7 % 251).astype(np.uint8).reshape(29, 37, 3)
    with torch.autocast("cpu", enabled=False):
        pairs = [
            [by(rgb, (11, 20), mode).int() for by in (_by_pytorch, _by_pillow)] for mode in MODES
        ]
    return all(a.shape == b.shape and int((a - b).abs().max()) <= 3 for a, b in pairs)


MODES = ("bilinear", "bicubic")
OF_BYTES = OwnWay("PyTorch's resize of bytes", _trial)


class _Borrowed:
    """Pixels that PyTorch only reads. It warns about read-only arrays, such as shared ones, and a
    copy of a large picture is 150 MB."""

    def __init__(self, rgb: RGB) -> None:
        rgb = np.ascontiguousarray(rgb)
        self._rgb = rgb  # keeps it alive as long as the view
        place, _ = rgb.__array_interface__["data"]
        self.__array_interface__ = {**rgb.__array_interface__, "data": (place, False)}

    @classmethod
    def of(cls, rgb: RGB) -> RGB:
        """A view of `rgb` that claims to be writable; do not write to it."""
        return np.asarray(cls(rgb))


def _nearest(side: int, wanted: int) -> NDArray[np.intp]:
    """For each of `wanted` pixels, the pixel of `side` under its centre."""
    return ((np.arange(wanted) + 0.5) * side / wanted).astype(np.intp)


def pad_to_multiple(batch: torch.Tensor, multiple: int, minimum: int = 0) -> torch.Tensor:
    """Pad right and bottom so that both sides are multiples of `multiple`, at least `minimum`.

    Reflects the picture if it is large enough, else repeats the border.
    """
    h, w = batch.shape[-2:]
    right = -(-max(w, minimum) // multiple) * multiple - w
    bottom = -(-max(h, minimum) // multiple) * multiple - h
    if not right and not bottom:
        return batch
    mode = "reflect" if right < w and bottom < h else "replicate"
    return F.pad(batch, (0, right, 0, bottom), mode=mode)
