"""Drawings: the input is left alone, labels stay apart and inside, colours can be told apart."""

from __future__ import annotations

import colorsys
import itertools
import zlib

import numpy as np
import pytest
from PIL import Image

from core.imaging import draw
from core.types import Detections, Masks, RunInfo

INFO = RunInfo("net", "starter", "cpu")
GREY = np.full((240, 320, 3), 128, np.uint8)


def detections(
    boxes: list[list[float]], labels: list[str] | None = None, size: tuple[int, int] = (320, 240)
) -> Detections:
    count = len(boxes)
    scores = np.linspace(0.95, 0.5, count, dtype=np.float32)
    names = tuple(labels or ["cat"] * count)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, names, size, INFO)


@pytest.fixture
def tags(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, int, int, int] | None]]:
    """Each label that is drawn, and where; None where there was no place."""
    seen: list[tuple[str, tuple[int, int, int, int] | None]] = []
    place = draw._place

    def watch(text, size, box, picture, taken):
        seen.append((text, place(text, size, box, picture, taken)))
        return seen[-1][1]

    monkeypatch.setattr(draw, "_place", watch)
    return seen


# ---- boxes ------------------------------------------------------------------------------------


def test_no_boxes() -> None:
    out = draw.boxes(GREY, detections([]))
    assert np.array_equal(out, GREY)
    assert out is not GREY


def test_a_box_is_drawn_where_it_is() -> None:
    before = GREY.copy()
    out = draw.boxes(GREY, detections([[50, 80, 200, 180]]))
    assert np.array_equal(GREY, before)
    assert out.shape == GREY.shape
    assert out.dtype == np.uint8
    colour = draw.label_colour("cat")
    for x, y in ((51, 130), (198, 130), (120, 81), (120, 178)):
        assert tuple(out[y, x]) == colour
    assert np.array_equal(out[100:160, 70:180], GREY[100:160, 70:180])  # nothing inside
    assert np.array_equal(out[185:], GREY[185:])
    assert np.array_equal(out[:, 205:], GREY[:, 205:])


def test_threshold() -> None:
    both = detections([[10, 100, 60, 150], [200, 100, 260, 150]], ["cat", "dog"])
    assert both.scores.tolist() == pytest.approx([0.95, 0.5])
    out = draw.boxes(GREY, both, threshold=0.6)
    assert np.array_equal(out[:, 180:], GREY[:, 180:])
    assert not np.array_equal(out[:, :180], GREY[:, :180])
    assert np.array_equal(draw.boxes(GREY, both, threshold=0.5), draw.boxes(GREY, both))


@pytest.mark.parametrize(
    "box",
    [
        [-50, -50, 400, 300],
        [310, 230, 320, 240],
        [0, 0, 0, 0],
        [100, 100, 100, 100],
        [200, 150, 100, 50],
        [400, 400, 500, 500],
        [float("nan"), 0, float("inf"), 50],
    ],
)
def test_odd_boxes_are_drawn_inside(box: list[float], tags: list) -> None:
    out = draw.boxes(GREY, detections([box]))
    assert out.shape == GREY.shape
    assert not np.array_equal(out, GREY)
    left, top, right, bottom = tags[0][1]
    assert left >= 0 and top >= 0 and right <= 320 and bottom <= 240


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (1600, 1200), (64, 64)])
@pytest.mark.parametrize("same", [True, False])
def test_labels_do_not_overlap_and_stay_inside(
    size: tuple[int, int], same: bool, tags: list
) -> None:
    width, height = size
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 1, (20, 2, 2)) * (width, height)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    if same:
        boxes[:] = boxes[0]
    names = [("person", "traffic light", "cat", "dining table")[i % 4] for i in range(20)]
    draw.boxes(np.zeros((height, width, 3), np.uint8), detections(boxes.tolist(), names, size))
    placed = [place for _, place in tags if place]
    assert len(placed) == 20 or size == (64, 64)  # where there is room, none is left out
    assert placed
    cover = np.zeros((height, width), int)
    for left, top, right, bottom in placed:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        cover[top:bottom, left:right] += 1
    assert cover.max() == 1


