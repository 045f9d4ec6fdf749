"""Image classification through timm: Vision Transformers (Dosovitskiy et al., 2021), a CNN, and a
hybrid that reads the maps of that CNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from core import checks, images
from core.checkpoints import by_key
from core.errors import InputError
from core.nets import heads, transforms, trunk, whole
from core.nets.classifiers import build as _build
from core.nets.heads import Maps
from core.nets.trunk import Classifier
from core.serving import runtime
from core.sources.resolver import Progress
from core.types import Classification, RunInfo

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """The logits of one picture, `values` (K,) float64, and the names of the K classes."""

    labels: tuple[str, ...]
    values: NDArray[np.float64]
    info: RunInfo

    def find(self, label: str) -> int:
        """The number of a class by its name.

        Raises:
            InputError: the model does not know it.
        """
        return number_of(self.labels, label)


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What `inside` found: tensors (1, …) on the CPU, facts about the model, and the part of the
    picture that it saw, (x1, y1, x2, y2) in pixels."""

    tensors: tuple[torch.Tensor, ...]
    facts: Any
    seen: tuple[float, float, float, float]
    info: RunInfo


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """The answers to several pictures of one pass: `probabilities` (B, K) of the K `labels`."""

    labels: tuple[str, ...]
    probabilities: NDArray[np.float64]
    info: RunInfo


def predict(
    image: images.ImageLike,
    checkpoint: str = "auto",
    top_k: int = 5,
    temperature: float = 1.0,
    progress: Progress | None = None,
) -> Classification:
    """The `top_k` most probable classes of one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, or "auto".
        top_k: 1 or more; values above the number of classes return all of them.
        temperature: divides the logits before the softmax, 0.05 to 100; above 1 is flatter.
        progress: called during a download with (fraction, message).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    top_k = checks.whole(top_k, "The number of classes (top_k)", low=1)
    temperature = checks.number(temperature, "The temperature", 0.05, 100)

    def best(run: runtime.Run[Classifier], logits: NDArray[np.float64]) -> Classification:
        scores = softmax(logits / temperature)
        order = np.argsort(-scores, kind="stable")[:top_k]
        names = tuple(run.extra.labels[i] for i in order)
        doubt = _doubt(run, float(softmax(logits).max()))
        return Classification(names, scores[order].astype(np.float32), run.info(), doubt)

    return _answered(image, checkpoint, progress, best)


def logits(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Logits:
    """What the last layer gives each class, of which `predict` makes probabilities.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    return _answered(
        image,
        checkpoint,
        progress,
        lambda run, values: Logits(run.extra.labels, values, run.info()),
    )


def _answered(
    image: images.ImageLike,
    checkpoint: str,
    progress: Progress | None,
    answer: Callable[[runtime.Run[Classifier], NDArray[np.float64]], T],
) -> T:
    """`answer` on a picture's (K,) logits, which are kept in the output store."""
    _refuse_features(checkpoint)
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    maps = Maps(picture.pixels, progress)

    def request() -> T:
        with runtime.run("classify", checkpoint, _build, progress) as run:
            values = run.output(
                ("logits", picture.digest), lambda: _logits(run, picture.pixels(), maps)
            )
            maps.note(run)
            return answer(run, values)

    return maps.serve(request)


def classes(checkpoint: str = "auto", progress: Progress | None = None) -> tuple[str, ...]:
    """The names of all classes that a checkpoint knows, in its own order.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    _refuse_features(checkpoint)
    with runtime.run("classify", checkpoint, _build, progress) as run:
        return run.extra.labels


def together(
    pictures: Sequence[images.RGB], checkpoint: str = "auto", progress: Progress | None = None
) -> Together:
    """Classify several pictures in one forward pass; the same pictures again cost none.

    Args:
        pictures: (H, W, 3) uint8 each, of any size.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    if not pictures:
        raise InputError("Give at least one picture.")
    _refuse_features(checkpoint)
    for rgb in pictures:
        transforms.refuse_narrow(*rgb.shape[:2])
    maps = heads.ManyMaps(pictures, progress)

    def request() -> Together:
        with runtime.run("classify", checkpoint, _build, progress) as run:
            logits = run.output(("together", maps.digests), lambda: _many_logits(run, maps))
            return Together(run.extra.labels, softmax(logits, axis=1), run.info())

    return maps.serve(request)


def _refuse_features(checkpoint: str) -> None:
    known = by_key(checkpoint) if isinstance(checkpoint, str) else None
    if known is not None and known.features:
        raise InputError(f"{known.title} has no classes, only features; choose a classifier.")


def _many_logits(run: runtime.Run[Classifier], maps: heads.ManyMaps) -> NDArray[np.float64]:
    """(B, K) logits of several pictures in one pass."""
    view = run.extra.view
    given: tuple[torch.Tensor, ...]
    with run.watch.stage("prepare"):
        if view is not None:
            given = (maps.of(view), maps.of(trunk.CLASSES).mean((2, 3)))
        else:
            prepare = run.extra.transform or trunk.transform(trunk.CLASSES)
            given = (torch.cat([prepare(rgb) for rgb in maps.pictures]),)

    def passed() -> torch.Tensor:
        with run.autocast():
            found: torch.Tensor = run.model(*(x.to(runtime.device()) for x in given))
        return found.float().cpu()

    with run.watch.stage("forward"):
        values = runtime.forward(passed, full_precision=True).double().numpy()
    if not np.all(np.isfinite(values)):
        raise checks.not_numbers()
    return values


