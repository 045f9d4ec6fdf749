"""The point-prompt canvas in a real browser, by mouse, keyboard and touch."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.browser import PHONE, chromium, page_of, tab
from tests.canvas_app import SIZES, SLOW_SECONDS, Demo, Pad, touch_drag
from tests.conftest import wait_for

NOTHING = "Click what you want to cut out."  # what the page says without a prompt
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    made = Demo()
    # As the app is launched: with its history of runs Gradio writes all of them, pictures included,
    # into the browser's storage after each, so that every click takes longer than the last.
    made.page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, run_history=False
    )
    yield made
    made.page.close()


@pytest.fixture(scope="module")
def browser(demo: Demo) -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def desktop(browser: Any, demo: Demo) -> Iterator[Any]:
    with page_of(browser) as page:
        page.goto(demo.page.local_url)
        yield page


@pytest.fixture
def pad(desktop: Any, demo: Demo) -> Pad:
    return Pad(desktop, demo).open("wide")


def test_left_right_shift_and_toggle(pad: Pad) -> None:
    pad.click(100, 100)
    pad.click(300, 100, button="right")
    pad.click(500, 100, key="Shift")
    pad.button("exclude")
    pad.click(100, 300)
    pad.click(300, 300, button="right")
    pad.button("include")
    pad.click(500, 300)
    pad.settle(6)
    assert pad.demo.last["points"] == [
        [100, 100, 1], [300, 100, 0], [500, 100, 0], [100, 300, 0], [300, 300, 0], [500, 300, 1],
    ]  # fmt: skip
    in_order = sorted(pad.demo.seen, key=lambda seen: seen["seq"])
    assert [seen["gesture"] for seen in in_order] == [
        "include", "exclude", "exclude", "exclude", "exclude", "include",
    ]  # fmt: skip
    assert pad.count() == "2 include, 4 exclude"
    assert pad.status().endswith("points")


def test_the_mask_is_painted_where_it_is(pad: Pad) -> None:
    assert not pad.masked(220, 200)
    pad.click(200, 200)
    pad.settle(1)
    assert pad.masked(220, 200) and pad.masked(200, 240)
    assert not pad.masked(300, 200)
    red, green, _, _ = pad.colour(197, 197)
    assert green > red + 60, "an include point is green"


def test_a_drag_draws_a_box_and_escape_drops_it(pad: Pad) -> None:
    pad.drag(400, 300, 100, 50)
    pad.settle(1)
    assert pad.demo.last["box"] == [100, 50, 400, 300]
    assert pad.demo.last["gesture"] == "box"
    assert pad.masked(250, 150) and pad.count() == "1 box"
    pad.click(250, 150, button="right")
    pad.press("Escape")
    pad.settle(3)
    assert pad.demo.last["box"] is None
    assert pad.demo.last["points"] == [[250, 150, 0]]


def test_undo_redo_clear_delete(pad: Pad) -> None:
    pad.click(100, 100)
    pad.click(300, 200)
    pad.button("undo")
    pad.settle(3)
    assert pad.demo.last["points"] == [[100, 100, 1]]
    assert not pad.masked(320, 200)
    pad.button("redo")
    pad.settle(4)
    assert pad.demo.last["points"] == [[100, 100, 1], [300, 200, 1]]
    pad.page.locator("#pp [data-act=redo][aria-disabled=true]").click(force=True)  # no gesture
    pad.page.wait_for_timeout(400)  # else the next click reads as the second half of a double one
    pad.click(102, 101)  # on a point
    pad.settle(5)
    assert pad.demo.last["points"] == [[300, 200, 1]]
    pad.click(320, 210, key="Alt")  # near a point
    pad.settle(6)
    assert pad.demo.last["points"] == []
    pad.press("Control+z", "Control+z", "Control+y")
    pad.settle(9)
    assert pad.demo.last["points"] == [[300, 200, 1]]
    pad.button("clear")
    pad.settle(10)
    assert pad.demo.last["gesture"] == "clear" and pad.demo.last["points"] == []
    assert not pad.masked(320, 200) and pad.status() == NOTHING and pad.count() == ""
    pad.press("Control+Shift+z")
    pad.button("undo")
    pad.settle(11)
    assert pad.demo.last["points"] == [[300, 200, 1]]


def test_fast_clicks_are_all_kept_and_late_answers_do_not_win(pad: Pad) -> None:
    spots = [(60 + 55 * i, 60 + 30 * i) for i in range(10)]
    pad.demo.hold, pad.demo.answered = True, 0
    for spot in spots:
        pad.click(*spot)
    pad.settle(10)
    pad.demo.hold = False
    pad.demo.release.set()  # the first answer comes after the last one
    wait_for(lambda: pad.demo.answered >= 10)
    pad.page.wait_for_timeout(500)  # for the late answer to reach the page
    assert pad.demo.last["points"] == [[x, y, 1] for x, y in spots]
    assert pad.count() == "10 include" and pad.status() == "10 points"
    assert all(pad.masked(x + 20, y) for x, y in spots)


def test_a_double_click_adds_one_point(pad: Pad) -> None:
    pad.page.mouse.dblclick(*pad.spot(200, 200))
    pad.settle(1)
    assert pad.demo.last["points"] == [[200, 200, 1]]


def test_keyboard_alone(pad: Pad) -> None:
    pad.page.locator("#pp [data-act=add-object]").focus()
    pad.press("Tab")
    assert pad.page.evaluate("document.activeElement.className") == "pp-canvas"
    assert pad.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    pad.press("Enter", "ArrowRight", "Shift+ArrowDown", "Control+ArrowDown", "Shift+Enter")
    pad.settle(2)
    step = [320 + 6, 200 + 32 + 1]
    assert pad.demo.last["points"] == [[320, 200, 1], [*step, 0]]
    pad.press("Delete")
    pad.settle(3)
    assert pad.demo.last["points"] == [[320, 200, 1]]
    pad.press("b", *["Shift+ArrowLeft"] * 3, *["Shift+ArrowUp"] * 2, "b")
    pad.settle(4)
    x, y = step[0] + 0.5, step[1] + 0.5
    assert np.abs(np.subtract(pad.demo.last["box"], [x - 96, y - 64, x, y])).max() <= 0.5
    pad.press("Escape", "Control+z", "Control+z", "Control+z", "Control+y")
    pad.settle(9)
    assert pad.demo.last["points"] == [[320, 200, 1]] and pad.demo.last["box"] is None


def test_names_for_screen_readers(pad: Pad) -> None:
    assert pad.canvas.get_attribute("aria-label") == "Test picture: A wide ramp"
    pad.click(100, 100)
    pad.settle(1)
    said = pad.page.locator("#pp .pp-say")
    pad.page.wait_for_function(
        "document.querySelector('#pp .pp-say').textContent.startsWith('Include')"
    )
    assert said.get_attribute("aria-live") == "polite"
    assert said.text_content() == "Include point at 100, 100"
    assert pad.page.locator("#pp [role=status]").inner_text().endswith("points")
    said = pad.canvas.get_attribute("aria-label")
    assert re.fullmatch(r"Test picture: A wide ramp\. Object 1, \d+%", said), "says the result"
    pad.button("exclude")
    assert pad.page.locator("#pp [data-act=exclude]").get_attribute("aria-pressed") == "true"
    pad.button("include")


def test_a_new_picture_starts_afresh_and_none_shows_the_hint(pad: Pad) -> None:
    pad.click(100, 100)
    pad.settle(1)
    pad.open("tall")
    assert pad.count() == "" and pad.status() == ""
    pad.press("Control+z")
    pad.click(150, 450)
    pad.settle(1)
    assert pad.demo.last["points"] == [[150, 450, 1]]
    tab(pad.page, "Pick")
    pad.page.locator("#pick-none").click()
    tab(pad.page, "Canvas")
    pad.page.locator("#pp .pp-hint").wait_for()
    assert pad.page.locator("#pp .pp-hint").inner_text() == "Choose a picture above."
    assert not pad.canvas.is_visible()


def test_the_same_picture_once_more_keeps_the_prompts(pad: Pad) -> None:
    pad.open("same")
    first = pad.demo.shown["id"]
    pad.click(200, 200)
    pad.button("add-object")
    pad.click(450, 300)
    pad.settle(3)
    before = [(one["name"], one["points"]) for one in pad.demo.last["objects"]]
    assert [points for _, points in before] == [[[200, 200, 1]], [[450, 300, 1]]]
    tab(pad.page, "Pick")
    pad.page.locator("#pick-same").click()
    tab(pad.page, "Canvas")
    wait_for(lambda: pad.demo.last["gesture"] == "preset")
    assert pad.demo.last["picture"] == pad.demo.shown["id"] != first
    assert [(one["name"], one["points"]) for one in pad.demo.last["objects"]] == before
    pad.painted()
    pad.open("wide")  # of nothing known
    assert pad.count() == ""


def test_a_message_changes_only_the_sentence(pad: Pad) -> None:
    pad.click(200, 200)
    pad.settle(1)
    tab(pad.page, "Pick")
    pad.page.locator("#pick-message").click()
    tab(pad.page, "Canvas")
    pad.page.wait_for_function(
        "document.querySelector('#pp .pp-status').textContent === 'Reading.'"
    )
    assert pad.masked(220, 200) and pad.count() == "1 include"


def test_prompts_that_come_with_the_picture(desktop: Any, demo: Demo) -> None:
    demo.size = SIZES["wide"]
    pad = Pad(desktop, demo)
    demo.seen.clear()
    tab(desktop, "Pick")
    desktop.locator("#pick-preset").click()
    tab(desktop, "Canvas")
    pad.canvas.wait_for()
    pad.page.wait_for_function(
        "document.querySelector('#pp .pp-count').textContent === '1 include, 1 box'"
    )
    pad.base = pad.sent() - 1
    pad.settle(1)
    assert demo.last["gesture"] == "preset"
    assert demo.last["points"] == [[100, 100, 1]] and demo.last["box"] == [50, 60, 300, 200]
    pad.button("undo")
    pad.settle(2)
    assert demo.last["points"] == [] and demo.last["box"] is None


@pytest.mark.parametrize(
    ("scale", "names"), [(1, list(SIZES)), (1.25, ["wide"]), (2, ["large", "tall"])]
)
def test_the_right_pixel_at_every_size(
    browser: Any, demo: Demo, scale: float, names: list[str]
) -> None:
    with page_of(browser, scale=scale) as page:
        page.goto(demo.page.local_url)
        for name in names:
            w, h = SIZES[name]
            pad = Pad(page, demo).open(name)
            corners = [(0.02, 0.02), (0.97, 0.03), (0.5, 0.5), (0.03, 0.98), (0.96, 0.95)]
            wanted = [(int(fx * w), int(fy * h)) for fx, fy in corners]
            for spot in wanted:
                pad.click(*spot)
            pad.settle(len(wanted))
            # One display pixel stands for several of a large picture.
            slack = max(1.0, w / pad.canvas.bounding_box()["width"])
            got = np.array(demo.last["points"])[:, :2]
            assert np.abs(got - wanted).max() <= (slack if slack > 1 else 0), (name, got, wanted)
            on_screen = pad.canvas.evaluate("c => [c.width / c.clientWidth, c.clientWidth]")
            assert on_screen[0] == pytest.approx(scale, abs=1 / on_screen[1])


def test_the_right_pixel_when_zoomed_and_full_screen(desktop: Any, demo: Demo) -> None:
    pad = Pad(desktop, demo).open("wide")
    desktop.evaluate("document.body.style.zoom = 1.25")
    pad.click(611, 33)
    pad.settle(1)
    desktop.evaluate("document.body.style.zoom = 1")
    pad.button("full")
    desktop.wait_for_function(
        "document.fullscreenElement && document.querySelector('#pp .pp-canvas').clientWidth > 1000"
    )
    pad.click(33, 388)
    pad.settle(2)
    desktop.evaluate("document.exitFullscreen()")
    desktop.wait_for_function("!document.fullscreenElement")
    assert demo.last["points"] == [[611, 33, 1], [33, 388, 1]]


def test_phone(browser: Any, demo: Demo) -> None:
    with page_of(browser, viewport=PHONE, scale=2, touch=True) as page:
        page.goto(demo.page.local_url)
        pad = Pad(page, demo).open("large")
        page.touchscreen.tap(*pad.spot(1000, 1000))
        page.locator("#pp [data-act=exclude]").tap()
        page.touchscreen.tap(*pad.spot(3000, 1000))
        page.touchscreen.tap(*pad.spot(3000, 2200))
        page.wait_for_timeout(400)
        page.touchscreen.tap(*pad.spot(3050, 2200))  # on the point before: removes it
        pad.page.locator("#pp [data-act=include]").tap()
        pad.settle(4)
        assert demo.last["gesture"] == "delete" and pad.count() == "1 include, 1 exclude"
        touch_drag(page, pad.spot(400, 400), pad.spot(2400, 2000))
        pad.page.wait_for_function(
            "document.querySelector('#pp .pp-count').textContent.includes('box')"
        )
        box = pad.canvas.bounding_box()
        slack = SIZES["large"][0] / box["width"]
        assert np.abs(np.subtract(demo.last["box"], [400, 400, 2400, 2000])).max() <= 2 * slack
        assert box["x"] >= 20 and box["x"] + box["width"] <= PHONE["width"] - 20, "room to scroll"
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        buttons = page.locator("#pp .pp-btn:visible")
        sides = [buttons.nth(i).bounding_box() for i in range(buttons.count())]
        assert len(sides) == 10 and all(s["height"] >= 40 and s["width"] >= 40 for s in sides)


def objects(pad: Pad) -> list[dict[str, Any]]:
    return pad.demo.last["objects"]


def test_eight_objects_with_names_and_colours(pad: Pad) -> None:
    spots = [(60 + 70 * i, 60 + 35 * i) for i in range(8)]
    for i, spot in enumerate(spots):
        if i:
            pad.button("add-object")
        pad.click(*spot)
    pad.settle(15)
    assert [one["points"] for one in objects(pad)] == [[[x, y, 1]] for x, y in spots]
    assert len({one["color"] for one in objects(pad)}) == 8
    assert all(pad.masked(x + 20, y) for x, y in spots), "all are painted"
    numbers = pad.page.locator("#pp .pp-swatch").all_inner_texts()
    assert numbers == [str(i + 1) for i in range(8)]
    names = pad.page.locator("#pp .pp-name")
    names.nth(2).fill("Left cup")  # which also selects it
    names.nth(2).press("Enter")
    pad.settle(17)
    assert objects(pad)[2]["name"] == "Left cup" and pad.demo.last["active"] == 3
    pad.click(300, 330, key="Shift")
    pad.settle(18)
    assert objects(pad)[2]["points"] == [[*spots[2], 1], [300, 330, 0]]
    pad.page.get_by_label("Remove Left cup").click()
    pad.settle(19)
    assert len(objects(pad)) == 7 and not pad.masked(spots[2][0], spots[2][1] - 20)
    pad.button("undo")
    pad.settle(20)
    assert len(objects(pad)) == 8 and pad.demo.last["want"] == [], "its mask was kept"
    assert pad.masked(spots[2][0], spots[2][1] - 20)
    pad.button("clear")
    pad.settle(21)
    assert [one["points"] for one in objects(pad)] == [[]]


def test_one_of_several_masks_is_chosen_and_kept_by_later_clicks(pad: Pad) -> None:
    pad.click(320, 200)
    pad.settle(1)
    choices = pad.page.locator("#pp .pp-choice")
    assert choices.all_inner_texts() == ["whole\nIoU 0.9", "part\nIoU 0.8"]
    assert not pad.masked(320, 80)
    choices.nth(0).click()
    pad.settle(2)
    assert objects(pad)[0]["choice"] == 0 and pad.masked(320, 80)
    assert choices.nth(0).get_attribute("aria-checked") == "true"
    pad.click(100, 300)
    pad.settle(3)
    assert objects(pad)[0]["choice"] == 0 and choices.count() == 0
    pad.press("Control+z", "Control+z")
    pad.settle(5)
    assert objects(pad)[0]["choice"] is None and not pad.masked(320, 80)


def zoomed(pad: Pad) -> None:
    """Tell the pad what the canvas shows, as the page says it."""
    w, h = pad.demo.size
    x, y, x2, _ = (
        float(v)
        for v in pad.page.evaluate("document.querySelector('#pp .pp').dataset.seen").split(",")
    )
    pad.view = (x, y, w / (x2 - x))
    assert h


def test_zoom_by_wheel_and_buttons_pan_and_the_right_pixel(pad: Pad) -> None:
    pad.open("large")
    pad.page.mouse.move(*pad.spot(3000, 2000))
    for _ in range(7):
        pad.page.mouse.wheel(0, -240)
    pad.page.wait_for_function("document.querySelector('#pp .pp').dataset.zoom > 30")
    pad.page.wait_for_function("document.querySelector('#pp .pp').dataset.detail")
    zoomed(pad)
    pad.click(3000, 2000)
    pad.click(3003, 1998, button="right")
    pad.settle(2)
    assert pad.demo.last["points"] == [[3000, 2000, 1], [3003, 1998, 0]], "to the very pixel"
    before = pad.view
    start, end = pad.spot(3000, 2010), pad.spot(2990, 2005)
    pad.page.keyboard.down("Space")
    pad.page.mouse.move(*start)
    pad.page.mouse.down()
    pad.page.mouse.move(*end, steps=4)
    pad.page.mouse.up()
    pad.page.keyboard.up("Space")
    zoomed(pad)
    assert pad.view[0] - before[0] == pytest.approx(10, abs=0.5)
    assert pad.view[1] - before[1] == pytest.approx(5, abs=0.5)
    pad.page.mouse.move(*pad.spot(2990, 2005))
    pad.page.mouse.down(button="middle")
    pad.page.mouse.move(*pad.spot(3000, 2010), steps=4)
    pad.page.mouse.up(button="middle")
    zoomed(pad)
    assert pad.view == pytest.approx(before, abs=0.5)
    pad.drag(2990, 1995, 3010, 2008)
    pad.settle(3)
    assert pad.demo.last["box"] == [2990, 1995, 3010, 2008]
    pad.button("whole")
    pad.page.wait_for_function("document.querySelector('#pp .pp').dataset.zoom === '1.000'")
    pad.button("closer")
    zoomed(pad)
    assert pad.view[2] == pytest.approx(1.5, abs=0.01)
    pad.button("whole")


def test_zoom_by_keys_follows_the_cross_hair(pad: Pad) -> None:
    pad.canvas.focus()
    pad.press("ArrowRight", *["+"] * 6, *["ArrowRight"] * 40, "Enter")
    pad.settle(1)
    zoomed(pad)
    x, y, _ = pad.demo.last["points"][0]
    left, _, zoom = pad.view
    assert y == 200 and left <= x <= left + 640 / zoom, "the cross-hair stays in view"
    pad.press("Control+ArrowLeft", "Shift+Enter", "0")
    pad.settle(2)
    assert pad.demo.last["points"][1] == [x - 1, y, 0]
    assert pad.page.evaluate("document.querySelector('#pp .pp').dataset.zoom") == "1.000"


def test_objects_by_keys(pad: Pad) -> None:
    pad.canvas.focus()
    pad.press("Enter", "n", "Shift+ArrowRight", "Enter", "[", "Shift+ArrowDown", "Enter", "]", "n")
    pad.settle(7)
    first, second, third = (one["points"] for one in objects(pad))
    assert first == [[320, 200, 1], [352, 232, 1]] and second == [[352, 200, 1]] and third == []


def test_a_preview_under_the_mouse(pad: Pad) -> None:
    demo, dataset = pad.demo, "document.querySelector('#pp .pp').dataset"
    demo.hovers.clear()
    pad.page.mouse.move(*pad.spot(200, 200))
    pad.page.wait_for_function(f"{dataset}.preview")
    assert demo.hovers[-1]["point"] == [200, 200, 1]
    wait_for(lambda: pad.masked(220, 200))  # the preview is painted
    demo.slow.set()
    started = time.monotonic()
    for step in range(15):
        pad.page.mouse.move(*pad.spot(200 + 8 * step, 200))
    wait_for(lambda: demo.hovers[-1]["point"] == [312, 200, 1])
    most = 2 + (time.monotonic() - started) / SLOW_SECONDS  # the mouse is slow on a busy machine
    assert len(demo.hovers) <= most, "one at a time"
    demo.slow.clear()
    demo.held.set()
    pad.page.mouse.move(*pad.spot(100, 300))
    wait_for(lambda: demo.hovers[-1]["point"] == [100, 300, 1])
    pad.page.mouse.move(5, 5)  # away
    pad.page.wait_for_function(f"!{dataset}.preview")
    demo.held.clear()
    demo.let_go.set()
    pad.page.wait_for_timeout(1200)  # for the answer to come, which finds nobody
    assert demo.hovers[-1]["point"] == [100, 300, 1]
    assert not pad.page.evaluate(f"{dataset}.preview || ''"), "the late answer is dropped"
    assert not pad.masked(120, 300) and demo.seen == [], "a preview is no gesture"
    pad.button("preview")
    count = len(demo.hovers)
    pad.page.mouse.move(*pad.spot(300, 300))
    pad.page.wait_for_timeout(300)
    assert len(demo.hovers) == count
    pad.button("preview")


def test_a_mask_is_picked_and_becomes_an_object(pad: Pad) -> None:
    pad.click(500, 300)
    pad.settle(1)
    tab(pad.page, "Pick")
    pad.page.locator("#pick-segments").click()
    tab(pad.page, "Canvas")
    pad.page.wait_for_function("document.querySelector('#pp .pp').dataset.segments === '1'")
    pad.click(300, 40)
    pad.settle(2)
    assert [one["given"] for one in objects(pad)] == [None, "stripe"]
    assert objects(pad)[1]["name"] == "Picked at 300, 40" and pad.count() == "1 picked mask"
    pad.button("include")
    pad.click(300, 250)
    pad.settle(3)
    assert objects(pad)[1]["points"] == [[300, 250, 1]]
    pad.press("Control+z", "Control+z")
    pad.settle(5)
    assert len(objects(pad)) == 1


def test_coloured_masks_can_be_hidden_and_shown_again(pad: Pad) -> None:
    tab(pad.page, "Pick")
    pad.page.locator("#pick-segments").click()
    tab(pad.page, "Canvas")
    pad.page.wait_for_function("document.querySelector('#pp .pp').dataset.segments === '1'")
    pick = pad.page.locator("#pp .pp-pick")
    assert pick.get_attribute("aria-pressed") == "true"
    shown = pad.colour(300, 40)
    pad.button("veil")
    wait_for(lambda: pad.colour(300, 40) != shown)
    assert pick.is_hidden()
    pad.click(300, 40)  # a prompt again
    pad.settle(1)
    assert objects(pad)[0]["points"] == [[300, 40, 1]]
    pad.button("clear")
    pad.button("veil")
    assert pick.get_attribute("aria-pressed") == "true"


def test_a_new_object_has_a_colour_that_is_free(pad: Pad) -> None:
    pad.click(60, 60)
    for number in range(12):  # as many as there are colours
        pad.button("add-object")
        pad.click(100 + 30 * number, 100)
        if number < 11:
            pad.page.locator("#pp .pp-objects li").nth(1).locator(".pp-remove").click()
    pad.painted()
    first, second = (one["color"] for one in objects(pad))
    assert first != second


def test_two_fingers_zoom_and_add_nothing(browser: Any, demo: Demo) -> None:
    with page_of(browser, viewport=PHONE, scale=2, touch=True) as page:
        page.goto(demo.page.local_url)
        pad = Pad(page, demo).open("wide")
        (x, y), session = pad.spot(320, 200), page.context.new_cdp_session(page)
        for kind, reach in [("Start", 20), ("Move", 30), ("Move", 40), ("Move", 60)]:
            ends = [{"x": x - reach, "y": y}, {"x": x + reach, "y": y}]
            session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": ends})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_function("document.querySelector('#pp .pp').dataset.zoom > 2.5")
        zoomed(pad)
        page.touchscreen.tap(*pad.spot(330, 210))
        pad.settle(1)
        assert np.abs(np.subtract(demo.last["points"], [[330, 210, 1]])).max() <= 1
        assert demo.hovers == [] or demo.hovers[-1]["picture"] != demo.last["picture"]
