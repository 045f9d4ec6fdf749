"""Picture files that were once decoded wrongly: the right and the current result for each.

    python -m benchmarks.pictures [FOLDER]

The files are beside the project, in ../shared/data/faults by default. "Before" is the result of the
version in which each fault was found; "right" comes from Chromium, libvips, littleCMS or
ImageMagick. A row is added to `ROWS`. Exits with 1 where one is wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.startup import ROOT
from core import images
from core.errors import BadImage
from core.imaging.decoding import data_urls
from core.types import RGB

FOLDER = ROOT.parent / "shared" / "data" / "faults"
Found = RGB | str  # a picture, or the sentence with which it was refused
Check = Callable[[Found, Path], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One file: the result `before`, the `right` one, and how to compare."""

    file: str
    before: str
    right: str
    check: Check


def patches(*colours: tuple[int, int, int], within: int = 1) -> Check:
    """The colours from left to right, in the middle of patches of equal width."""

    def check(found: Found, _: Path) -> bool:
        if isinstance(found, str):
            return False
        away = np.abs(_patches(found, len(colours)).astype(int) - np.array(colours))
        return bool(away.max() <= within)

    return check


def _patches(rgb: RGB, count: int) -> RGB:
    height, width = rgb.shape[:2]
    return rgb[height // 2, [int((i + 0.5) * width / count) for i in range(count)]]


def greys(*values: int, within: int = 1) -> Check:
    """Grey patches from left to right."""
    return patches(*((value, value, value) for value in values), within=within)


def size(width: int, height: int) -> Check:
    """A picture of that size."""
    return lambda found, _: not isinstance(found, str) and found.shape == (height, width, 3)


def refused(word: str) -> Check:
    """A sentence with that word."""
    return lambda found, _: isinstance(found, str) and word in found


def like(name: str, within: int) -> Check:
    """Like another file of the folder, each colour within that many levels."""

    def check(found: Found, folder: Path) -> bool:
        other = now(folder / name)
        if isinstance(found, str) or isinstance(other, str) or found.shape != other.shape:
            return False
        return bool(np.abs(found.astype(int) - other.astype(int)).max() <= within)

    return check


def _stripes(found: Found, _: Path) -> bool:
    """Diagonals of red, green, blue and white, as ImageMagick and libvips read them."""
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    y, x = np.mgrid[:8, :9]
    return not isinstance(found, str) and np.array_equal(found, colours[(x + y) % 4])


def _first(colour: tuple[int, int, int]) -> Check:
    """The first of four patches is near that colour: there is no one right way to show HDR."""

    def check(found: Found, _: Path) -> bool:
        if isinstance(found, str):
            return False
        return bool(np.abs(_patches(found, 4)[0].astype(int) - np.array(colour)).max() <= 12)

    return check


def _either(*checks: Check) -> Check:
    return lambda found, folder: any(check(found, folder) for check in checks)


_SRGB = ((200, 60, 50), (60, 180, 70), (60, 80, 190), (220, 150, 60))
ROWS = (
    Row("IMG_0001.HEIC", "the page refused its name", "96 x 64", size(96, 64)),
    Row("camera.dng", "16 x 12, the preview", "refused: camera RAW", refused("RAW")),
    Row("bad-crc-of-pHYs.png", "refused", "200,60,50 60,180,70 …", patches(*_SRGB)),
    Row("no-EOI.jpg", "refused", "as whole.jpg", like("whole.jpg", 0)),
    Row("xmp6.jpg", "16 x 64", "64 x 16", size(64, 16)),
    Row("stripes.bmp", "garbled", "diagonals", _stripes),
    Row("urls.txt", "six of seven refused", "all are 64 x 16", size(64, 16)),
    Row(
        "p3.png",
        "200,60,50 …",
        "217,42,39 0,183,49 54,81,197 232,146,28",
        patches((217, 42, 39), (0, 183, 49), (54, 81, 197), (232, 146, 28)),
    ),
    Row(
        "adobe.png",
        "200,60,50 …",
        "231,57,46 0,181,57 46,79,194 242,151,48",
        patches((231, 57, 46), (0, 181, 57), (46, 79, 194), (242, 151, 48)),
    ),
    Row("cmyk-profile-in-rgb.png", "200,60,50 …", "unchanged", patches(*_SRGB)),
    Row("u16.tif", "inverted", "32 97 162 227", greys(32, 97, 162, 227)),
    Row(
        "pq.png",
        "123,87,73 …",
        "near 146,41,34 or 200,60,50",
        _either(_first((146, 41, 34)), _first((200, 60, 50))),
    ),
    Row("g16.png", "stretched", "as g8.png", like("g8.png", 1)),
)


def now(path: Path) -> Found:
    """The result of `decode` for a file, or for every address in a list."""
    try:
        if path.suffix != ".txt":
            return np.asarray(images.decode(path))
        urls = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        found = [np.asarray(images.decode(data_urls.content(url))) for url in urls]
    except BadImage as error:
        return str(error)
    return found[0] if all(np.array_equal(one, found[0]) for one in found) else "not all alike"


def shown(found: Found) -> str:
    """A picture as its size and four of its colours."""
    if isinstance(found, str):
        return f"refused: {found}"
    colours = " ".join(",".join(map(str, colour)) for colour in _patches(found, 4).tolist())
    return f"{found.shape[1]} x {found.shape[0]}: {colours}"


def main() -> int:
    """Print the table; return 1 if a row is wrong."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if not folder.is_dir():
        print(f"The files are not here: {folder}")
        return 0
    wrong = 0
    print("| file | before | right | now | |\n|---|---|---|---|---|")
    for row in ROWS:
        found = now(folder / row.file)
        right = row.check(found, folder)
        wrong += not right
        verdict = "right" if right else "WRONG"
        print(f"| {row.file} | {row.before} | {row.right} | {shown(found)} | {verdict} |")
    print(f"{len(ROWS) - wrong} of {len(ROWS)} are right.")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
