"""A hundred photographs of CIFAR-10's classes from other sources, never trained on by classify.

They come from Caltech-101 (`caltech101/`) and from one sample picture of each ImageNet class
(`imagenet_sample/`) in the data folder. They include no deer, and few cats, frogs and horses, so
the mean over classes is reported as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.recognition_data import Pictures

#: class -> patterns below the data folder, with the number of pictures from each
SOURCES: dict[str, dict[str, int]] = {
    "airplane": {"caltech101/*/airplanes/*.jpg": 17},
    "automobile": {
        "caltech101/*/car_side/*.jpg": 11,
        "imagenet_sample/*_cab.JPEG": 1,
        "imagenet_sample/*_convertible.JPEG": 1,
        "imagenet_sample/*_jeep.JPEG": 1,
        "imagenet_sample/*_limousine.JPEG": 1,
        "imagenet_sample/*_sports_car.JPEG": 1,
    },
    "bird": {
        f"caltech101/*/{name}/*.jpg": count
        for name, count in {"emu": 3, "flamingo": 5, "ibis": 4, "pigeon": 3, "rooster": 3}.items()
    },
    "cat": {f"imagenet_sample/n0212[34]*_{name}*.JPEG": 1 for name in ("tabby", "tiger_cat")}
    | {f"imagenet_sample/*_{name}_cat.JPEG": 1 for name in ("Egyptian", "Persian", "Siamese")},
    "dog": {
        "caltech101/*/dalmatian/*.jpg": 10,
        "imagenet_sample/*_beagle.JPEG": 1,
        "imagenet_sample/*_collie.JPEG": 2,
        "imagenet_sample/*_golden_retriever.JPEG": 1,
        "imagenet_sample/*_pug.JPEG": 1,
    },
    "frog": {"imagenet_sample/*frog.JPEG": 3},
    "horse": {"imagenet_sample/*_sorrel.JPEG": 1},
    "ship": {f"caltech101/*/{name}/*.jpg": 6 for name in ("ferry", "ketch", "schooner")},
    "truck": {
        f"imagenet_sample/*_{name}.JPEG": 1
        for name in (
            "fire_engine",
            "garbage_truck",
            "moving_van",
            "pickup",
            "police_van",
            "tow_truck",
            "trailer_truck",
        )
    },
}


def read_cropped(path: Path, side: int = 32) -> Pictures:
    """(side, side, 3): shortest side to `side`, then the centre, as the app's transform does."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    factor = side / min(rgb.size)
    width, height = (max(side, int(v * factor)) for v in rgb.size)
    rgb = rgb.resize((width, height), Image.Resampling.BICUBIC)
    left, top = round((width - side) / 2), round((height - side) / 2)
    return np.asarray(rgb.crop((left, top, left + side, top + side)))


def photographs_of(
    data: Path, names: list[str], side: int = 32
) -> tuple[Pictures, NDArray[np.int64], list[Path]]:
    """The photographs, the number of each one's class among `names`, and their files.

    Raises:
        SystemExit: a source is missing.
    """
    files: list[Path] = []
    labels: list[int] = []
    for name, sources in SOURCES.items():
        for pattern, count in sources.items():
            found = sorted(data.glob(pattern))
            if len(found) < count:
                raise SystemExit(
                    f"{count} pictures wanted for {data / pattern}, {len(found)} there."
                )
            step = len(found) // count
            files += found[: step * count : step]
            labels += [names.index(name)] * count
    return np.stack([read_cropped(p, side) for p in files]), np.array(labels), files
