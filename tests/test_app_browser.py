"""Every tab in a headless browser: upload, example, controls, bad input; desktop and phone."""

from __future__ import annotations

import itertools
import json
import re
from contextlib import ExitStack

import pytest
from PIL import Image

from tests.browser import DESKTOP, PHONE, page_again, page_of, tab, without_picture
from tests.conftest import PATIENCE
from tests.live import EXAMPLES

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECONDS = 1000 * PATIENCE
SINGLE = {
    "Classify": ("classify", "#classify-result .bars li"),
    "Detect": ("detect", "#detect-result img"),
    "Reconstruct": ("reconstruct", "#reconstruct-pasted img"),
}
NAMELESS = """[...document.querySelectorAll("button")].filter((button) => !(
  button.innerText.trim() || button.getAttribute("aria-label") || button.title ||
  [...button.querySelectorAll("img")].some((image) => image.alt)
)).map((button) => button.outerHTML.slice(0, 200))"""
RESTORE = {"Denoise": "denoise", "Super-resolution": "super_resolve", "Deblur": "deblur"}


# What only one of the two shows differently from the other, or what another file shows on both.
DESKTOP_ONLY = pytest.mark.parametrize("page", ["desktop"], indirect=True)
PHONE_ONLY = pytest.mark.parametrize("page", ["phone"], indirect=True)


@pytest.fixture(scope="module")
def windows(browser, url):
    """A desktop and a phone, each with the page open once for all tests: that takes longest."""
    opened = {}
    with ExitStack() as stack:
        for name, viewport in (("desktop", DESKTOP), ("phone", PHONE)):
            page = stack.enter_context(page_of(browser, viewport=viewport, touch=name == "phone"))
            page.goto(url)
            page.locator("#classify-said [data-turn]").wait_for(state="attached")
            opened[name] = page
        yield opened


@pytest.fixture(params=["desktop", "phone"])
def page(request, windows):
    """The page with Classify open and no picture."""
    opened = windows[request.param]
    without_picture(opened)
    tab(opened, "Classify")
    opened.locator("#classify-said .placeholder:not([data-working])").wait_for()
    return opened


def upload(page, key, path, answered=True):
    """Choose a picture while the tab `key` is open and without one, until its answer is there."""
    page.locator(f"#{key}-said .placeholder:not([data-working])").wait_for()
    page.locator("#picture input[type=file]").first.set_input_files(path)
    if answered:
        page.locator(f"#{key}-said [data-turn]:not([data-working])").wait_for(state="attached")


def facts(page, key):
    """What the chip of a tab says, folded or not."""
    line = page.locator(f"#{key}-info .info")
    line.wait_for()
    return line.text_content()


def test_every_button_has_a_name(page):
    page.locator('#picture-examples img[alt^="Example: "]').first.wait_for()
    upload(page, "classify", EXAMPLES / "coffee.jpg")
    for title in ("Classify", "Detect", "Segment", "Reconstruct", "Restore"):
        tab(page, title)
        key = "denoise" if title == "Restore" else title.lower()
        page.locator(f"#{key}-said [data-turn]").wait_for(state="attached")
        nameless = page.evaluate(NAMELESS)
        assert nameless == [], title
    assert "common." not in page.locator("body").inner_text()  # keys of sentences without words
    cat = page.get_by_role("button", name="Example: a cat under noise", exact=True)
    assert cat.count() == 1


@pytest.mark.parametrize("title", SINGLE)
def test_upload_answers_and_shows_how(page, title):
    key, result = SINGLE[title]
    tab(page, title)
    upload(page, key, EXAMPLES / "astronaut.jpg")
    page.locator(result).first.wait_for()
    assert "starter" in facts(page, key)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"] + 1, "the page scrolls sideways"


@DESKTOP_ONLY
@pytest.mark.parametrize("title", RESTORE)
def test_restore_upload_shows_before_and_after(page, title):
    key = RESTORE[title]
    tab(page, "Restore")
    tab(page, title)
    upload(page, key, EXAMPLES / "small.png")
    page.locator(f"#{key}-info .info").wait_for()
    assert page.locator(f"#{key}-result img").count() >= 2


@PHONE_ONLY
def test_an_example_runs_on_click(page):
    page.get_by_role("button", name="Example: a rocket at night", exact=True).click()
    page.locator("#classify-said [data-turn]").wait_for(state="attached")
    page.locator("#classify-result .bars li").first.wait_for()