def test_a_label_longer_than_the_picture_is_cut(tags: list) -> None:
    draw.boxes(GREY[:, :100], detections([[5, 50, 90, 150]], ["a very long label of a class" * 3]))
    text, place = tags[0]
    assert text.endswith("…")
    assert place and place[2] <= 100


def test_picture_smaller_than_a_label() -> None:
    tiny = np.zeros((8, 8, 3), np.uint8)
    assert draw.boxes(tiny, detections([[1, 1, 6, 6]])).shape == (8, 8, 3)


def test_lines_and_letters_grow_with_the_picture(tags: list) -> None:
    heights = []
    for scale in (1, 4):
        picture = np.zeros((240 * scale, 320 * scale, 3), np.uint8)
        box = [50 * scale, 80 * scale, 200 * scale, 180 * scale]
        out = draw.boxes(picture, detections([box]))
        row = out[130 * scale, : 100 * scale]
        heights.append((int(np.any(row != 0, axis=1).sum()), tags[-1][1][3] - tags[-1][1][1]))
    assert heights[1][0] >= 2 * heights[0][0]
    assert heights[1][1] >= 2 * heights[0][1]


@pytest.mark.parametrize("label", ["고양이", "кошка", "chat à l'été", "", "emoji 😀", "a\nb"])
def test_labels_of_any_script(label: str) -> None:
    out = draw.boxes(GREY, detections([[50, 80, 200, 180]], [label]))
    assert not np.array_equal(out, GREY)


def test_every_label_can_be_read() -> None:
    """WCAG asks 4.5 for text; the colour depends on nothing but the label."""
    names = [f"class {i}" for i in range(500)]
    colours = [draw.label_colour(name) for name in names]
    assert colours == [draw.label_colour(name) for name in names]
    assert len(set(colours)) > 400
    for colour in colours:
        assert draw.contrast(colour, draw.text_colour(colour)) >= 4.5


def test_contrast() -> None:
    assert draw.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert draw.contrast((90, 90, 90), (90, 90, 90)) == pytest.approx(1.0)
    assert draw.contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


# ---- masks ------------------------------------------------------------------------------------


def disc(y: int, x: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:240, :320]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def test_no_masks() -> None:
    assert np.array_equal(draw.masks(GREY, np.zeros((0, 240, 320), bool)), GREY)
    assert np.array_equal(draw.masks(GREY, np.zeros((2, 240, 320), bool)), GREY)


def test_mask_tints_inside_and_leaves_outside() -> None:
    mask = disc(120, 160, 50)
    before = GREY.copy()
    out = draw.masks(GREY, mask[None], alpha=0.5)
    assert np.array_equal(GREY, before)
    assert np.array_equal(out[~mask], GREY[~mask])
    colour = draw.mask_palette(1)[0]
    assert np.abs(out[120, 160].astype(int) - (128 + colour.astype(int)) / 2).max() <= 1
    assert tuple(out[120, 111]) == tuple(colour)  # the contour, 49 px left of the centre
    scores = np.array([0.9], np.float32)
    assert np.array_equal(out, draw.masks(GREY, Masks(mask[None], scores, INFO), alpha=0.5))


def test_alpha_at_its_ends() -> None:
    mask = disc(120, 160, 50)
    colour = draw.mask_palette(1)[0]
    assert np.array_equal(draw.masks(GREY, mask[None], alpha=0.0)[120, 160], [128] * 3)
    assert np.array_equal(draw.masks(GREY, mask[None], alpha=1.0)[120, 160], colour)


def test_small_masks_lie_on_top_in_their_own_colour() -> None:
    large, small = disc(120, 160, 100), disc(120, 160, 20)
    palette = draw.mask_palette(2)
    for order in ([small, large], [large, small]):
        out = draw.masks(GREY, np.stack(order), alpha=1.0)
        index = 0 if order[0] is small else 1
        assert np.array_equal(out[120, 160], palette[index])


