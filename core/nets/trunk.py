"""EfficientNet-Lite0: a classifier, and the feature maps that other networks begin with.

The weights come from an installed package under the names of its own implementation; here they go
into timm's `tf_efficientnet_lite0`. The maps of a picture are a value in the output store: whoever
reads them second, another tab for example, runs no convolution.
Source: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
2019, in the Lite variant (no squeeze-and-excitation, ReLU6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from core import checks, images
from core.errors import CheckpointError, HubError
from core.nets import transforms
from core.nets.timed import timed
from core.serving import devices, runtime
from core.serving.runtime import Built, Run
from core.sources import resolver, state_dicts
from core.sources.resolver import Progress, Resolved
from core.sources.state_dicts import StateDict
from core.types import RunInfo

KEY = "efficientnet-lite0"
MEAN = STD = (0.5, 0.5, 0.5)
CHANNELS = (40, 112, 320, 1280)  # of the four maps in `Features`
_BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # in each stage
_STAGES = [2, 3, 4]  # those of timm's five that end at stride 8, 16 and 32
_SIDES = (32, 2048)

# Layers of the package and their names in timm: outside of the blocks, in the block of the first
# stage, which does not expand its channels, and in all others.
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# The only two classes of ImageNet with one name.
_CRANES = {134: "crane (bird)", 517: "crane (machine)"}


@dataclass(frozen=True, slots=True)
class View:
    """What of a picture the trunk sees: a square of `size` pixels (32 to 2048).

    `crop`: the middle square whose side is that share of the shorter side, resized bicubically;
    None: the whole picture, stretched to the square. `dilated`: the last stages keep the resolution
    of stride 16, with dilated convolutions; four times as many positions for a third more time.

    Raises:
        ValueError: out of range.
    """

    size: int = 224
    crop: float | None = 0.875
    dilated: bool = False

    def __post_init__(self) -> None:
        if not _SIDES[0] <= self.size <= _SIDES[1]:
            raise ValueError(f"size {self.size}, expected {_SIDES[0]} to {_SIDES[1]}")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise ValueError(f"crop {self.crop}, expected 0 to 1")


CLASSES = View()  # with which the published score was measured


@dataclass(frozen=True, slots=True)
class Classifier:
    """What a classifier needs beside its network.

    `labels` are its classes in their order. `transform` makes (1, 3, s, s) of (H, W, 3) uint8, and
    sees the middle square whose side is the share `crop` of the shorter side (None: all of the
    picture). A head on the trunk has a `view` instead; `dilated` is the trunk's second form.
    """

    labels: tuple[str, ...]
    crop: float | None
    transform: Callable[[images.RGB], torch.Tensor] | None = None
    view: View | None = None
    dilated: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Maps of one picture, float32 on the CPU; nobody may write into them.

    For a view of s pixels, with r(k) = ceil(s / k): `stride8` (1, 40, r(8), r(8)), `stride16`
    (1, 112, r(16), r(16)), `stride32` (1, 320, r(32), r(32)) as the stages give them, and `head`
    (1, 1280, r(32), r(32)) in 0..6, the mean of whose positions the class layer reads. Of a dilated
    view the last two have r(16) positions a side.
    """

    stride8: torch.Tensor
    stride16: torch.Tensor
    stride32: torch.Tensor
    head: torch.Tensor
    seconds: float = 0.0  # of the pass that made them

    @property
    def nbytes(self) -> int:
        """Bytes of all four."""
        return sum(x.nbytes for x in (self.stride8, self.stride16, self.stride32, self.head))


def features(run: Run[Classifier], rgb: images.RGB, view: View = CLASSES) -> Features:
    """The maps of one picture, computed once per weight file, precision, view and pixels.

    `run.cache["features"]` says whether they were there already.

    Args:
        run: a request on the trunk, as `read` makes it.
        rgb: (H, W, 3) uint8.

    Raises:
        InputError: the picture is too narrow.
        CheckpointError: the weights give no numbers.
    """
    transforms.refuse_narrow(*rgb.shape[:2])

    def compute() -> Features:
        with run.watch.stage("prepare"):
            x = transform(view)(rgb)  # (1, 3, s, s)
        with run.watch.stage("encode"):
            module = run.extra.dilated if view.dilated else run.model
            passed = timed(lambda batch: _maps(module, batch))
            out = run.batched(passed, x, same=("maps", view.dilated))
        maps = out[:-1]
        if not all(bool(torch.isfinite(part).all()) for part in maps):
            raise checks.not_numbers()
        eight, sixteen, last, head = (part.float() for part in maps)
        return Features(eight, sixteen, last, head, float(out[-1]))

    return run.output(("features", view, images.digest(rgb)), compute, "features")


def read(rgb: images.RGB, view: View, progress: Progress | None = None) -> tuple[Features, RunInfo]:
    """The maps of one picture for a network that begins with them, and how they were had.

    Call it before leasing that network's own model: no model is held while another is loaded.

    Raises:
        CheckpointError: the trunk is not installed or its file is of no use.
        InputError, OutOfMemory: as `features` and `runtime.run`.
    """
    with leased(progress) as run:
        return features(run, rgb, view), run.info()


@contextmanager
def leased(progress: Progress | None = None) -> Iterator[Run[Classifier]]:
    """A request on the trunk itself.

    Raises:
        CheckpointError: the trunk is not installed or its file is of no use.
        OutOfMemory: there is no room for it.
    """
    try:
        with runtime.run("classify", KEY, _build_trunk, progress) as run:
            _refuse_other(run.lease.resolved)
            yield run
    except NoTrunk as error:
        raise CheckpointError(str(error)) from error


