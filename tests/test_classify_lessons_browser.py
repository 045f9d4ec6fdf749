"""The views of Classify's lessons in a browser: one server and one page for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.lessons import augmentation, dino, logits, motion, positions, swin, why_this_class
from core.types import RunInfo
from tests.accessible import faults
from tests.browser import DESKTOP, PHONE, page_of
from tests.lesson_views import begun, colour_at, drawn, opened, silent
from tests.live import EXAMPLES

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def page(browser: Any, url: str) -> Iterator[Any]:
    """Classify with the first example and its result."""
    with page_of(browser) as page:
        yield begun(page, url)


def test_positions_follow_clicks_keys_and_sliders(page):
    expected = positions.look()
    rows, columns = expected.grid
    with opened(page, "positions", "po") as view:
        size = view.locator(".po-picture").bounding_box()
        place = {"x": 2.5 * size["width"] / columns, "y": 1.5 * size["height"] / rows}
        view.locator(".po-picture").click(position=place)
        assert drawn(view).split()[0] == str(columns + 2)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        assert drawn(view).split()[0] == str(2 * columns + 1)
        said = view.locator(".po-said").inner_text().replace("\N{MINUS SIGN}", "-")
        mine = expected.of(2, 1).ravel()
        rest = np.delete(mine, 2 * columns + 1)
        assert (
            f"({rest.max():.2f})" in said
            and f"everywhere {rest.mean():.2f}".replace("-0.00", "0.00") in said
        )
        light, dark = (
            sum(colour_at(view.locator(".po-map"), (i % columns + 0.5) / columns,
                          (i // columns + 0.5) / rows))
            for i in (int(np.argmax(np.where(mine < 1, mine, -2))), int(mine.argmin()))
        )  # fmt: skip
        assert light > dark
        view.locator(".po-row").fill("1")
        view.locator(".po-column").fill(str(columns))
        view.get_by_label("A colour scale for each map").check()
        assert drawn(view) == f"{columns - 1} true"
        sheet = view.locator(".po-sheet").bounding_box()
        view.locator(".po-sheet").click(position={"x": sheet["width"] / 2, "y": 2})
        assert drawn(view).split()[0] == str(columns // 2)


def test_the_loss_follows_class_temperature_and_type(page):
    expected = logits.look(EXAMPLES / "chelsea.jpg")
    best = int(expected.values.argmax())
    with opened(page, "logits", "lo") as view:
        numbers = view.locator(".lo-said")
        assert f"cross-entropy is {expected.cross_entropy(expected.labels[best]):.3f}" in (
            numbers.inner_text()
        )
        view.locator(".lo-true").fill("teapot")
        view.locator(".lo-true").press("Enter")
        view.locator(".lo-temp").fill("0.6")  # its power of ten
        temperature = float(drawn(view).split()[0])
        assert temperature == pytest.approx(10**0.6, abs=0.01)
        loss = expected.cross_entropy("teapot", 10**0.6)
        assert f"cross-entropy is {loss:.3f}" in numbers.inner_text()
        twice = view.locator(".lo-twice-body").inner_text()
        assert f"{expected.softmax_twice('teapot'):.3f}" in twice and "5.909" in twice
        assert "Both agree" in view.locator(".lo-naive-said").inner_text()
        view.locator(".lo-add").fill("120")
        assert "infinite" in view.locator(".lo-naive-body").inner_text()
        assert "NaN" in view.locator(".lo-naive-body").inner_text()
        view.locator("[data-type=float16]").click()
        view.locator(".lo-body button").first.focus()
        page.keyboard.press("Enter")
        assert drawn(view).split()[1:] == [str(best), "120", "float16"]
        view.locator(".lo-true").fill("no such thing")
        view.locator(".lo-true").press("Enter")
        assert "knows no class" in view.locator(".lo-unknown").inner_text()


def test_another_class_brings_other_maps_and_the_rest_needs_no_request(page, monkeypatch):
    monkeypatch.setattr(why_this_class, "STEPS", 4)  # the view draws curves of any length
    expected = why_this_class.explain(EXAMPLES / "chelsea.jpg")
    second = expected.best[1][0]
    state = "document.querySelector('#lesson-why-this-class .wy').dataset.drawn"
    fold = page.locator("#lesson-why-this-class > button").first
    fold.click()
    page.wait_for_function(f"{state}?.endsWith('true|{expected.label}')")
    page.locator("#lesson-why-this-class .wy-classes button").nth(1).click()
    page.wait_for_function(f"{state}?.endsWith('true|{second}')")
    view = page.locator("#lesson-why-this-class .wy")
    with silent(page):
        view.locator(".wy-grid button").nth(2).focus()
        page.keyboard.press("Enter")
        view.locator(".wy-opacity").fill("1")
        view.locator(".wy-step").fill("4")
        assert drawn(view) == f"2|1|false|4|true|{second}"
        found = why_this_class.explain(EXAMPLES / "chelsea.jpg", label=second).maps[2]
        rows, columns = found.values.shape
        bright, dark = (
            sum(colour_at(view.locator(".wy-grid canvas").nth(2), (i % columns + 0.5) / columns,
                          (i // columns + 0.5) / rows))
            for i in (int(found.values.argmax()), int(found.values.argmin()))
        )  # fmt: skip
        assert bright > 600 and dark < 120  # the ends of the scale, without the picture
        assert view.locator(".wy-rows tr").count() == len(expected.maps) + 1
        assert "cells hidden" in view.locator(".wy-hidden-said").inner_text()
    assert faults(page, "#lesson-why-this-class") == []
    fold.click()


def fits_a_phone(page: Any) -> bool:
    """Whether nothing reaches beyond the side of a phone; the window is as before afterwards."""
    page.set_viewport_size(PHONE)
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size(DESKTOP)
    return int(wide) <= PHONE["width"]


def click_cell(canvas: Any, row: int, column: int, rows: int, columns: int) -> None:
    size = canvas.bounding_box()
    x, y = (column + 0.5) * size["width"] / columns, (row + 0.5) * size["height"] / rows
    canvas.click(position={"x": x, "y": y})


def a_swin() -> swin.Windows:
    """Swin-T's geometry with numbers drawn at random."""
    rng = np.random.default_rng(0)
    blocks = swin.geometry()
    scores, biases = [], []
    for block in blocks:
        count, n = int(np.prod(block.windows)), int(np.prod(block.window))
        scores.append(rng.normal(0, 2, (count, block.heads, n, n)).astype(np.float32))
        biases.append(rng.normal(0, 2, (block.heads, 13, 13)).astype(np.float32))
    info = RunInfo("swin-tiny", "full", "cpu")
    return swin.Windows("Swin-T", blocks, tuple(scores), tuple(biases), (0, 0, 300, 300), info)


