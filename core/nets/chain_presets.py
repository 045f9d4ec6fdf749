"""The chains of well-known networks, as data; a test compares them with the networks themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import InputError
from core.nets.chains import Kind, Step

# `c3s2p1d2`: a convolution of 3 x 3 with stride 2, padding 1 and dilation 2; left out are stride 1,
# dilation 1 and the padding that keeps the size. `m` is a pool, `m…u` one that counts the last,
# incomplete window, `ps` TensorFlow's padding, and `a` attention over all positions.
KINDS: dict[str, Kind] = {"c": "conv", "m": "pool", "a": "attention"}
_TOKEN = re.compile(r"([cma])(\d*)((?:[sd]\d+|p(?:\d+|s))*)(u?)")
_PART = re.compile(r"([sd])(\d+)|(p)(\d+|s)")
_INCEPTION = "c3"  # the widest of its branches


@dataclass(frozen=True, slots=True)
class Preset:
    """A network of the calculator: its chain for pictures of `side` pixels, and one sentence."""

    key: str
    title: str
    side: int
    steps: tuple[Step, ...]
    about: str


def parsed(text: str) -> tuple[Step, ...]:
    """The steps of a chain in the notation above, numbered by kind.

    Raises:
        InputError: a word is none of the notation.
    """
    steps: list[Step] = []
    counts: dict[str, int] = {}
    for word in text.split():
        match = _TOKEN.fullmatch(word)
        if match is None or (match[1] != "a" and not match[2]):
            raise InputError(f"{word[:20]} is no layer; write for example c3, c7s2 or m2s2.")
        letter, kernel, parts, ceil = match.groups()
        given = {a or c: b or d for a, b, c, d in _PART.findall(parts)}
        counts[letter] = counts.get(letter, 0) + 1
        kind = KINDS[letter]
        k, d, padding = int(kernel or 0), int(given.get("d", 1)), given.get("p")
        same = (k - 1) * d // 2 if letter == "c" else 0
        pad = None if padding == "s" else int(padding) if padding else same
        name, stride = f"{kind}{counts[letter]}", int(given.get("s", 1))
        steps.append(Step(name, k, stride, d, pad, kind, bool(ceil)))
    return tuple(steps)


def _residual(counts: Sequence[int], first_stride: bool) -> str:
    """The 3 x 3 convolutions of a ResNet's bottlenecks.

    `first_stride`: the 1 x 1 convolution in front of a stage's first 3 x 3 steps, not that itself.
    """
    words = []
    for stage, count in enumerate(counts):
        if stage and first_stride:
            words += ["c1s2", *["c3"] * count]
        else:
            words += ["c3s2" if stage else "c3", *["c3"] * (count - 1)]
    return " ".join(words)


PRESETS: tuple[Preset, ...] = (
    Preset("lenet5", "LeNet-5", 32, parsed("c5p0 m2s2 c5p0 m2s2 c5p0"),
        "LeCun et al., 1998. The last convolution sees the whole digit of 32 x 32 pixels."),
    Preset("alexnet", "AlexNet", 224, parsed("c11s4p2 m3s2 c5 m3s2 c3 c3 c3 m3s2"),
        "Krizhevsky et al., 2012, in the form of torchvision. One large step at the beginning."),
    Preset("vgg16", "VGG-16", 224, parsed("c3 c3 m2s2 c3 c3 m2s2" + 3 * " c3 c3 c3 m2s2"),
        "Simonyan and Zisserman, 2014. Small kernels only: two of 3 x 3 see as far as one of 5."),
    Preset("googlenet", "GoogLeNet", 224, parsed(
        f"c7s2 m3s2u c3 m3s2u {_INCEPTION} {_INCEPTION} m3s2u"
        + f" {_INCEPTION}" * 5 + f" m2s2u {_INCEPTION} {_INCEPTION}"),
        "Szegedy et al., 2014, in the form of torchvision, whose widest branch has 3 x 3 instead "
        "of the paper's 5 x 5."),
    Preset("resnet50", "ResNet-50", 224,
        parsed("c7s2 m3s2p1 " + _residual((3, 4, 6, 3), first_stride=False)),
        "He et al., 2015, as in timm and torchvision, where the 3 x 3 convolutions step: 427. As "
        "published, with steps in the 1 x 1 before them, it is 483."),
    Preset("resnet50-2015", "ResNet-50 as published", 224,
        parsed("c7s2 m3s2p1 " + _residual((3, 4, 6, 3), first_stride=True)),
        "He et al., 2015: the 1 x 1 convolution at the start of a stage steps. The published field "
        "of 483 pixels belongs to it."),
    Preset("efficientnet-lite0", "EfficientNet-Lite0", 224, parsed(
        "c3s2ps c3 c3s2ps c3 c5s2ps c5 c3s2ps c3 c3 c5 c5 c5 c5s2ps c5 c5 c5 c3"),
        "Tan and Le, 2019. Depthwise kernels of 3 x 3 and 5 x 5 are cheap, so there are many."),
    Preset("vit", "ViT, patches of 16", 224, parsed("c16s16p0" + 12 * " a"),
        "Dosovitskiy et al., 2021. A patch sees 16 pixels; after one block of attention, all."),
)  # fmt: skip


def preset(key: str) -> Preset:
    """The preset of that key.

    Raises:
        InputError: there is none.
    """
    for one in PRESETS:
        if one.key == key:
            return one
    known = ", ".join(one.key for one in PRESETS)
    raise InputError(f"There is no chain called {str(key)[:40]}; choose one of {known}.")
