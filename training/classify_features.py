"""What the classify recipe learns from: maps and answers of EfficientNet-Lite0, computed once.

The trunk is frozen, so a picture passes it once for every view that training takes of it: a square
of `VIEW` pixels somewhere in the picture, as bytes. The teacher's answer is the trunk's at its
published view, the middle of the same picture. Both are memory-mapped below `<data>/.cache`; a
run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from core.nets import transforms, trunk
from core.sources import resolver
from training.restore_data import picture_files

log = logging.getLogger("training")

VIEW = trunk.View(352, 0.95)  # 11 x 11 positions; what the app gives to the hybrid
CHANNELS, GRID = 1280, 11
TOP = 6.0  # of the trunk's last ReLU6
FOLDERS = ("imagenette", "voc", "caltech101", "flower_photos", "bsds500")
HELD_OUT = "ILSVRC2012_val"  # in a file's name: ImageNet's validation pictures, only measured on
NAMED_EACH = 8
CLOSEST = 0.7  # smallest side of a view, of the picture's shorter side
_BATCH = 8
_SAVED = 25  # batches between two notes of how far it is


@dataclass(frozen=True)
class Views:
    """N views. `maps` (N, 1280, 11, 11) uint8, `TOP` = 255; `answers` (N, 1000) float16 logits;
    `labels` (N,) int64 classes of ImageNet, -1 where the picture has none."""

    maps: NDArray[np.uint8]
    answers: NDArray[np.float16]
    labels: NDArray[np.int64]


def training_files(data: Path) -> list[Path]:
    """The photographs that training may see, without held-out ones.

    Raises:
        SystemExit: none of the folders exists.
    """
    files = [p for name in FOLDERS for p in picture_files(data / name)]
    kept = [p for p in files if HELD_OUT not in p.name and "bsds500/images/val" not in p.as_posix()]
    if not kept:
        raise SystemExit(f"No pictures below {data}: see training/DATA.md.")
    return kept


def held_out_files(data: Path) -> list[Path]:
    """ImageNet's validation pictures among those of Imagenette."""
    return sorted((data / "imagenette").rglob(f"{HELD_OUT}*"))


def named_files(data: Path, learned: set[Path]) -> tuple[list[Path], NDArray[np.int64]]:
    """Pictures of Caltech-101 whose folder has the name of an ImageNet class, and that class.

    At most `NAMED_EACH` of a folder, none of which has been `learned`.
    """
    number = {name.lower().split(",")[0]: i for i, name in enumerate(trunk.imagenet_names())}
    files, classes = list[Path](), list[int]()
    for folder in sorted((data / "caltech101/101_ObjectCategories").glob("*")):
        known = number.get(folder.name.lower().replace("_", " "))
        if known is not None:
            found = [p for p in sorted(folder.glob("*.jpg")) if p not in learned][:NAMED_EACH]
            files += found
            classes += [known] * len(found)
    return files, np.array(classes, dtype=np.int64)


def sample_files(data: Path) -> list[Path]:
    """One photograph of each of the 1,000 classes, in their order."""
    files = sorted((data / "imagenet_sample").glob("n*.JPEG"))
    if len(files) != len(wordnet_ids()):
        raise SystemExit(f"No pictures in {data / 'imagenet_sample'}: see training/DATA.md.")
    return files


def wordnet_ids() -> list[str]:
    """Names of the 1,000 classes in WordNet, such as n01440764, in ImageNet's order."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_label_name(i) for i in range(info.num_classes())]


def labels_of(files: Sequence[Path]) -> NDArray[np.int64]:
    """(N,) the class that a file's name or folder says, else -1."""
    number = {name: i for i, name in enumerate(wordnet_ids())}
    found = [
        next((number[n] for n in (p.parent.name, p.name.split("_")[0]) if n in number), -1)
        for p in files
    ]
    return np.array(found, dtype=np.int64)


class Teacher:
    """The frozen trunk, one picture at a time or several.

    Raises:
        CheckpointError: its package is not installed.
    """

    def __init__(self) -> None:
        resolved = resolver.resolve(trunk.KEY, "classify")
        module: Any = trunk.build(resolved).module
        self.module = module.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @property
    def classifier(self) -> torch.nn.Linear:
        """1280 -> 1000."""
        layer: torch.nn.Linear = self.module.classifier
        return layer

    @torch.inference_mode()
    def maps(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, 3, s, s) normalised -> (B, 1280, r, r)."""
        maps: torch.Tensor = self.module.forward_features(
            batch.contiguous(memory_format=torch.channels_last)
        )
        return maps

    @torch.inference_mode()
    def answers(self, batch: torch.Tensor) -> torch.Tensor:
        """(B, 3, s, s) normalised -> (B, 1000) logits."""
        logits: torch.Tensor = self.classifier(self.maps(batch).mean((2, 3)))
        return logits


def random_view(image: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square somewhere in the picture, mostly near its middle, half the time mirrored.

    (VIEW.size, VIEW.size, 3).
    """
    side = rng.uniform(CLOSEST, 1.0) * min(image.size)
    left, top = ((whole - side) * rng.triangular(0, 0.5, 1) for whole in image.size)
    size = (VIEW.size, VIEW.size)
    box = (left, top, left + side, top + side)
    cut = np.asarray(image.resize(size, Image.Resampling.BICUBIC, box))
    return cut[:, ::-1] if rng.random() < 0.5 else cut