def test_the_windows_follow_block_head_and_patch(page, monkeypatch):
    found = a_swin()
    monkeypatch.setattr(swin, "look", lambda *_: found)
    with opened(page, "swin", "sw") as view:
        view.locator(".sw-block").fill("2")
        assert "shifted by 3" in view.locator(".sw-windows").inner_text()
        click_cell(view.locator(".sw-picture"), 20, 30, 56, 56)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        view.locator(".sw-head").select_option(label="2")
        assert drawn(view) == f"1 1 {21 * 56 + 31} both"
        for mode, bias in (("both", True), ("content", False)):
            view.locator(f"[data-mode={mode}]").click()
            weights = found.weights(1, 1, 21, 31, bias)
            row, column = np.unravel_index(int(weights.argmax()), weights.shape)
            said = view.locator(".sw-said").inner_text()
            assert f"most from row {row + 1}, column {column + 1} " in said
            assert f"({round(100 * float(weights.max()))} %)" in said or weights.max() < 0.1
        click_cell(view.locator(".sw-picture"), 0, 0, 56, 56)  # rolled together with the far edges
        part = swin.regions(found.blocks[1])[swin.placed(found.blocks[1])[0] == 63]
        seen = int((part == swin.regions(found.blocks[1])[0, 0]).sum())
        said = view.locator(".sw-said").inner_text()
        assert f"sees {seen} of 3136" in said and f"{49 - seen} more" in said
        view.locator(".sw-stages button").nth(3).focus()
        page.keyboard.press("Enter")
        assert drawn(view).split()[0] == "10" and view.locator(".sw-heads button").count() == 24
        assert fits_a_phone(page)


def test_without_weights_the_windows_are_drawn_and_one_sentence_says_why(page, monkeypatch):
    found = a_swin()
    bare = swin.Windows("Swin-T", found.blocks, (), (), found.seen, None, "It needs weights.")
    monkeypatch.setattr(swin, "look", lambda *_: bare)
    with opened(page, "swin", "sw", again=True) as view:
        page.locator("#lesson-swin-facts").get_by_text("It needs weights.").wait_for()
        view.locator(".sw-weights").wait_for(state="hidden")
        facts = page.locator("#lesson-swin-facts").inner_text()
        assert "It needs weights." in facts and "those of Swin-T" in facts
        assert not view.locator(".sw-weights").is_visible()
        view.locator(".sw-block").fill("4")
        click_cell(view.locator(".sw-picture"), 9, 9, 28, 28)
        block, _, patch, *_ = drawn(view).split()
        assert (block, patch) == ("3", f"{9 * 28 + 9}")


