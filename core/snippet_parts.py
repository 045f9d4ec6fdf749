"""What the texts of `snippets` and `snippets_transformers` are put together from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_LINES = (
    "from segment_anything.utils.amg import remove_small_regions  # needs OpenCV: pip install "
    "opencv-python-headless"
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a person asked of Segment; the fields are the arguments of `core.segment.predict`.

    `picture` is the path or name that the text opens.
    """

    picture: str
    points: Sequence[Sequence[float]] = ()
    box: Sequence[float] | None = None
    multimask: bool = True
    refine: int | None = None
    min_area: float = 0

    @property
    def three(self) -> bool:
        """Whether all prompts at once are a single point, which is answered by three masks."""
        return self.multimask and len(self.points) == 1 and self.box is None


def ordered(box: Sequence[float]) -> list[float]:
    """x1, y1, x2, y2 with the upper left corner first."""
    x1, y1, x2, y2 = box
    return [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]


def numbers(values: Sequence[float]) -> str:
    """[1, 2.5, …]"""
    return f"[{', '.join(f'{value:.10g}' for value in values)}]"


def cleaning(min_area: float) -> list[str]:
    """Lines that remove small holes and islands from `masks`."""
    if not min_area:
        return []
    return [
        'for mode in ("holes", "islands"):',
        "    cleaned = [",
        f"        remove_small_regions(one, {min_area:g}, mode)[0] if one.any() else one",
        "        for one in masks",
        "    ]",
        "    masks = np.stack(cleaned)",
    ]
