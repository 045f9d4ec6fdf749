"""What the point-prompt canvas reads from the page and sends to it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.errors import InputError
from demos._canvas import PointPrompter, canvas_answer, canvas_picture, mask_url, parse_prompt


def test_prompts_are_read() -> None:
    data = {"points": [[1.5, 2, 1], [3, 4, 0]], "box": [1, 2, 3, 4], "seq": 7}
    assert parse_prompt(data) == ([[1.5, 2, 1], [3, 4, 0]], [1, 2, 3, 4], 7)
    assert parse_prompt({"points": [], "box": None, "seq": 0}) == ([], None, 0)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"points": "ab", "seq": 1},
        {"points": [[1, 2]], "seq": 1},
        {"points": [[1, 2, 3]], "seq": 1},
        {"points": [["1", 2, 1]], "seq": 1},
        {"points": [[True, 2, 1]], "seq": 1},
        {"points": [[float("nan"), 2, 1]], "seq": 1},
        {"points": [[float("inf"), 2, 1]], "seq": 1},
        {"points": [[10**400, 2, 1]], "seq": 1},
        {"points": [[1, 2, 1]] * 201, "seq": 1},
        {"points": [], "box": [1, 2, 3], "seq": 1},
        {"points": [], "box": [5, 2, 3, 4], "seq": 1},
        {"points": [], "box": {"x": 1}, "seq": 1},
        {"points": []},
        {"points": [], "seq": -1},
        {"points": [], "seq": True},
        {"points": [], "seq": "1"},
    ],
)
def test_bad_prompts_are_refused_in_a_sentence(data: Any) -> None:
    with pytest.raises(InputError) as caught:
        parse_prompt(data)
    assert str(caught.value).endswith(".")


def test_an_answer_carries_no_picture_and_a_small_mask() -> None:
    y, x = np.ogrid[:3000, :4000]
    mask = np.hypot(x - 2000, y - 1500) < 400
    answer = canvas_answer({"seq": 3, "picture": "a"}, mask, status="Done.")
    assert set(answer) == {"seq", "picture", "mask", "status", "color"}
    assert len(mask_url(mask)) < 12_000
    with pytest.raises(InputError):
        canvas_answer({"seq": 3}, mask)


def test_a_mask_keeps_its_place_when_it_shrinks() -> None:
    mask = np.zeros((1500, 3000), bool)
    mask[:750, 1500:] = True
    png = base64.b64decode(mask_url(mask).partition(",")[2])
    with Image.open(io.BytesIO(png)) as shown:
        assert shown.size == (1024, 512) and shown.mode == "1"
        alpha = np.array(shown.convert("RGBA"))[..., 3] > 0
    assert alpha[:256, 512:].all() and alpha.sum() == 256 * 512


def test_a_picture_says_its_own_size_and_refuses_bad_prompts() -> None:
    rgb = np.zeros((1500, 3000, 3), np.uint8)
    sent = canvas_picture(rgb, points=[[1, 2, 1]])
    assert (sent["w"], sent["h"], sent["points"]) == (3000, 1500, [[1, 2, 1]])
    assert canvas_picture(rgb)["id"] != sent["id"]
    with pytest.raises(InputError):
        canvas_picture(rgb, points=[[1, 2, 7]])


def test_the_hint_cannot_break_out_of_the_template() -> None:
    made = PointPrompter(hint="<b> ${x} {{y}} `z`", render=False)
    assert not set("${}`") & set(made.html_template)
    assert "<b>" not in made.html_template