def opened(path: Path, whole: bool) -> Image.Image:
    """The picture in RGB; unless `whole`, decoded no larger than needed."""
    with Image.open(path) as image:
        if not whole:
            image.draft("RGB", (2 * VIEW.size, 2 * VIEW.size))
        return image.convert("RGB")


def normalised(cuts: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """(s, s, 3) pictures -> (B, 3, s, s) as the trunk wants them."""
    x = torch.cat([transforms.to_batch(np.ascontiguousarray(cut)) for cut in cuts])
    return (x - trunk.MEAN[0]) / trunk.STD[0]


def as_bytes(maps: torch.Tensor) -> NDArray[np.uint8]:
    """Maps in 0..`TOP` -> uint8, 255 = `TOP`."""
    return (maps * (255 / TOP)).round().to(torch.uint8).numpy()


def as_maps(stored: NDArray[np.uint8]) -> torch.Tensor:
    """The inverse of `as_bytes`, in float32."""
    return torch.from_numpy(stored.astype(np.float32) * (TOP / 255))


def chosen_files(data: Path, count: int, seed: int) -> list[Path]:
    """The picture of each of `count` views, in the order in which training has them.

    More views begin with the same ones.
    """
    files = training_files(data)
    wanted = np.resize(np.arange(len(files)), max(count, len(files)))
    return [files[i] for i in np.random.default_rng(seed).permutation(wanted)[:count]]


def cached(data: Path, count: int, seed: int) -> Views:
    """`count` random views of training pictures and the teacher's answers, computed once."""
    return _filled(data, chosen_files(data, count, seed), "train", seed)


def measured(data: Path, files: Sequence[Path], name: str) -> Views:
    """The app's own view of each picture."""
    return _filled(data, files, name, None)


def _filled(data: Path, files: Sequence[Path], name: str, seed: int | None) -> Views:
    names = "\n".join(str(p.relative_to(data)) for p in files)
    mark = hashlib.sha256(f"{names} {seed} {VIEW} {CLOSEST}".encode()).hexdigest()[:12]
    place = data / ".cache" / f"trunk-{name}-{len(files)}-{mark}"
    place.mkdir(parents=True, exist_ok=True)
    maps = _array(place / "maps.npy", np.uint8, (len(files), CHANNELS, GRID, GRID))
    answers = _array(place / "answers.npy", np.float16, (len(files), len(wordnet_ids())))
    done = place / "done"
    first = int(done.read_text()) if done.exists() else 0
    teacher = Teacher() if first < len(files) else None
    for start in range(first, len(files), _BATCH):
        assert teacher is not None
        part = slice(start, min(start + _BATCH, len(files)))
        maps[part], answers[part] = _passed(teacher, files[part], start, seed)
        if start // _BATCH % _SAVED == _SAVED - 1 or part.stop == len(files):
            maps.flush()
            answers.flush()
            done.write_text(str(part.stop))
            log.info("features of %s: %d of %d", name, part.stop, len(files))
    return Views(maps, answers, labels_of(files))


def _passed(
    teacher: Teacher, files: Sequence[Path], start: int, seed: int | None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    standard, wide = trunk.transform(trunk.CLASSES), trunk.transform(VIEW)
    cuts, middles = list[torch.Tensor](), list[torch.Tensor]()
    for i, path in enumerate(files):
        image = opened(path, whole=seed is None)
        rgb = np.asarray(image)
        middles.append(standard(rgb))
        if seed is None:
            cuts.append(wide(rgb))
        else:
            cuts.append(normalised([random_view(image, np.random.default_rng([seed, start + i]))]))
    return as_bytes(teacher.maps(torch.cat(cuts))), teacher.answers(torch.cat(middles)).numpy()


def _array(path: Path, dtype: type, shape: tuple[int, ...]) -> Any:
    if path.exists():
        return np.load(path, mmap_mode="r+")
    return np.lib.format.open_memmap(path, "w+", dtype, shape)