def last_maps(
    batches: Iterable[torch.Tensor], progress: Progress | None = None
) -> Iterator[torch.Tensor]:
    """The last map (n, 1280, r, r) of each batch (n, 3, s, s) from `transform`; none is kept.

    Raises:
        CheckpointError, OutOfMemory: as `read`.
    """
    with leased(progress) as run:
        for batch in batches:
            yield runtime.forward(partial(_last_map, run.model, batch), True, long=True)


def maps_together(
    pictures: Sequence[images.RGB], view: View, progress: Progress | None = None
) -> torch.Tensor:
    """(B, 1280, r, r), the `head` of `Features` of several pictures in one pass; nothing is kept.

    Raises:
        CheckpointError, InputError, OutOfMemory: as `read`.
    """
    x = torch.cat([transform(view)(rgb) for rgb in pictures])  # (B, 3, s, s)
    with leased(progress) as run:
        module = run.extra.dilated if view.dilated else run.model

        def passed() -> torch.Tensor:
            with run.autocast():
                return _last_map(module, x)

        return runtime.forward(passed, full_precision=True)


def _last_map(module: Any, batch: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = module.forward_features(batch.to(devices.device()))
    return found.float().cpu()


def logits(run: Run[Classifier], maps: Features) -> torch.Tensor:
    """(1, K) of the trunk's own class layer, on the CPU."""
    module = run.model
    with run.watch.stage("forward"):
        (found,) = run.batched(lambda head: (module.forward_head(head),), maps.head, same="classes")
    return found


def build(resolved: Resolved) -> Built[Classifier]:
    """timm's network with the weights of the package, and the names of its classes.

    Raises:
        CheckpointError: the weights do not fit.
    """
    import timm

    with torch.device("meta"):
        model = timm.create_model(resolved.checkpoint.arch)
    name = resolved.path.name
    state_dicts.assign(model, renamed(state_dicts.read(resolved.path), name), name)
    seen = transform(CLASSES)
    return Built(model, Classifier(imagenet_names(), CLASSES.crop, seen, dilated=dilated(model)))


def dilated(model: Any) -> Any:
    """The same network with its last two stages at stride 16 instead of 32.

    It shares the weights: wherever those of `model` go, its own go too.
    """
    import timm

    with torch.device("meta"):
        twin = timm.create_model(model.pretrained_cfg["architecture"], output_stride=16)
    for name, layer in twin.named_modules():
        original = model.get_submodule(name)
        layer._parameters, layer._buffers = original._parameters, original._buffers
    return twin.eval()


def class_layer() -> StateDict:
    """`weight` (1000, 1280) and `bias` (1000,) of the trunk's class layer, for a head to share.

    Raises:
        NoTrunk: it is not installed, or its file is of no use.
    """
    try:
        resolved = resolver.resolve(KEY, "classify")
        _refuse_other(resolved)
        state = renamed(state_dicts.read(resolved.path), resolved.path.name)
    except CheckpointError as error:
        raise NoTrunk(str(error)) from error
    return {leaf: state[f"classifier.{leaf}"] for leaf in ("weight", "bias")}


class NoTrunk(HubError):
    """The trunk is missing. No CheckpointError, since the file of a head is not to blame for it."""


def _refuse_other(resolved: Resolved) -> None:
    if resolved.checkpoint.loader != "trunk":
        why = resolved.note.removesuffix(f" {resolved.checkpoint.title} answered instead.")
        raise NoTrunk(why)


def _build_trunk(resolved: Resolved) -> Built[Classifier]:
    _refuse_other(resolved)
    return build(resolved)


def imagenet_names() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet-1k in the usual order, each name once."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    names = (info.index_to_description(i) for i in range(info.num_classes()))
    return tuple(_CRANES.get(i, name) for i, name in enumerate(names))


def layer_names() -> dict[str, str]:
    """Each layer of the package's network and its name in timm's, such as
    `_blocks.1._expand_conv` and `blocks.1.0.conv_pw`."""
    names = dict(_OUTSIDE)
    places = [(stage, i) for stage, count in enumerate(_BLOCKS) for i in range(count)]
    for number, (stage, i) in enumerate(places):
        for theirs, timms in (_OTHERS if stage else _FIRST).items():
            names[f"_blocks.{number}.{theirs}"] = f"blocks.{stage}.{i}.{timms}"
    return names


def renamed(state: StateDict, name: str) -> StateDict:
    """The package's weights under timm's names.

    Raises:
        CheckpointError: `state` has layers that the package's network does not have.
    """
    layers = layer_names()
    parts = {key: key.rpartition(".") for key in state}
    unknown = [key for key, (layer, _, _) in parts.items() if layer not in layers]
    state_dicts.refuse_mismatch(name, [], unknown)
    return {f"{layers[layer]}.{leaf}": state[key] for key, (layer, _, leaf) in parts.items()}


def _maps(module: Any, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
    head, stages = module.forward_intermediates(batch, indices=_STAGES)
    return (*stages, head)


@lru_cache(maxsize=16)
def transform(view: View) -> Callable[[images.RGB], torch.Tensor]:
    """What makes (1, 3, size, size) float32 in -1..1, the trunk's input, of (H, W, 3) uint8."""
    if view.crop is None:
        return transforms.square_transform(view.size, MEAN, STD)
    return transforms.timm_transform(
        {
            "input_size": (3, view.size, view.size),
            "mean": MEAN,
            "std": STD,
            "crop_pct": view.crop,
            "interpolation": "bicubic",
        }
    )