def test_features_follow_patch_layer_head_and_count(page):
    expected = dino.look(EXAMPLES / "chelsea.jpg")
    rows, columns = expected.levels[-1].grid
    with opened(page, "dino", "di") as view:
        assert "with labels" in page.locator("#lesson-dino-facts").inner_text()
        click_cell(view.locator(".di-picture"), 3, 4, rows, columns)
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
        for number in (len(expected.levels) - 1, 0):
            view.locator(".di-level").fill(str(number + 1))
            ((row, column, cosine),) = expected.levels[number].nearest(4, 3, 1)
            said = view.locator(".di-said").inner_text()
            assert f"row {row + 1}, column {column + 1}: cosine {cosine:.3f}" in said
        view.locator(".di-level").fill("2")
        view.locator(".di-heads button").nth(1).click()
        view.locator(".di-count").fill("3")
        assert drawn(view) == f"1 1 {4 * columns + 3} 3"
        most = expected.levels[1].attention[1].max()
        assert f"{100 * most:.1f} %" in view.locator(".di-most").inner_text() or most >= 0.1
        colour = view.locator(".di-colours").evaluate(
            "one => [...one.getContext('2d').getImageData(3, 3, 1, 1).data.slice(0, 3)]"
        )
        assert colour == expected.levels[1].colours[0, 0].tolist()
        assert fits_a_phone(page)


def set_slider(page: Any, key: str, value: str) -> None:
    number = page.locator(f"#lesson-{key} input[type=number]")
    number.fill(value)
    number.press("Enter")
    number.blur()


def test_a_strength_makes_other_variants(page):
    page.locator("#lesson-augmentation > button").first.click()
    pictures = page.locator("#lesson-augmentation .au-grid img")
    pictures.nth(8).wait_for()
    first = pictures.nth(1).get_attribute("src")
    same = pictures.nth(0).get_attribute("src")
    set_slider(page, "augmentation-rotation", "1")
    page.wait_for_function(
        "old => document.querySelectorAll('#lesson-augmentation .au-grid img')[1]?.src !== old",
        arg=first,
    )
    assert pictures.nth(0).get_attribute("src") == same
    strengths = augmentation.Strengths(randaugment=0.3, rotation=1, crop=0.3)
    found = augmentation.bench(EXAMPLES / "chelsea.jpg", strengths=strengths)
    said = page.locator("#lesson-augmentation .au-score").inner_text()
    assert said.startswith(f"{round(8 * found.agreeing)} of 8") and found.original.label in said
    assert fits_a_phone(page)
    assert faults(page, "#lesson-augmentation") == []
    page.locator("#lesson-augmentation > button").first.click()


def test_a_clip_is_magnified_and_a_still_one_gets_a_sentence(page, tmp_path):
    page.locator("#lesson-motion > button").first.click()
    after = page.locator("#lesson-motion .mo-after")
    page.wait_for_function("document.querySelector('#lesson-motion .mo-after')?.naturalWidth > 0")
    assert "seems to stand still" in page.locator("#lesson-motion-facts").inner_text()
    page.locator("#lesson-motion .mo-stop").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(
        "document.querySelector('#lesson-motion .mo-after').src.startsWith('data:')"
    )
    old = after.get_attribute("src")
    clip = motion.example(seconds=1)
    path = motion.write(clip.frames, clip.fps, tmp_path / "clip.webp")
    chosen = page.locator("#lesson-motion-clip input[type=file]")
    chosen.set_input_files(path)
    page.locator("#lesson-motion-facts").get_by_text("Your clip: 20 frames").wait_for()
    assert after.get_attribute("src") != old
    set_slider(page, "motion-alpha", "40")
    page.locator("#lesson-motion").get_by_text("Magnified 41 times").wait_for()
    Image.new("RGB", (20, 20)).save(tmp_path / "still.png")
    page.locator(
        "#lesson-motion-clip button[aria-label='Clear'], #lesson-motion-clip [aria-label*='emove']"
    ).first.click()
    page.locator("#lesson-motion-facts").get_by_text("A drawn example").wait_for()
    chosen.set_input_files(tmp_path / "still.png")
    page.locator("#lesson-motion-said").get_by_text("This is no animated GIF").wait_for()
    assert page.locator("#lesson-motion .mo").get_attribute("data-empty") == "true"
    assert fits_a_phone(page)
    assert faults(page, "#lesson-motion") == []
    page.locator("#lesson-motion > button").first.click()