@DESKTOP_ONLY
def test_moving_the_temperature_runs_no_forward_pass(page):
    upload(page, "classify", EXAMPLES / "coffee.jpg")
    facts(page, "classify")
    field = page.get_by_label("number input for Temperature")
    field.fill("5")
    field.press("Enter")
    page.wait_for_function(
        "document.querySelector('#classify-info .info').textContent.includes('output hit')"
    )
    assert "forward" not in facts(page, "classify")


def test_segment_clicks_answer_and_can_be_taken_back(page):
    tab(page, "Segment")
    upload(page, "segment", EXAMPLES / "astronaut.jpg")
    canvas = page.locator("#segment-canvas .pp-canvas")
    status = page.locator("#segment-canvas .pp-status")
    wait_text(page, status, "Ready")
    box = canvas.bounding_box()
    centre = {"x": box["width"] * 0.45, "y": box["height"] * 0.3}
    canvas.click(position=centre)
    wait_text(page, status, "Mask")
    assert "embedding hit" in page.locator("#segment-info").text_content()
    first = status.inner_text()
    canvas.click(position={"x": box["width"] * 0.9, "y": box["height"] * 0.9}, modifiers=["Shift"])
    page.wait_for_function(
        "old => { const s = document.querySelector('#segment-canvas .pp-status').innerText;"
        " return s.includes('Mask') && s !== old; }",
        arg=first,
    )
    page.locator("#segment-canvas [data-act=undo]").click()
    page.wait_for_function(
        "old => document.querySelector('#segment-canvas .pp-status').innerText === old", arg=first
    )
    page.locator("#segment-canvas [data-act=clear]").click()
    wait_text(page, page.locator("#segment-canvas .pp-count"), re.compile("0|No|^$"))


@DESKTOP_ONLY
def test_segment_files_can_be_taken_away(page):
    tab(page, "Segment")
    upload(page, "segment", EXAMPLES / "astronaut.jpg")
    status = page.locator("#segment-canvas .pp-status")
    wait_text(page, status, "Ready")
    page.locator("#segment-canvas .pp-canvas").click()
    wait_text(page, status, "Mask")
    page.locator("#segment-export button").first.click()
    page.locator("#segment-files-make").click()
    for name in ("objects", "coco", "index", "cutout-01"):
        page.locator("#segment-files").get_by_text(name).first.wait_for()
    page.locator("#segment-code button").first.click()
    page.locator("#segment-code").get_by_text("SamPredictor").first.wait_for()


@DESKTOP_ONLY
def test_boxes_can_be_taken_away(page):
    tab(page, "Detect")
    upload(page, "detect", EXAMPLES / "astronaut.jpg")
    facts(page, "detect")
    page.locator("#detect-export button").first.click()
    page.locator("#detect-files-make").click()
    for name in ("boxes", "coco", "data", "astronaut"):
        page.locator("#detect-files").get_by_text(name).first.wait_for()
    field = page.get_by_label("number input for Threshold")
    field.fill("0.9")  # the files are of other boxes now
    field.press("Enter")
    page.wait_for_function("!document.querySelector('#detect-files')?.innerText.includes('zip')")


