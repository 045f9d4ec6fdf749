"""Export segmented objects: cut-outs, masks, an index map, COCO, SVG, and a zip of all of them."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.errors import InputError
from core.imaging import coco, draw, outlines
from core.types import RGB, RunInfo

Masks = NDArray[np.bool_]
FIXED_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentedObject:
    """One segmented object: its `mask` (H, W) bool, and the prompts behind it.

    `score` is the predicted IoU, `points` are [x, y, label] and `box` is [x1, y1, x2, y2], in
    pixels of the picture; None and () if there are none.
    """

    name: str
    mask: Masks
    score: float | None = None
    stability: float | None = None
    points: tuple[tuple[float, float, int], ...] = ()
    box: tuple[float, float, float, float] | None = None


Objects = Sequence[SegmentedObject]


def cutout(rgb: RGB, mask: Masks, crop: bool = False) -> RGB:
    """(H, W, 4) uint8 RGBA, transparent outside (H, W) `mask`.

    Removed pixels are black: transparency alone would let anybody restore them.

    Args:
        crop: return only the mask's bounding box, to send it to another task.

    Raises:
        InputError: the mask has the wrong size, or `crop` was asked of an empty one.
    """
    _same_size(rgb, mask)
    rgba = np.zeros((*mask.shape, 4), np.uint8)
    np.copyto(rgba[..., :3], rgb, where=mask[..., None])
    np.multiply(mask, np.uint8(255), out=rgba[..., 3])
    if not crop:
        return rgba
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("The mask is empty; click the object first.")
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def cutout_png(rgb: RGB, mask: Masks, crop: bool = False) -> bytes:
    """`cutout` as PNG."""
    return images.rgba_to_png_bytes(cutout(rgb, mask, crop))


def index_map(objects: Objects) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W), 0 for the background and i for the i-th object (from 1); later objects are on top.

    uint8 up to 255 objects, uint16 beyond.
    """
    kind = np.uint8 if len(objects) < 256 else np.uint16
    index = np.zeros(_size(objects), kind)
    for number, one in enumerate(objects, 1):
        index[one.mask] = number
    return index


def index_png(objects: Objects) -> bytes:
    """`index_map` as PNG: values are the indices; a palette gives them colours (8 bit)."""
    index = index_map(objects)
    picture = Image.fromarray(index)
    if index.dtype == np.uint8:
        colours = np.vstack([np.zeros((1, 3), np.uint8), draw.mask_palette(len(objects))])
        picture = picture.convert("P")  # values stay the same
        picture.putpalette(colours.tobytes())
    return images.to_png_bytes(picture)


def svg(objects: Objects, tolerance: float = 0.0) -> str:
    """Outlines of all objects in the colours of `draw.mask_palette`; see `outlines.outlines`."""
    colours = [(int(r), int(g), int(b)) for r, g, b in draw.mask_palette(len(objects))]
    masks, names = [one.mask for one in objects], [one.name for one in objects]
    return outlines.svg(masks, names, colours, _size(objects), tolerance)


def coco_dataset(
    objects: Objects, file_name: str, polygons: bool = False, tolerance: float = 0.0
) -> dict[str, object]:
    """A COCO data set of one picture, one category for each kind of object; see `coco.dataset`."""
    return coco.dataset(
        [one.mask for one in objects],
        [one.name for one in objects],
        [one.score for one in objects],
        _size(objects),
        file_name,
        polygons,
        tolerance,
    )


def archive(
    rgb: RGB,
    objects: Objects,
    file_name: str = "picture.png",
    info: RunInfo | None = None,
    code: Mapping[str, str] | None = None,
) -> bytes:
    """All objects as a zip.

    Holds `manifest.json` (the contents), `cutouts/` and `masks/` with a PNG per object,
    `index.png`, `coco.json` (run lengths), `coco_polygons.json`, `objects.svg` and the files in
    `code` (name -> text), if any.

    Args:
        file_name: the picture's name in the data sets; the picture itself is not in the zip.

    Raises:
        InputError: no objects, or a mask's size differs from the picture's.
    """
    for one in objects:
        _same_size(rgb, one.mask)
    files: dict[str, bytes] = {
        "index.png": index_png(objects),
        "coco.json": as_json(coco_dataset(objects, file_name)),
        "coco_polygons.json": as_json(coco_dataset(objects, file_name, polygons=True)),
        "objects.svg": _utf8(svg(objects)),
    }
    rows = []
    for number, one in enumerate(objects, 1):
        stem = f"{number:02d}-{slug(one.name)}"
        row = _row(number, one)
        row["cutout"], row["mask"] = f"cutouts/{stem}.png", f"masks/{stem}.png"
        files[f"cutouts/{stem}.png"] = cutout_png(rgb, one.mask)
        files[f"masks/{stem}.png"] = images.mask_to_png_bytes(one.mask)
        rows.append(row)
    files.update({name: text.encode() for name, text in (code or {}).items()})
    height, width = rgb.shape[:2]
    manifest = {
        "picture": {"file_name": file_name, "width": width, "height": height},
        "objects": rows,
        "made_by": info.to_dict() if info else None,
        "files": sorted(files),
    }
    return zipped({"manifest.json": as_json(manifest), **files})


def _row(number: int, one: SegmentedObject) -> dict[str, object]:
    return {
        "index": number,
        "name": one.name,
        "area": int(np.count_nonzero(one.mask)),
        "predicted_iou": one.score,
        "stability": one.stability,
        "points": [list(point) for point in one.points],
        "box": list(one.box) if one.box else None,
    }


def _size(objects: Objects) -> tuple[int, int]:
    """(H, W), the common size of all masks."""
    sizes = {one.mask.shape for one in objects}
    if not sizes:
        raise InputError("There is nothing to export yet; click an object first.")
    if len(sizes) > 1:
        raise InputError("The objects come from pictures of different sizes.")
    height, width = sizes.pop()
    return height, width


def _same_size(rgb: RGB, mask: Masks) -> None:
    if rgb.shape[:2] != mask.shape:
        raise InputError("The mask's size differs from the picture's; choose the picture again.")


def slug(name: str, otherwise: str = "object") -> str:
    """An object's name as part of a file name: letters of any script stay; hyphens replace
    spaces and characters that some file systems refuse."""
    plain = unicodedata.normalize("NFC", name)
    kept = "".join(one if _is_kept(one) else " " for one in plain)
    return "-".join(kept.split()).strip("-.")[:40].strip("-.") or otherwise


def _is_kept(one: str) -> bool:
    joiner = one in "\u200c\u200d"  # needed by some scripts
    return joiner or (
        one not in '<>:"/\\|?*' and unicodedata.category(one) not in ("Cc", "Cf", "Cs")
    )


def as_json(content: object) -> bytes:
    """As indented JSON in UTF-8."""
    return _utf8(json.dumps(content, indent=1, ensure_ascii=False))


def _utf8(text: str) -> bytes:
    """A browser may send half a surrogate pair, which no file can hold."""
    return text.encode("utf-8", "replace")


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of files by their names; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive_file.writestr(entry, content)
    return buffer.getvalue()
