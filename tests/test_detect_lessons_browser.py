"""The lessons of Detect in a real browser: arithmetic of the page, and what a person does."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from scipy.optimize import linear_sum_assignment
from torchvision import models, ops

from core import checkpoints, detect
from core.checkpoints import Checkpoint
from core.lessons import detectors, matching, nms, queries, slots
from demos import viewers
from demos.shell import ui
from demos.viewers import queries as view_values
from demos.viewers import view
from tests import nets
from tests.accessible import faults
from tests.browser import PHONE, page_again, page_of, tab
from tests.live import EXAMPLES, client_of
from tests.test_anchored import ARCHS, net
from tests.test_detect_lessons import a_case, some_boxes

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SCRIPT = Path(viewers.__path__[0], "boxes.js").read_text("utf-8")


def test_arithmetic_of_the_page_is_that_of_scipy_torchvision_and_core(browser):
    with page_of(browser) as page:
        page.add_script_tag(content=SCRIPT)
        check_assignments(page)
        check_overlaps(page)
        check_losses(page)
        check_suppression(page)


def check_assignments(page: Any) -> None:
    rng = np.random.default_rng(0)
    shapes = [(int(a), int(b)) for a, b in rng.integers(1, 25, (100, 2))]
    tables = [rng.normal(0, 1, shape) for shape in shapes]
    found = page.evaluate("all => all.map(Boxes.assign)", [one.tolist() for one in tables])
    for table, rows in zip(tables, found, strict=True):
        queries, truths = linear_sum_assignment(table)
        expected = np.full(table.shape[1], -1)
        expected[truths] = queries
        assert rows == expected.tolist()
    assert page.evaluate("[Boxes.assign([]), Boxes.assign([[], []])]") == [[], []]


def check_overlaps(page: Any) -> None:
    one, other = some_boxes(30, 0), some_boxes(30, 1)
    pair = torch.tensor(one, requires_grad=True), torch.tensor(other)
    names = {"iou": ops.box_iou, "giou": ops.generalized_box_iou, "diou": ops.distance_box_iou}
    for name, theirs in names.items():
        found = page.evaluate(
            "([name, a, b]) => a.map((box, i) => Boxes[name](box, b[i]))",
            [name, one.tolist(), other.tolist()],
        )
        expected = torch.diagonal(theirs(*pair))
        np.testing.assert_allclose(found, expected.detach(), atol=1e-6)
        (slope,) = torch.autograd.grad((1 - expected).sum(), pair[0])
        pushes = page.evaluate(
            "([n, a, b]) => a.map((box, i) => Boxes.gradient(x => 1 - Boxes[n](x, b[i]), box))",
            [name, one.tolist(), other.tolist()],
        )
        np.testing.assert_allclose(pushes, slope, atol=1e-5)


def check_losses(page: Any) -> None:
    for seed in range(20):
        kind = ("softmax", "sigmoid")[seed % 2]
        case = a_case(seed, kind)
        weights, rest = matching.WEIGHTS[kind], 0.3
        pairs = matching.assign(matching.costs(*case, kind).total(weights))
        expected = matching.loss(*case, pairs, kind, rest)
        found = page.evaluate(
            """([z, p, b, labels, kind, weights, rest]) => {
                const queries = z.map((one, q) => ({ z: one, box: Boxes.xyxy(p[q]) }));
                const truths = b.map((one, t) => ({ box: Boxes.xyxy(one), label: labels[t] }));
                const cost = Boxes.total(Boxes.costs(queries, truths, kind), weights);
                const pairs = Boxes.assign(cost);
                return { pairs, loss: Boxes.loss(queries, truths, pairs, kind, rest) };
            }""",
            [*(part.tolist() for part in case), kind, weights, rest],
        )
        order = pairs[0][np.argsort(pairs[1])]
        assert found["pairs"] == order.tolist()
        assert found["loss"]["unmatched"] == pytest.approx(expected.unmatched, abs=1e-6)
        for name in ("classes", "l1", "giou"):
            mine = [pair[name] for pair in found["loss"]["pairs"]]
            theirs = getattr(expected, name)[np.argsort(pairs[1])]
            np.testing.assert_allclose(mine, theirs, atol=1e-6)


def check_suppression(page: Any) -> None:
    boxes, rng = some_boxes(80, 2), np.random.default_rng(3)
    scores, classes = rng.permutation(80) / 80, rng.integers(0, 3, 80)
    for method in nms.METHODS:
        for limit in (0.2, 0.6):
            expected = nms.suppress(boxes, scores, classes, method, limit, 0.4)
            found = page.evaluate(
                "([b, s, c, how]) => Boxes.suppress(b, s, c, how)",
                [
                    *(part.tolist() for part in (boxes, scores, classes)),
                    {"method": method, "limit": limit, "sigma": 0.4},
                ],
            )
            assert found["by"] == expected.by.tolist()
            np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-9)


def opened(page: Any, url: str, key: str, kind: str) -> Any:
    """The view of a lesson on the first picture, with a list of later requests to the queue."""
    page.goto(url)
    tab(page, "Detect")
    return unfolded(page, key, kind)


def unfolded(page: Any, key: str, kind: str) -> Any:
    """The view of another lesson on the same page."""
    page.locator(f"#lesson-{key} > button").first.click()
    page.wait_for_function(
        "what => document.querySelector(what)?.dataset.drawn", arg=f"#lesson-{key} .{kind}"
    )
    return page.locator(f"#lesson-{key} .{kind}")


def requests_of(page: Any) -> list[str]:
    joins: list[str] = []
    page.on("request", lambda one: joins.append(one.url) if "/queue/join" in one.url else None)
    return joins


def drawn(view: Any, name: str = "drawn") -> Any:
    return json.loads(view.get_attribute(f"data-{name}"))


def drag(page: Any, canvas: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """By shares of the canvas."""
    canvas.scroll_into_view_if_needed()
    area = canvas.bounding_box()
    (x, y), (x2, y2) = (
        (area["x"] + a * area["width"], area["y"] + b * area["height"]) for a, b in (start, end)
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x2, y2, steps=5)
    page.mouse.up()


def test_drawn_boxes_are_matched_without_a_request(browser, url):
    expected = matching.look(EXAMPLES / "chelsea.jpg")
    with page_again(browser) as page:
        view = opened(page, url, "matching", "mt")
        joins = requests_of(page)
        first = drawn(view)
        assert first["pairs"] == expected.queries[np.argsort(expected.truths)].tolist()
        assert first["loss"] == pytest.approx(expected.loss.total, abs=2e-3)
        canvas = view.locator(".mt-picture")
        canvas.focus()
        for _ in first["pairs"]:
            page.keyboard.press("Delete")
        assert drawn(view)["pairs"] == [] and "No true box" in view.locator(".mt-said").inner_text()
        drag(page, canvas, (0.1, 0.1), (0.9, 0.9))
        one = drawn(view)
        assert len(one["pairs"]) == 1
        drag(page, canvas, (0.03, 0.03), (0.08, 0.6))
        two = drawn(view)
        assert len(set(two["pairs"])) == 2 and two["chosen"] == 1
        view.locator(".mt-class").select_option(label="person")
        assert drawn(view)["loss"] > two["loss"], "the wrong class costs more"
        view.locator("[data-w='1']").fill("0")
        view.locator("[data-w='2']").fill("0")
        assert drawn(view)["pairs"] == by_class(expected.inside, ["cat", "person"])
        view.locator(".mt-paper").click()
        before = drawn(view)
        canvas.focus()
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("ArrowDown")
        assert drawn(view)["loss"] != before["loss"]
        check_two_boxes(page, view)
        assert joins == []
        assert faults(page, "#lesson-matching") == []


def by_class(found: Any, names: list[str]) -> list[int]:
    """The queries that SciPy gives to true boxes of these classes if only the class counts."""
    numbers = {name: number for number, name in found.labels.items()}
    labels = np.array([numbers[name] for name in names])
    cost = matching.costs(found.logits, found.boxes, np.full((2, 4), 0.5), labels, found.kind)
    queries, truths = linear_sum_assignment(cost.classes)
    return queries[np.argsort(truths)].tolist()


def check_two_boxes(page: Any, view: Any) -> None:
    view.locator("[data-kind='iou']").click()
    assert drawn(view, "two")["gradient"] == [0, 0, 0, 0], "they do not overlap"
    view.locator("[data-kind='giou']").click()
    said = view.locator(".mt-two-said").inner_text()
    view.locator(".mt-step").click()
    assert view.locator(".mt-two-said").inner_text() != said
    drag(page, view.locator(".mt-two"), (0.26, 0.4), (0.7, 0.6))
    assert "IoU 0.000" not in view.locator(".mt-two-said").inner_text()


def test_queries_layers_and_heads_move_without_a_request(browser, url):
    """What is drawn is what Python computes, for a click, the mouse, and the keys."""
    found = queries.look(EXAMPLES / "chelsea.jpg")
    stages, order = len(found.inside.layers_boxes) + 1, np.argsort(-found.scores()[0])
    with page_again(browser) as page:
        view = opened(page, url, "queries", "qy")
        joins = requests_of(page)
        agrees(found, drawn(view), int(order[0]), stages - 1)
        canvas = view.locator(".qy-boxes")
        canvas.focus()
        page.keyboard.press("ArrowRight")
        agrees(found, drawn(view), int(order[1]), stages - 1)
        page.keyboard.press("ArrowDown")
        agrees(found, drawn(view), int(order[1]), stages - 2)
        view.locator(".qy-heads button").nth(2).click()
        agrees(found, drawn(view), int(order[1]), stages - 2, head=2)
        view.locator(".qy-stage").fill("0")
        start = drawn(view)
        assert start["stage"] == 0 and start["among"] == []
        np.testing.assert_allclose(start["over"], found.chosen.places[order[1]], atol=1e-6)
        view.locator(".qy-stage").fill("2")
        view.locator(".qy-threshold").fill("0.05")
        sure = np.flatnonzero(found.scores(1)[0] >= 0.05)
        assert set(drawn(view)["sure"]) == set(sure.tolist())
        check_pointing(page, view, canvas)
        assert joins == []
        assert faults(page, "#lesson-queries") == []
        check_slots(page)


def agrees(found: Any, shown: dict[str, Any], query: int, stage: int, head: int = -1) -> None:
    layer = stage - 1
    assert (shown["query"], shown["stage"], shown["head"]) == (query, stage, head)
    corners = np.array(shown["box"]) * np.tile(found.inside.size, 2)
    np.testing.assert_allclose(corners, found.boxes(layer)[query], atol=0.01)
    score, number = (part[query] for part in found.scores(layer))
    assert shown["name"] == found.label(int(number)) and shown["p"] == pytest.approx(score)
    points, weights, _ = found.over.read(layer, head, query)
    np.testing.assert_allclose(shown["over"], points[weights.argmax()], atol=1e-3)
    among = found.among.weights(layer, head)[query].copy()
    among[query] = 0
    assert among[shown["among"][0]] == pytest.approx(among.max(), abs=1e-4)


def test_a_dense_detr_shows_what_places_look_at(browser, shelf, tmp_path, monkeypatch, picture):
    """The view alone, with a small DETR: every query looks at a whole map, and so do places."""
    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    shelf.starter("detect", *nets.detr(), name="small")
    image = picture(96, 64)
    found = queries.look(image, "small")
    value = view_values.packed(image, found)
    with page_of(browser) as page:
        mount(page, view_values.QueriesView, value)
        view = page.locator(".qy")
        page.wait_for_function("document.querySelector('.qy').dataset.drawn")
        best = int(found.scores()[0].argmax())
        assert drawn(view)["query"] == best and drawn(view)["stage"] == 0
        rows, columns = found.over.grid
        x, y = drawn(view)["over"]
        weights = found.over.weights(-1, -1)[best]
        top = weights[int(y * rows) * columns + int(x * columns)]
        assert top == pytest.approx(weights.max(), rel=1e-3)
        none = found.probabilities()[best, -1]
        assert f"no object\n{none:.0%}".replace("%", " %") in view.locator(".qy-bars").inner_text()
        place = view.locator(".qy-place")
        place.focus()
        for key in ["ArrowLeft"] * columns + ["ArrowUp"] * rows + ["ArrowRight"]:
            page.keyboard.press(key)
        weights = found.encoder.weights(-1, -1)[1]
        assert weights[drawn(view)["place"]] == pytest.approx(weights.max(), rel=1e-3)
        area = place.bounding_box()
        place.click(position={"x": area["width"] - 2, "y": area["height"] - 2})
        weights = found.encoder.weights(-1, -1)[-1]
        assert weights[drawn(view)["place"]] == pytest.approx(weights.max(), rel=1e-3)


def mount(page: Any, kind: type[view.View], value: dict[str, Any]) -> None:
    """A view on an empty page, as gr.HTML would set it up, with its files as addresses."""
    files = {
        value[name]: "data:application/octet-stream;base64,"
        + base64.b64encode(Path(value[name]).read_bytes()).decode()
        for name in ("numbers", "picture")
    }
    script = "".join(view._text(name) for name in ("paint.js", *kind.scripts)) + ui.COMMON_JS
    page.set_content(f"<style>{view._text('paint.css')}</style>{view._text(kind.markup)}")
    page.evaluate(
        """([script, value, files]) => new Function(
            "element", "props", "watch", "files", "fileAddress = (name) => files[name];" + script
        )(document.body, { value }, () => {}, files)""",
        [script, json.loads(json.dumps(value)), files],
    )


def check_slots(page: Any) -> None:
    found = slots.look("auto", [EXAMPLES / name for name in ("chelsea.jpg", "hopper.jpg")])
    view = unfolded(page, "slots", "sl")
    assert "no slot has a place of its own" in view.locator(".sl-sum").inner_text()
    assert "looks inside Starter DETR" in view.locator(".pv-which").inner_text()
    view.locator("summary").click()
    view.locator(".sl-all button").nth(1).click()
    assert drawn(view)["slot"] == 1 and drawn(view)["slots"] == found.boxes.shape[1]
    said = {row.split("\t")[0]: row for row in view.locator(".sl-rows").inner_text().splitlines()}
    for i, name in enumerate(found.names):
        width, height = found.boxes[i, 1, 2:]
        assert found.labels[i][1] in said[name]
        assert said[name].endswith(f"{width:.2f} x {height:.2f}")
    page.locator("#lesson-slots-code button").first.click()
    page.locator("#lesson-slots-code").get_by_text("slots").first.wait_for()
    assert faults(page, "#lesson-slots") == []


def check_pointing(page: Any, view: Any, canvas: Any) -> None:
    """The mouse previews the box at whose side it is; a click keeps it, and another goes on."""
    canvas.scroll_into_view_if_needed()
    area, kept = canvas.bounding_box(), drawn(view)["query"]
    page.mouse.move(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.3)
    over = drawn(view)["query"]
    assert over != kept
    page.mouse.move(area["x"] + area["width"] * 0.5, area["y"] - 30)
    assert drawn(view)["query"] == kept
    page.mouse.click(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.3)
    assert drawn(view)["query"] == over
    page.mouse.click(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.3)
    assert drawn(view)["query"] != over


def test_nms_follows_its_sliders_without_a_request(browser, url):
    dense, queries = nms.compare(EXAMPLES / "chelsea.jpg")
    with page_again(browser) as page:
        view = opened(page, url, "nms", "nm")
        joins = requests_of(page)
        view.locator(".nm-score").fill("0.2")
        for limit in (0.6, 0.1, 1):
            view.locator(".nm-limit").fill(str(limit))
            for side, found in (("dense", dense), ("queries", queries)):
                some = found.scores > 0.2
                boxes = found.boxes[some], found.scores[some], found.classes[some]
                keep = ops.batched_nms(*map(torch.tensor, boxes), limit)
                assert set(drawn(view)[side]["kept"]) == set(keep.tolist())
        view.locator(".nm-limit").fill("0.5")
        button = view.locator(".nm-kept[data-side='dense'] button").first
        button.focus()
        page.keyboard.press("Enter")
        assert drawn(view)["dense"]["chosen"] == 0
        gone = sum(by == 0 for by in drawn(view)["dense"]["by"])
        assert gone and f"drops {gone} box" in view.locator(".nm-said").inner_text()
        hard = drawn(view)["dense"]["kept"]
        view.locator(".nm-method").select_option("gaussian")
        assert view.locator(".nm-sigma").is_visible() and not view.locator(".nm-limit").is_visible()
        view.locator(".nm-sigma").fill("2")  # lowers scores little
        assert drawn(view)["dense"]["kept"] != hard
        assert joins == []
        assert faults(page, "#lesson-nms") == []


def test_on_a_phone_both_fit_and_a_finger_draws(browser, url):
    with page_of(browser, viewport=PHONE, touch=True) as page:
        view = opened(page, url, "matching", "mt")
        count = len(drawn(view)["pairs"])
        canvas = view.locator(".mt-picture")
        view.locator(".mt-add").tap()
        assert len(drawn(view)["pairs"]) == count + 1
        canvas.scroll_into_view_if_needed()
        area = canvas.bounding_box()
        page.touchscreen.tap(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2)
        assert drawn(view)["chosen"] == count, "the small box in the middle"
        for name in (".mt-picture", ".mt-two"):
            assert view.locator(name).bounding_box()["width"] <= PHONE["width"]
        view = unfolded(page, "queries", "qy")
        before = drawn(view)["query"]
        view.locator(".qy-list button").nth(1).tap()
        assert drawn(view)["query"] != before
        assert view.locator(".qy-boxes").bounding_box()["width"] <= PHONE["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_detectors_beside_each_other_and_stages_before_nms(browser, url, shelved_faster_rcnn):
    expected = detectors.look(EXAMPLES / "chelsea.jpg", threshold=detectors.LOWEST)
    with page_of(browser, viewport=PHONE, touch=True) as page:
        view = opened(page, url, "detectors", "dt")
        joins = requests_of(page)
        for score, limit in ((0.5, 0.5), (0.2, 0.5), (0.2, 0.9)):
            view.locator(".dt-score").fill(str(score))
            view.locator(".dt-limit").fill(str(limit))
            answers = [one.above(score) for one in expected.answers]
            found_by, agreement = detectors.together(answers, limit)
            assert drawn(view)["found"] == [one.tolist() for one in found_by]
            np.testing.assert_allclose(drawn(view)["agreement"], agreement, atol=1e-6)
        view.locator(".dt-limit").fill("0.5")
        button = view.locator(".dt-list button").first
        button.focus()
        page.keyboard.press("Enter")
        assert drawn(view)["lit"] == ["0 0", "1 0"], "the same cat"
        assert view.locator("canvas").first.bounding_box()["width"] <= PHONE["width"]
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert joins == []
        assert faults(page, "#lesson-detectors") == []
        check_stages(page, opened(page, url, "nms", "nm"))


def check_stages(page: Any, view: Any) -> None:
    joins = requests_of(page)
    found = nms.look(EXAMPLES / "chelsea.jpg", "faster", 0.5)
    assert len(found.scores) == drawn(view)["dense"]["count"]
    assert "a place with three anchors" in view.locator(".nm-about-levels").inner_text()
    view.locator(".nm-count").fill("7")
    assert drawn(view)["proposals"] == 7
    assert "7 of 60 proposals" in view.locator(".nm-stage").inner_text()
    view.locator(".nm-limit").fill("0.3")
    kept = drawn(view)["dense"]["kept"]
    assert view.locator(".nm-crops figure").count() == min(12, len(kept))
    view.locator(".nm-kept[data-side='dense'] button").first.click()
    row = int(found.proposals[0]) + 1
    assert f"proposal {row}," in view.locator(".nm-crops figure").inner_text()
    view.locator(".nm-colour").select_option("level")
    levels = np.bincount(found.levels[kept], minlength=5)
    for figure, count in zip(view.locator(".nm-levels figure").all(), levels, strict=True):
        assert f"{count} box{'' if count == 1 else 'es'} kept" in figure.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert joins == []


@pytest.fixture
def shelved_faster_rcnn(tmp_path, monkeypatch):
    """A small one of random weights, which the NMS lesson takes for the best detector."""
    path = tmp_path / "faster.pth"
    torch.save(net("faster").state_dict(), path)
    monkeypatch.setattr(models, "get_model", lambda *_, **__: net("faster"))
    made = Checkpoint(
        "faster", "detect", "torchvision", str(path), "MIT", tier="own", arch=ARCHS["faster"]
    )
    monkeypatch.setitem(checkpoints._BY_KEY, "faster", made)
    inside = detect.inside

    def redirected(picture: Any, key: str, progress: Any = None) -> Any:
        return inside(picture, "faster" if key == "auto" else key, progress)

    monkeypatch.setattr(nms, "detect", SimpleNamespace(inside=redirected))


def test_endpoints(url):
    client = client_of(url)
    picture = handle_file(EXAMPLES / "chelsea.jpg")
    found = client.predict(picture, threshold=0.2, api_name="/compare_detectors")
    expected = detectors.look(EXAMPLES / "chelsea.jpg", threshold=0.2)
    assert found["image_size"] == list(expected.size)
    for got, one, found_by in zip(
        found["answers"], expected.answers, expected.found_by, strict=True
    ):
        rows = got["detections"]
        assert [row["found_by"] for row in rows] == found_by.tolist()
        assert tuple(row["label"] for row in rows) == one.labels
        assert (got["params"], got["needs_nms"]) == (one.params, one.needs_nms)
        assert got["metric"].startswith("AP50") and got["licence"] == "Apache-2.0"
    np.testing.assert_allclose(found["agreement"], expected.agreement, atol=1e-4)
    boxes = client.predict(picture, threshold=0.2, api_name="/nms")["boxes"]
    assert {one["level"] for one in boxes} <= {0, 1} and boxes[0]["proposal"] is None
    for keys, said in (("auto", "two to four different"), ("auto, nose", "no checkpoint")):
        with pytest.raises(AppError, match=said):
            client.predict(picture, checkpoints=keys, api_name="/compare_detectors")
