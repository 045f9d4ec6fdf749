"""What the point-prompt canvas reads from the page and sends to it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.errors import InputError
from demos.canvas.answers import canvas_answer, canvas_object, canvas_picture, mask_url
from demos.canvas.component import PointPrompter
from demos.canvas.gestures import Choice, Painted, parse_gesture


def one(**values: Any) -> dict[str, Any]:
    return {
        "id": 1, "rev": 2, "name": "Cup", "color": "#1e90ff", "points": [], "box": None, **values
    }  # fmt: skip


def gesture(*objects: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {
        "picture": "a", "seq": 7, "gesture": "include", "active": 1, "want": [1],
        "objects": list(objects), **values,
    }  # fmt: skip


def test_gestures_are_read() -> None:
    points = [[1.5, 2, 1], [3, 4, 0]]
    read = parse_gesture(gesture(one(points=points, box=[1, 2, 3, 4], choice=2), one(id=2)))
    assert (read.picture, read.seq, read.kind, read.want) == ("a", 7, "include", (1,))
    first, second = read.objects
    assert (first.points, first.box, first.choice, first.name) == (points, [1, 2, 3, 4], 2, "Cup")
    assert second.bare and not first.bare and read.object(2) is second and read.object(3) is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        gesture(),
        gesture(*[one()] * 41),
        gesture("ab"),
        gesture(one(points="ab")),
        gesture(one(points=[[1, 2]])),
        gesture(one(points=[[1, 2, 3]])),
        gesture(one(points=[["1", 2, 1]])),
        gesture(one(points=[[True, 2, 1]])),
        gesture(one(points=[[float("nan"), 2, 1]])),
        gesture(one(points=[[float("inf"), 2, 1]])),
        gesture(one(points=[[10**400, 2, 1]])),
        gesture(one(points=[[1, 2, 1]] * 201)),
        gesture(one(box=[1, 2, 3])),
        gesture(one(box=[5, 2, 3, 4])),
        gesture(one(box={"x": 1})),
        gesture(one(color="red; background: url(x)")),
        gesture(one(name="x" * 61)),
        gesture(one(name=5)),
        gesture(one(id=-1)),
        gesture(one(rev="2")),
        gesture(one(choice=1.5)),
        gesture(one(given=7)),
        gesture(one(), want="all"),
        gesture(one(), picture=5),
        gesture(one(), seq=None),
        gesture(one(), seq=-1),
        gesture(one(), seq=True),
        gesture(one(), seq="1"),
    ],
)
def test_bad_gestures_are_refused_in_a_sentence(data: Any) -> None:
    with pytest.raises(InputError) as caught:
        parse_gesture(data)
    assert str(caught.value).endswith(".")


def test_an_answer_carries_no_picture_and_small_masks() -> None:
    y, x = np.ogrid[:3000, :4000]
    mask = np.hypot(x - 2000, y - 1500) < 400
    choices = [Choice(mask, "Part", "IoU 0.9")] * 3
    painted = Painted(2, mask, "4 %", "Mask of 4 %.", choices, 1)
    answer = canvas_answer(parse_gesture(gesture(one())), [painted], status="Done.")
    assert set(answer) == {"seq", "picture", "masks", "status", "flush"}
    assert len(str(answer)) < 20_000
    assert [len(found["choices"]) for found in answer["masks"]] == [3]


@pytest.mark.parametrize("side", [1024, 256])
def test_a_mask_keeps_its_place_when_it_shrinks(side: int) -> None:
    mask = np.zeros((1500, 3000), bool)
    mask[:750, 1500:] = True
    png = base64.b64decode(mask_url(mask, side).partition(",")[2])
    with Image.open(io.BytesIO(png)) as shown:
        assert shown.size == (side, side // 2) and shown.mode == "1"
        alpha = np.array(shown.convert("RGBA"))[..., 3] > 0
    assert alpha[: side // 4, side // 2 :].all() and alpha.sum() == side // 4 * (side // 2)


def test_a_picture_says_its_own_size_and_objects_refuse_bad_prompts() -> None:
    rgb = np.zeros((1500, 3000, 3), np.uint8)
    sent = canvas_picture(rgb, objects=[canvas_object("Cup", points=[[1, 2, 1]])])
    assert (sent["w"], sent["h"], sent["objects"][0]["points"]) == (3000, 1500, [[1, 2, 1]])
    assert canvas_picture(rgb)["id"] != sent["id"]
    with pytest.raises(InputError):
        canvas_object(points=[[1, 2, 7]])
    with pytest.raises(InputError):
        canvas_object(box=[4, 4, 2, 2])


def test_the_hint_cannot_break_out_of_the_template() -> None:
    made = PointPrompter(hint="<i> ${x} {{y}} `z`", render=False)
    assert not set("${}`") & set(made.html_template)
    assert "<i>" not in made.html_template


def test_only_its_own_events_are_events() -> None:
    made = PointPrompter(render=False)
    assert all(hasattr(made, name) for name in ("prompt", "hover", "detail", "pick"))
    assert not hasattr(made, "picture")