def test_the_list_and_the_picture_of_detect_show_each_other(page):
    tab(page, "Detect")
    upload(page, "detect", EXAMPLES / "astronaut.jpg")
    field = page.get_by_label("number input for Threshold")
    field.fill("0.1")
    field.press("Enter")
    if page.viewport_size == PHONE:  # both in sight at once
        top = page.locator(".lab-quick").bounding_box()["y"]
        bottom = page.locator("#detect-result .dv-stage").bounding_box()
        assert bottom["y"] + bottom["height"] - top < 0.6 * PHONE["height"]
    view, rows = page.locator("#detect-result .dv"), page.locator("#detect-result .dv-list li")
    page.wait_for_function("document.querySelectorAll('#detect-result .dv-list li').length > 3")
    count = rows.count()
    places = [place for place in json.loads(view.get_attribute("data-drawn"))["labels"] if place]
    for one, other in itertools.combinations(places, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)
    rows.nth(1).locator(".dv-row").focus()
    assert json.loads(view.get_attribute("data-drawn"))["chosen"] == 1
    rows.nth(1).locator(".dv-hide").press("Enter")
    assert json.loads(view.get_attribute("data-shown")) == [i for i in range(count) if i != 1]
    page.locator("#detect-result .dv-classes button").last.click()  # only this class
    left = json.loads(view.get_attribute("data-shown"))
    assert 0 < rows.count() < count and len(left) in (rows.count(), rows.count() - 1)
    page.locator("#detect-result .dv-all").click()
    assert json.loads(view.get_attribute("data-shown")) == list(range(count))
    page.locator("#detect-result .dv-sort").select_option("left")
    order = [int(row.get_attribute("data-box")) for row in rows.all()]
    assert sorted(order) == list(range(count)) and order != sorted(order)
    page.locator("#detect-result .dv-sort").select_option("score")
    stage = page.locator("#detect-result .dv-stage")
    stage.focus()
    stage.press("+")
    assert json.loads(view.get_attribute("data-drawn"))["zoom"] == 1.5
    stage.press("0")
    box = stage.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5)
    chosen = page.locator("#detect-result .dv-list li[data-chosen=true]")
    assert chosen.count() == 1
    page.mouse.click(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5)
    with page.expect_download() as saved:
        page.locator("#detect-result .dv-save").click()
    assert saved.value.suggested_filename == "astronaut-boxes.jpg"
    with (
        Image.open(saved.value.path()) as picture,
        Image.open(EXAMPLES / "astronaut.jpg") as before,
    ):
        assert picture.size == before.size


@DESKTOP_ONLY
def test_several_pictures_get_their_boxes(page):
    tab(page, "Detect")
    page.locator("#detect-several button").first.click()
    chosen = [EXAMPLES / "hopper.jpg", EXAMPLES / "chelsea.jpg"]
    page.locator("#detect-pictures input[type=file]").set_input_files(chosen)
    page.locator("#detect-pictures").get_by_text("chelsea").first.wait_for()
    page.locator("#detect-several-run").click()
    page.locator("#detect-several-file").get_by_text("boxes").first.wait_for()
    assert "in 2 pictures" in page.locator("#detect-several-said").inner_text()
    assert page.locator("#detect-several-shown img").count() >= 2


@PHONE_ONLY
def test_a_cut_out_becomes_the_picture(page):
    tab(page, "Segment")
    upload(page, "segment", EXAMPLES / "coffee.jpg")
    status = page.locator("#segment-canvas .pp-status")
    page.wait_for_function("document.querySelector('#picture img')?.src.includes('coffee')")
    wait_text(page, status, "Ready")
    page.locator("#segment-canvas .pp-canvas").click()
    wait_text(page, status, "Mask")
    page.locator("#segment-export button").first.click()
    page.locator("#segment-use").click()
    page.wait_for_function("document.querySelector('#picture img').src.includes('cutout')")
    wait_text(page, status, "Ready")
    tab(page, "Restore")
    tab(page, "Deblur")
    assert "pixels" in facts(page, "deblur")


@DESKTOP_ONLY
def test_boxes_of_detect_become_prompts(page):
    tab(page, "Detect")
    upload(page, "detect", EXAMPLES / "astronaut.jpg")
    field = page.get_by_label("number input for Threshold")
    field.fill("0.45")
    field.press("Enter")
    page.wait_for_function("document.querySelectorAll('#detect-result .dv-list li').length < 8")
    rows = page.locator("#detect-result .dv-list li")
    for row in range(1, rows.count()):
        rows.nth(row).get_by_role("button", name="Hide").click()
    page.locator("#detect-send").click()
    wait_text(page, page.locator("#segment-canvas .pp-status"), "Mask")
    names = page.locator("#segment-canvas .pp-name")
    assert names.count() >= 1 and names.first.input_value() == "person"
    assert page.locator("#segment-canvas .pp-count").inner_text() == "1 box"


