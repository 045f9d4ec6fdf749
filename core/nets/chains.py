"""Receptive fields by arithmetic: the chain of convolutions and pools of a network, and how large a
part of the picture a unit after each of them sees.

With kernel k, stride s and dilation d, a unit of the next layer sees (k - 1) d steps of the last
one more, and its neighbour begins s steps further on. Measured in pixels (Araujo et al., "Computing
Receptive Fields of Convolutional Neural Networks", Distill, 2019):

    field += (k - 1) d jump        start += ((k - 1) d / 2 - padding) jump        jump *= s
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from core import checks
from core.errors import InputError

Kind = Literal["conv", "pool", "attention"]
MOST_STEPS = 200
LARGEST_SIDE = 4096


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain.

    `padding` is what is added on each side; None pads as TensorFlow's "same" does, by what the
    size needs. With `ceil` the last, incomplete window counts. After "attention" a unit sees
    everything, and the other numbers mean nothing.
    """

    name: str
    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int | None = 0
    kind: Kind = "conv"
    ceil: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """What a unit after a step sees: a square of `size` pixels; inf is the whole picture.

    `jump` is the distance of two neighbours in pixels, `start` the middle of the first unit's
    field, and `units` the length of a side of the map.
    """

    name: str
    size: float
    jump: int
    start: float
    units: int

    def box(self, row: int, column: int, side: int) -> tuple[float, float, float, float]:
        """(x1, y1, x2, y2) in pixels of a picture of `side` pixels, cut at its border."""
        if math.isinf(self.size):
            return 0.0, 0.0, float(side), float(side)
        x, y = (self.start + place * self.jump for place in (column, row))
        half = self.size / 2
        x1, y1, x2, y2 = (min(max(v, 0.0), side) for v in (x - half, y - half, x + half, y + half))
        return x1, y1, x2, y2


