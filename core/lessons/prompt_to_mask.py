"""How a prompt becomes a mask: every tensor between a click and SAM's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core import images, segment
from core.imaging.prompts import Points
from core.sam import diagram
from core.sam.insight import Part


@dataclass(frozen=True, slots=True)
class PromptPath:
    """The tensors in the order in which the model makes them, with shapes and weights."""

    parts: tuple[Part, ...]

    @property
    def weights(self) -> int:
        """Parameters of prompt encoder and mask decoder that the diagram counts."""
        return sum(part.parameters for part in self.parts)

    def svg(self) -> str:
        """The parts as boxes joined by arrows."""
        return diagram.svg(self.parts)


def trace(
    image: images.ImageLike,
    points: Points = (),
    box: Sequence[float] | None = None,
    checkpoint: str = "auto",
) -> PromptPath:
    """Run one prompt through prompt encoder and mask decoder and note what each part gives.

    Args:
        points: [x, y, label] each, pixels of the upright picture; label 1 include, 0 exclude.
        box: [x1, y1, x2, y2] in pixels, or None.

    Raises:
        InputError: a point outside the picture, a box without area.
    """
    return PromptPath(tuple(segment.parts(image, points, box, checkpoint)))