@PHONE_ONLY
def test_everything_mode(page):
    tab(page, "Segment")
    upload(page, "segment", EXAMPLES / "coffee.jpg")
    wait_text(page, page.locator("#segment-canvas .pp-status"), "Ready")
    page.locator("#segment-canvas [data-act=everything]").click()
    page.locator("#everything-info .info .tier").wait_for()  # to the end
    assert re.search(r" [1-9]\d* masks? ", page.locator("#everything-info").inner_text())
    page.wait_for_function("document.querySelector('#segment-canvas .pp').dataset.segments > 0")
    status = page.locator("#segment-canvas .pp-status").inner_text()
    assert re.fullmatch(r"[1-9]\d* masks?: click one\.", status)
    canvas = page.locator("#segment-canvas .pp-canvas")
    box = canvas.bounding_box()
    tried = [(fx / 10, fy / 10) for fy in range(2, 9, 2) for fx in range(2, 9, 2)]
    count = page.locator("#segment-canvas .pp-count")
    for fx, fy in tried:  # until one lies on a mask; where none does, the page says so
        for toast in page.locator(".toast-close").all():
            toast.click()
        page.wait_for_function("!document.querySelector('.toast-body')")
        canvas.click(position={"x": box["width"] * fx, "y": box["height"] * fy})
        page.wait_for_function(
            "document.querySelector('#segment-canvas .pp-count').innerText"
            " || document.querySelector('.toast-body')"
        )
        if count.inner_text():
            break
    assert count.inner_text() == "1 picked mask"
    wait_text(page, page.locator("#segment-canvas .pp-status"), "Mask")


@DESKTOP_ONLY
def test_a_bad_file_gets_one_sentence_and_the_next_one_works(page, tmp_path):
    bad = tmp_path / "broken.png"
    bad.write_bytes((EXAMPLES / "small.png").read_bytes()[:200])
    recent = page.locator("#tray button").count()
    upload(page, "classify", bad, answered=False)
    toast = page.locator(".toast-body").first
    toast.wait_for()
    text = toast.inner_text()
    assert "picture" in text.lower() and "Traceback" not in text and "Error:" not in text
    page.wait_for_function(
        "count => document.querySelectorAll('#tray button').length === count", arg=recent
    )  # nobody wants to go back to it
    page.locator('#picture [aria-label="Remove Image"]').click()
    upload(page, "classify", EXAMPLES / "chelsea.jpg", answered=False)
    page.locator("#classify-result .bars li").first.wait_for()


def test_a_link_opens_its_tab(browser, url):
    with page_again(browser) as page:
        page.goto(f"{url}?tab=restore")
        page.locator("#denoise-run").wait_for(timeout=SECONDS)


def wait_text(page, locator, text):
    from playwright.sync_api import expect

    expect(locator).to_have_text(
        text if isinstance(text, re.Pattern) else re.compile(re.escape(text)), timeout=SECONDS
    )


@PHONE_ONLY
def test_the_model_card_opens_with_its_pictures_and_follows_the_picker(page):
    tab(page, "Restore")
    tab(page, "Denoise")
    page.locator("#denoise-card button").first.click()
    page.locator("#denoise-card .card-picture img").first.wait_for()
    assert page.evaluate(
        "[...document.querySelectorAll('#denoise-card img')].every(i => i.naturalWidth > 100)"
    )
    assert "CBSD68" in page.locator("#denoise-card").inner_text()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"] + 1, "the page scrolls sideways"
    page.locator("#denoise-checkpoint input").click()
    page.get_by_role("option", name=re.compile("NAFNet-32")).click()
    page.locator("#denoise-card").get_by_text("nyanko7/nafnet-models").wait_for()
    assert page.locator("#denoise-card .card-picture").count() == 0


def test_the_handle_is_a_slider_and_moves_by_keys(browser, url):
    with page_again(browser) as page:
        page.goto(f"{url}?tab=denoise")
        handle = page.locator("#denoise-result [role=slider]")
        handle.wait_for()
        assert handle.get_attribute("aria-label") == "Before and after"
        picture = page.locator("#denoise-result img").first
        page.locator("#denoise-use").focus()
        for _ in range(20):  # backwards from the button below it
            page.keyboard.press("Shift+Tab")
            if page.evaluate("document.activeElement.getAttribute('role')") == "slider":
                break
        before = value(handle)
        for key, share in (
            ("ArrowRight", before + 2),
            ("ArrowLeft", before),
            ("PageDown", before - 10),
            ("End", 100),
            ("Home", 0),
            ("PageUp", 10),
        ):
            page.keyboard.press(key)
            page.wait_for_function(
                "([handle, share]) => Math.abs(handle.getAttribute('aria-valuenow') - share) <= 1",
                arg=[handle.element_handle(), share],
            )
            seen = place(handle, picture)
            assert abs(seen - share) <= 1.5, (key, seen, share)


def value(handle):
    return int(handle.get_attribute("aria-valuenow"))


def place(handle, picture):
    """Where the handle is drawn, in percent of the picture."""
    line, box = handle.bounding_box(), picture.bounding_box()
    return float(100 * (line["x"] + line["width"] / 2 - box["x"]) / box["width"])