def fields(steps: Sequence[Step], side: int) -> tuple[Field, ...]:
    """The field after each step, for a picture of `side` x `side` pixels.

    Raises:
        InputError: a number is out of range, or the picture is smaller than a kernel.
    """
    side = checks.whole(side, "The side of the picture", low=1, high=LARGEST_SIDE)
    if len(steps) > MOST_STEPS:
        raise InputError(f"A chain can have at most {MOST_STEPS} layers.")
    found: list[Field] = []
    size, jump, start, units = 1.0, 1, 0.5, side
    for number, step in enumerate(steps, 1):
        if step.kind == "attention":
            size = math.inf
            found.append(Field(step.name, size, jump, start, units))
            continue
        kernel, stride, dilation, padding = _checked(step, number)
        reach = (kernel - 1) * dilation
        if padding is None:
            wanted = -(-units // stride)
            total = max((wanted - 1) * stride + reach + 1 - units, 0)
            before, left = total // 2, total
        else:
            before, left = padding, 2 * padding
        rounded = math.ceil if step.ceil else math.floor
        count = rounded((units + left - reach - 1) / stride) + 1
        if step.ceil and (count - 1) * stride >= units + before:
            count -= 1  # PyTorch drops a window that would begin in the padding
        if count < 1:
            raise InputError(
                f"Layer {number} ({step.name}) needs {reach + 1} positions, but only "
                f"{units} are left; make the picture larger or the chain shorter."
            )
        size += reach * jump
        start += (reach / 2 - before) * jump
        jump *= stride
        units = count
        found.append(Field(step.name, size, jump, start, units))
    return tuple(found)


def _checked(step: Step, number: int) -> tuple[int, int, int, int | None]:
    of = f"of layer {number}"
    kernel = checks.whole(step.kernel, f"The kernel {of}", low=1, high=64)
    stride = checks.whole(step.stride, f"The stride {of}", low=1, high=32)
    dilation = checks.whole(step.dilation, f"The dilation {of}", low=1, high=32)
    padding = step.padding
    if padding is not None:
        padding = checks.whole(padding, f"The padding {of}", low=0, high=512)
    return kernel, stride, dilation, padding


# ---- chains of real networks
_SIDE_WAYS = {
    "se", "downsample", "shortcut", "aux1", "aux2", "avgpool", "global_pool", "classifier", "fc",
    "pre_logits", "head",
}  # fmt: skip
_KNOWN = {"AlexNet", "VGG", "ResNet", "GoogLeNet", "EfficientNet", "MobileNetV3", "LeNet"}
_SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def chain_of(model: nn.Module) -> tuple[Step, ...] | None:
    """The longest chain of a network; None for an architecture whose paths are not known here.

    Layers that neither see further nor step, such as 1 x 1 convolutions, are left out. What looks
    at the whole picture on a side way (squeeze-and-excitation) is not a part of the chain;
    `looks_aside` tells of it.
    """
    kind = type(model).__name__
    if kind == "Joined":
        base, head = (chain_of(getattr(model, part)) for part in ("trunk", "head"))
        if base is None or head is None:
            return None
        return (*_named("trunk.", base), *_named("head.", head))
    if hasattr(model, "patch_embed") and hasattr(model, "blocks"):
        return _of_transformer(model)
    return tuple(_steps(model)) if kind in _KNOWN else None


def looks_aside(model: nn.Module) -> bool:
    """Whether a squeeze-and-excitation layer lets every unit see a mean of the whole picture."""
    return any(
        name.rpartition(".")[2] == "se" and not isinstance(module, nn.Identity)
        for name, module in model.named_modules()
    )


def _named(prefix: str, steps: Sequence[Step]) -> list[Step]:
    return [
        Step(
            prefix + s.name, s.kernel, s.stride, s.dilation, s.padding, s.kind, s.ceil
        )
        for s in steps
    ]  # fmt: skip


def _of_transformer(model: Any) -> tuple[Step, ...] | None:
    """Patches, then attention. Windows (Swin) are no part of this arithmetic."""
    if not all(hasattr(block, "attn") for block in model.blocks):
        return None
    # A stem of convolutions counts layer by layer, positions one by one.
    found = list(_steps(model.patch_embed, "patch_embed."))
    count = len(model.blocks)
    return (*found, *(Step(f"blocks.{i}", 0, kind="attention") for i in range(count)))


def _steps(model: nn.Module, prefix: str = "") -> Iterator[Step]:
    narrow = _narrow_branches(model)
    for name, module in model.named_modules():
        parts = name.split(".")
        if _SIDE_WAYS & set(parts) or name.startswith(narrow):
            continue
        if isinstance(module, _SPATIAL):
            step = _step(prefix + name, module)
            if step.kernel > 1 or step.stride > 1:
                yield step


def _narrow_branches(model: nn.Module) -> tuple[str, ...]:
    """The branches of Inception modules that see less than another branch of the same module."""
    found: list[str] = []
    for name, module in model.named_modules():
        if type(module).__name__ != "Inception":
            continue
        reach = {
            branch: sum(s.kernel - 1 for s in _steps(part))
            for branch, part in module.named_children()
        }
        widest = max(reach, key=lambda branch: reach[branch])
        found += [f"{name}.{branch}." for branch in reach if branch != widest]
        found += [f"{name}.{branch}" for branch in reach if branch != widest]
    return tuple(found)


def _step(name: str, module: Any) -> Step:
    def one(value: Any) -> int:
        return int(value[0] if isinstance(value, tuple) else value)

    padding: int | None = one(module.padding) if not isinstance(module.padding, str) else None
    if type(module).__name__ in ("Conv2dSame", "MaxPool2dSame", "AvgPool2dSame"):
        padding = None
    is_pool = not isinstance(module, nn.Conv2d)
    dilation = 1 if isinstance(module, nn.AvgPool2d) else one(module.dilation)
    return Step(
        name,
        one(module.kernel_size),
        one(module.stride),
        dilation,
        padding,
        "pool" if is_pool else "conv",
        bool(is_pool and module.ceil_mode),
    )