def test_masks_at_the_edges_of_the_picture() -> None:
    whole = np.ones((1, 240, 320), bool)
    out = draw.masks(GREY, whole, alpha=0.5)
    assert np.array_equal(out[0, 0], draw.mask_palette(1)[0])  # a contour along the edge
    assert not np.array_equal(out[120, 160], out[0, 0])
    dot = np.zeros((1, 240, 320), bool)
    dot[0, 239, 319] = True
    assert int(np.any(draw.masks(GREY, dot) != GREY, axis=2).sum()) == 1


def test_mask_palette() -> None:
    assert draw.mask_palette(0).shape == (0, 3)
    colours = draw.mask_palette(24)
    assert colours.dtype == np.uint8
    assert len({tuple(c) for c in colours.tolist()}) == 24
    assert np.array_equal(draw.mask_palette(5), colours[:5])  # adding a mask changes no colour
    steps = np.abs(np.diff(colours.astype(int), axis=0)).sum(axis=1)
    assert steps.min() > 100


# ---- heatmap ----------------------------------------------------------------------------------


def test_heatmap_is_bright_where_values_are_high() -> None:
    values = np.zeros((7, 9), np.float32)
    values[3, 4] = 2.5
    before = GREY.copy()
    out = draw.heatmap(GREY, values, alpha=1.0).astype(int)
    assert np.array_equal(GREY, before)
    assert out.shape == GREY.shape
    light = out.sum(axis=2)
    row, column = np.unravel_index(int(light.argmax()), light.shape)
    assert abs(row - 120) < 20 and abs(column - 160) < 20
    assert np.array_equal(out[0, 0], draw.colour_map()[0])


def test_heatmap_does_not_depend_on_the_range() -> None:
    values = np.random.default_rng(0).normal(size=(14, 14)).astype(np.float32)
    first = draw.heatmap(GREY, values).astype(int)
    assert np.abs(first - draw.heatmap(GREY, values * 7 - 3)).max() <= 2


def test_heatmap_of_one_value_and_without_weight() -> None:
    even = draw.heatmap(GREY, np.full((4, 4), 0.3, np.float32), alpha=1.0)
    assert np.array_equal(even, np.broadcast_to(draw.colour_map()[0], GREY.shape))
    assert np.array_equal(draw.heatmap(GREY, np.eye(4, dtype=np.float32), alpha=0.0), GREY)


def test_colour_map_gets_lighter_step_by_step() -> None:
    """Read as grey (CIE L*, by Pillow's own conversion), no step goes back."""
    table = draw.colour_map()
    assert table.shape == (256, 3)
    lightness = np.asarray(Image.fromarray(table[None]).convert("LAB"))[0, :, 0].astype(int)
    assert np.diff(lightness).min() >= -1  # rounding to 8 bits, twice
    assert np.diff(lightness[::16]).min() > 3
    assert lightness[0] < 40 and lightness[-1] > 225


def test_the_labels_of_a_picture_have_colours_of_their_own() -> None:
    names = ["person", "motorbike", *(f"class {i}" for i in range(12))]
    colours = draw.label_colours(names)
    assert sorted(colours) == sorted(names)
    hues = [colorsys.rgb_to_hls(*(v / 255 for v in c))[0] for c in colours.values()]
    near = [abs((a - b + 0.5) % 1 - 0.5) for a, b in itertools.combinations(hues, 2)]
    assert min(near) > 0.03
    assert draw.label_colours(["cat"]) == {"cat": draw.label_colour("cat")}
    assert len(draw.label_colours([str(i) for i in range(200)])) == 200


def test_label_colours_are_the_same_in_every_process() -> None:
    """`hash` of a string changes from process to process; what is used must not."""
    assert zlib.crc32(b"cat") == 0x9E5E43A8
    assert draw.label_colour("cat") == draw._hls(0x43A8 / 0x10000, (0.42, 0.52, 0.62)[0x9E5E % 3])
