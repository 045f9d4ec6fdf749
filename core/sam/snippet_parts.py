"""Building blocks for the code of `snippets` and `snippets_transformers`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIN_LINES = (
    "from segment_anything.utils.amg import remove_small_regions  # needs OpenCV: pip install "
    "opencv-python-headless"
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A Segment request; the fields are the arguments of `core.segment.predict`.

    `picture` is the path or name of the file that the script opens.
    """

    picture: str
    points: Sequence[Sequence[float]] = ()
    box: Sequence[float] | None = None
    multimask: bool = True
    refine: int | None = None
    min_area: float = 0

    @property
    def three(self) -> bool:
        """Whether the prompts are a single point, which gives three masks."""
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


def head(needs: str, picture: str, weights: str = "", whence: str = "") -> list[str]:
    """The first lines of a script: its requirements, with a clear error if a file is missing.

    Args:
        needs: packages to install.
        weights: path or name of a weight file or folder; "" for none.
        whence: where to get it.
    """
    if is_heic(picture):
        needs += " pillow-heif"
    about = [f"# Needs: {needs}", "# Put your picture beside this file, or change its path here:"]
    lines = [*about, f"PICTURE = {picture!r}"]
    if weights:
        lines += [f"# Weights: {whence}:", f"WEIGHTS = {weights!r}"]
    return lines


def check(*names: str) -> list[str]:
    """Lines that end a script with a message if a file named at its top is missing."""
    return [
        f"for needed in ({', '.join(names)},):",
        "    if not Path(needed).exists():",
        '        raise SystemExit(f"{needed} is not here; the first lines say what is needed.")',
        "",
    ]


def opened(picture: str) -> list[str]:
    """Lines that read `picture`, an upright RGB picture with alpha over white, as the app does."""
    plugin = ["import pillow_heif", "", "pillow_heif.register_heif_opener()"]
    return [
        *(plugin if is_heic(picture) else []),
        'picture = ImageOps.exif_transpose(Image.open(PICTURE)).convert("RGBA")',
        'white = Image.new("RGBA", picture.size, "white")',
        'picture = Image.alpha_composite(white, picture).convert("RGB")',
    ]


def is_heic(picture: str) -> bool:
    """Whether Pillow needs pillow-heif to read a file of that name."""
    return Path(picture).suffix.lower() in (".heic", ".heif")


def source(module: Path, name: str = "") -> str:
    """The source of one of our modules, or of one function in it, for a script.

    Without the module's docstring and `__future__` lines.
    """
    text = module.read_text("utf-8")
    tree = ast.parse(text)
    if name:
        found = next(one for one in tree.body if getattr(one, "name", "") == name)
        return ast.get_source_segment(text, found) or ""
    future = [one for one in tree.body if isinstance(one, ast.ImportFrom) and one.level == 0]
    start = next((one.end_lineno for one in future if one.module == "__future__"), 0)
    return "\n".join(text.splitlines()[start or 0 :]).strip()