def _doubt(run: runtime.Run[Classifier], best: float) -> str:
    """A sentence if the best probability, at temperature 1, is that of a picture of none of the
    classes."""
    if best >= run.lease.resolved.checkpoint.unsure:
        return ""
    count = len(run.extra.labels)
    return (
        f"This is probably none of the {count:,} classes that the model knows: even the best gets "
        f"only {best:.0%}."
    )


def inside(
    image: images.ImageLike,
    checkpoint: str,
    name: str,
    compute: Callable[..., tuple[torch.Tensor, ...]],
    facts: Callable[[Any], Any],
    progress: Progress | None = None,
) -> Inside:
    """What happens inside a classifier on one picture, computed once and kept under `name`.

    Args:
        name: of the result in the output store; one for each `compute`.
        compute: from the model and its inputs (B, …) to tensors (B, …); it leaves no hook behind.
        facts: about the model; asked first, it may refuse the model with an error.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    maps = Maps(picture.pixels, progress)

    def request() -> Inside:
        with runtime.run("classify", checkpoint, _build, progress) as run:
            module, crop = run.model, run.extra.crop
            known = facts(module)

            def passed() -> tuple[torch.Tensor, ...]:
                given = _inputs(run, picture.pixels(), maps)
                with run.watch.stage("forward"):
                    return run.batched(lambda *x: compute(module, *x), *given, same=name)

            tensors = run.output((name, picture.digest), passed)
            maps.note(run)
            return Inside(tensors, known, transforms.seen(picture.size, crop), run.info())

    return maps.serve(request)


def through(
    image: images.ImageLike,
    checkpoint: str,
    name: str,
    compute: Callable[..., tuple[torch.Tensor, ...]],
    facts: Callable[[whole.Network], Any],
    progress: Progress | None = None,
) -> Inside:
    """As `inside`, but of the whole network from the pixels on, also where a trunk is a part of it.

    Args:
        name: of the result in the output store; one for each `compute`.
        compute: from the network and pictures (B, 3, s, s) to tensors (B, …); no hook stays.
        facts: about the network; asked first, it may refuse it with an error.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    with (
        runtime.run("classify", checkpoint, _build, progress) as run,
        whole.of(run, progress) as network,
    ):
        known = facts(network)

        def passed() -> tuple[torch.Tensor, ...]:
            with run.watch.stage("prepare"):
                given = network.inputs(picture.pixels())
            with run.watch.stage("forward"):
                return run.batched(lambda *x: compute(network.module, *x), *given, same=name)

        tensors = run.output((name, picture.digest), passed)
        return Inside(tensors, known, transforms.seen(picture.size, network.crop), run.info())


def of_model(
    checkpoint: str, ask: Callable[[Any], T], progress: Progress | None = None
) -> tuple[T, float | None, RunInfo]:
    """What the weights of a classifier say without a picture.

    Args:
        ask: gets the model, which it must not change; it may refuse the model with an error.

    Returns:
        Its answer; the side of the middle square that the model sees as a share of the shorter side
        of a picture, None for all of it; and how the model was had.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("classify", checkpoint, _build, progress) as run:
        return ask(run.model), run.extra.crop, run.info()


def number_of(labels: tuple[str, ...], label: str) -> int:
    """The number of a class by its name, in capitals or not.

    Raises:
        InputError: there is none of that name.
    """
    if not isinstance(label, str) or not label.strip():
        raise InputError("Name a class, such as the best one.")
    wanted = label.strip().casefold()
    for i, name in enumerate(labels):
        if name.casefold() == wanted:
            return i
    close = [name for name in labels if wanted in name.casefold()][:3]
    hint = f"; did you mean {' or '.join(close)}?" if close else "; choose one that it lists."
    raise InputError(f"The model knows no class {label.strip()[:60]!r}{hint}")


def _logits(run: runtime.Run[Classifier], rgb: images.RGB, maps: Maps) -> NDArray[np.float64]:
    if run.lease.resolved.checkpoint.loader == "trunk":
        logits = trunk.logits(run, trunk.features(run, rgb))  # (1, K)
    else:
        given = _inputs(run, rgb, maps)
        with run.watch.stage("forward"):
            (logits,) = run.batched(lambda *x: (run.model(*x),), *given)  # (1, K)
    values = logits[0].double().numpy()
    if not np.all(np.isfinite(values)):
        raise checks.not_numbers()
    return values


def _inputs(run: runtime.Run[Classifier], rgb: images.RGB, maps: Maps) -> tuple[torch.Tensor, ...]:
    """What the model takes: the picture (1, 3, s, s), or for a head the trunk's last map
    (1, 1280, r, r) and the mean (1, 1280) of another view."""
    view = run.extra.view
    if view is not None:
        return maps.of(run, view).head, maps.of(run, trunk.CLASSES).head.mean((2, 3))
    with run.watch.stage("prepare"):
        assert run.extra.transform is not None  # only heads have none
        return (run.extra.transform(rgb),)
