"""A class for every pixel, as an endpoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core import images
from core.imaging import coco, draw
from demos.shell import ui


class _ByClass(Sequence[NDArray[np.bool_]]):
    """The masks of all classes but the background, made one at a time."""

    def __init__(self, labels: NDArray[np.uint8], count: int) -> None:
        self._labels, self._count = labels, count

    def __len__(self) -> int:
        return self._count - 1

    def __getitem__(self, index: int) -> NDArray[np.bool_]:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._labels == index + 1


def segment_semantic(
    image: images.RGB, checkpoint: str = "auto"
) -> tuple[str, dict[str, object], dict[str, object]]:
    """Give every pixel of a picture a class.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.

    Returns:
        The picture with each class in its own colour, the classes with their shares and run lengths
        as JSON, and how the answer was made.
    """
    from core import semantic as task

    rgb = ui.required(image)
    found = task.predict(rgb, checkpoint)
    path = ui.result_path("classes.jpg")
    images.save_jpeg(draw.masks_image(rgb, _ByClass(found.labels, len(found.classes))), path)
    document = coco.class_document(found.labels, found.shares, found.classes)
    return str(path), document, found.info.to_dict()
