"""The views of Classify's lessons in a browser: one server and one page for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gradio_client import handle_file

from core import classify
from core.lessons import attention, cnn_family, compare, feature_maps, logits, receptive_field
from tests.browser import PHONE, page_of
from tests.lesson_views import begun, drawn, opened
from tests.live import EXAMPLES, client_of

pytestmark = [pytest.mark.slow, pytest.mark.browser]


PHOTO = EXAMPLES / "chelsea.jpg"  # the picture that the page begins with


@pytest.fixture(scope="module")
def page(browser: Any, url: str) -> Iterator[Any]:
    """Classify with the first example and its result."""
    with page_of(browser) as page:
        yield begun(page, url)


# --- receptive field ---


def test_the_field_is_edited_and_measured_without_a_request(page):
    with opened(page, "receptive-field", "rf") as view:
        edit(view)
        measured(page, view)


def edit(view):
    """The chain in the browser has the numbers of Python, and says what cannot be."""
    for one in receptive_field.PRESETS:
        view.locator(".rf-preset").select_option(one.key)
        fields = receptive_field.chain(one.key)
        cells = view.locator(".rf-rows .rf-size").all_inner_texts()
        assert cells == ["all" if f.size == float("inf") else f"{f.size:g}" for f in fields]
        assert view.locator(".rf-rows .rf-jump").all_inner_texts() == [str(f.jump) for f in fields]
        units = view.locator(".rf-rows .rf-units").all_inner_texts()
        assert units == [str(f.units) for f in fields]
    view.locator(".rf-preset").select_option("vgg16")
    assert drawn(view).split() == ["vgg16", "18", "17", "212", "32", "7"]
    view.get_by_label("kernel of layer 1", exact=True).fill("5")
    assert drawn(view).split()[:4] == ["yours", "18", "0", "5"]
    view.get_by_label("stride of layer 2", exact=True).fill("2")
    view.get_by_label("dilation of layer 4", exact=True).fill("3")
    view.get_by_label("Remove layer 18, pool5").click()
    view.get_by_text("Add a convolution").click()
    text = "c5 c3s2 m2s2 c3d3p3 c3 m2s2" + 2 * " c3 c3 c3 m2s2" + " c3 c3 c3 c3"
    last = receptive_field.chain(text, 224)[-1]
    assert drawn(view) == f"yours 18 17 {last.size:g} {last.jump} {last.units}"
    view.get_by_label("kernel of layer 1", exact=True).fill("0")
    assert "between 1 and 64" in view.locator(".rf-wrong").inner_text()
    view.get_by_label("kernel of layer 1", exact=True).fill("5")
    view.get_by_label("pixels a side").fill("16")
    assert "positions, but only" in view.locator(".rf-wrong").inner_text()


def measured(page, view):
    """The footprint is that of Python, and the unit moves by click and by key."""
    found = receptive_field.measure(PHOTO)
    buttons = view.locator(".rf-layers button")
    assert buttons.all_inner_texts() == [one.name for one in found.layers]
    buttons.nth(2).click()
    one = found.layers[2]
    said = view.locator(".rf-found").inner_text()
    assert one.name in said
    assert f"a square of {one.side} pixels" in said
    assert f"{one.field.size:g} x {one.field.size:g} pixels" in said
    size = view.locator(".rf-picture").bounding_box()["width"]
    view.locator(".rf-preset").select_option("alexnet")
    before = view.locator(".rf-picture").evaluate("one => one.toDataURL()")
    view.locator(".rf-picture").click(position={"x": size / 4, "y": size / 4})
    moved = view.locator(".rf-picture").evaluate("one => one.toDataURL()")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    pressed = view.locator(".rf-picture").evaluate("one => one.toDataURL()")
    assert len({before, moved, pressed}) == 3


def test_any_unit_is_measured(page):
    """By its layer, a click and arrow keys; the chain that is edited stays as it is."""
    with opened(page, "receptive-field", "rf", again=True) as view:
        found = receptive_field.measure(PHOTO)
        one = next(x for x in found.units if x.name not in {y.name for y in found.layers})
        chain = drawn(view)

        def waits_for(row, column):
            page.wait_for_function(
                "wanted => document.querySelector('#lesson-receptive-field .rf').dataset.measured "
                "=== wanted", arg=f"{one.name} {row} {column}",
            )  # fmt: skip
            (mine,) = receptive_field.measure(PHOTO, layer=one.name, row=row, column=column).layers
            said = view.locator(".rf-found").inner_text()
            assert f"row {row + 1}, column {column + 1} of {one.name} (" in said
            assert f"a square of {mine.side} pixels" in said

        rows, columns = one.grid
        view.locator(".rf-any").select_option(one.name)
        waits_for(rows // 2, columns // 2)
        canvas = view.locator(".rf-measured")
        side = canvas.bounding_box()["width"]
        canvas.click(position={"x": 2.5 * side / columns, "y": 1.5 * side / rows})
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        waits_for(2, 3)
        assert drawn(view) == chain
        view.locator(".rf-layers button").nth(1).click()
        first = found.layers[1]
        page.wait_for_function(
            "name => document.querySelector('#lesson-receptive-field .rf').dataset.measured"
            ".startsWith(name)", arg=first.name,
        )  # fmt: skip


# --- feature maps ---


def test_a_channel_is_chosen_by_click_and_by_key(page):
    with opened(page, "feature-maps", "fm") as view:
        found = feature_maps.look(PHOTO)
        size = view.locator(".fm-sheet").bounding_box()["width"]
        view.locator(".fm-sheet").click(position={"x": size * 2.5 / 8, "y": size * 1.5 / 8})
        one = found.layers[0]
        assert drawn(view).split() == ["0", one.name, "10", str(one.channels[10])]
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        assert drawn(view).split()[2:] == ["19", str(one.channels[19])]
        low, high = one.maps[19].min(), one.maps[19].max()
        said = view.locator(".fm-said").inner_text()
        assert said.startswith(f"Channel {one.channels[19] + 1} of {one.count}, from ")
        ends = [float(part.split(" ")[0]) for part in said.split("from ")[1].split(" to ")]
        np.testing.assert_allclose(ends, [low, high], rtol=0.02, atol=0.02)
        large = view.locator(".fm-large")
        covered = large.evaluate("one => one.toDataURL()")
        view.locator(".fm-opacity").fill("0")
        assert large.evaluate("one => one.toDataURL()") != covered
        view.locator(".fm-layer").fill(str(len(found.layers)))
        assert drawn(view).split()[1] == found.layers[-1].name


# --- compare ---


def test_two_are_compared_and_a_third_joins(page):
    with opened(page, "compare", "cp") as view:
        found = compare.look(PHOTO)
        cards = view.locator(".cp-card")
        assert cards.locator("h5").all_inner_texts() == [one.title for one in found.answers]
        for place, one in enumerate(found.answers):
            names = cards.nth(place).locator(".cp-bars li span:nth-child(2)").all_inner_texts()
            assert names == list(one.labels)
            assert f"{one.params / 1e6:.3g} M" in cards.nth(place).inner_text()
        assert f"{100 * found.agreement[0, 1]:.0f} %" in view.locator(".cp-table").inner_text()
        view.locator(".cp-opacity").fill("0")
        assert drawn(view).split() == ["2", "0"]
    page.locator("#lesson-compare > button").first.click()
    page.locator("#lesson-compare-third input").click()
    page.locator("li[role=option][aria-label='EfficientNet-Lite0']").click()
    page.locator("#lesson-compare-said [role=alert]").wait_for()
    said = page.locator("#lesson-compare-said").inner_text()
    assert "two to four different checkpoints" in said
    page.locator("#lesson-compare > button").first.click()


# --- the family ---


def test_the_family_shows_who_is_ready(page):
    with opened(page, "cnn-family", "family") as view:
        cards = view.locator(":scope > li")
        assert cards.locator("h3").all_inner_texts() == [one.title for one in cnn_family.FAMILY]
        best = classify.predict(PHOTO, "efficientnet-lite0").labels[0]
        assert cards.last.locator(".bar-name").first.inner_text() == best
        assert "none of the 10 classes" in cards.first.inner_text()  # LeNet-5 reads digits


# --- all of them ---


def test_they_fit_on_a_phone(browser, url):
    with page_of(browser, viewport=PHONE, touch=True) as phone:
        begun(phone, url)
        for key, root in (
            ("attention", "at"),
            ("receptive-field", "rf"),
            ("compare", "cp"),
            ("cnn-family", "family"),
            ("feature-maps", "fm"),
            ("positions", "po"),
            ("logits", "lo"),
            ("why-this-class", "wy"),
        ):
            with opened(phone, key, root) as view:
                fits = "document.documentElement.scrollWidth <= window.innerWidth"
                assert phone.evaluate(fits), key
                if key == "attention":
                    view.locator(".at-picture").tap(position={"x": 2, "y": 2})
                    token = int(drawn(view).split()[2])
                    assert token == len(attention.look(PHOTO).special)
                if key == "feature-maps":
                    side = view.locator(".fm-sheet").bounding_box()["width"] / 8
                    view.locator(".fm-sheet").tap(position={"x": 4.5 * side, "y": 0.5 * side})
                    assert drawn(view).split()[2] == "4"
                if key == "positions":
                    view.locator(".po-picture").tap(position={"x": 2, "y": 2})
                    assert drawn(view).split()[0] == "0"
                if key == "logits":
                    view.locator(".lo-body button").nth(1).tap()
                    second = logits.look(PHOTO).values.argsort()[-2]
                    assert drawn(view).split()[1] == str(second)
                if key == "why-this-class":
                    view.locator(".wy-grid button").nth(2).tap()
                    assert drawn(view).startswith("2|")


def test_their_endpoints_answer(url):
    client, picture = (
        client_of(url),
        handle_file(PHOTO),
    )
    found = client.predict(picture, chain="resnet50-2015", api_name="/receptive_field")
    assert found["layers"][-1]["field"] == 483
    found = client.predict(picture, "efficientnet-lite0", api_name="/receptive_field")
    assert found["layers"][0]["field"] == 3
    assert found["layers"][-1]["side"] > 50
    found = client.predict(picture, layer="trunk.blocks.1.0", channels=2, api_name="/feature_maps")
    assert np.array(found["values"]).shape == (2, 56, 56)
    found = client.predict(picture, top_k=2, api_name="/compare")
    assert [len(one["classes"]) for one in found["answers"]] == [2, 2]
    assert json.dumps(found)
    found = client.predict(picture, top_k=1, api_name="/cnn_family")["family"]
    assert [one["year"] for one in found] == [1998, 2012, 2014, 2014, 2015, 2019]
    assert len(found[-1]["classes"]) == 1
    for name, wrong, said in (
        ("/receptive_field", {"chain": "c0"}, "kernel of layer 1"),
        ("/feature_maps", {"layer": "nose"}, "no layer called nose"),
        ("/feature_maps", {"channels": 0.5}, "whole number"),
        ("/compare", {"checkpoints": "auto"}, "two to four different"),
        ("/compare", {"checkpoints": "auto, nose"}, "no checkpoint called nose"),
    ):
        with pytest.raises(Exception, match=said):
            client.predict(picture, **wrong, api_name=name)
