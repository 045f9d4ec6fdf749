"""Attention: against timm's own layers, NumPy's arithmetic, and a real client and browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import timm
import torch
from gradio_client import handle_file
from timm.layers import set_fused_attn
from timm.utils import AttentionExtract

from core.errors import InputError
from core.lessons import attention
from core.nets import tokens
from core.types import RunInfo
from demos.viewers.attention import packed
from tests.accessible import faults
from tests.browser import chromium, page_of
from tests.classifiers import PUBLISHED, hollow
from tests.classifiers import small as small_one
from tests.conftest import PATIENCE
from tests.live import EXAMPLES, client_of, hub

INFO = RunInfo("net", "own", "cpu")


def a_vit(**options: Any) -> Any:
    """A small VisionTransformer with weights that attend to something."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=3, num_heads=4, num_classes=5,
        **options,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight.mul_(6)
    return model


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"reg_tokens": 2}], ids=str)
def test_weights_are_those_of_the_layers_themselves(options):
    model, x = a_vit(**options), torch.randn(1, 3, 64, 64)
    set_fused_attn(False)
    try:
        theirs = AttentionExtract(a_vit(**options), method="fx")(x)
    finally:
        set_fused_attn(True)
    with torch.inference_mode():
        queries, keys = attention.queries_and_keys(model, x)
    special, grid = tokens.named(model)
    found = attention.Attention(
        queries[0].numpy(), keys[0].numpy(), special, grid, (0, 0, 64, 64), INFO
    )
    assert len(theirs) == 3
    for layer, expected in enumerate(theirs.values()):
        for head in range(4):
            np.testing.assert_allclose(
                found.weights(layer, head), expected[0, head].detach().numpy(), atol=1e-4
            )
    assert not any(block.attn._forward_pre_hooks for block in model.blocks), "no hook stays"


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.key)
def test_rows_of_every_checkpoint_are_the_softmax_of_its_own_scores(one):
    """Against what the layers compute themselves with fused attention off, or one sentence."""
    empty, _ = hollow(one)
    if not tokens.is_vision_transformer(empty):
        with pytest.raises(InputError, match="choose a Vision Transformer"):
            tokens.named(empty)
        return
    model, x = small_one(one)
    with torch.inference_mode():
        queries, keys = (found[0].numpy() for found in attention.queries_and_keys(model, x))
    theirs: list[np.ndarray] = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda *given: theirs.append(given[2][0]))
    with torch.inference_mode():
        model(x)
    found = attention.Attention(queries, keys, *tokens.named(model), (0, 0, 64, 64), INFO)
    assert len(theirs) == len(queries) == 2
    for layer, head in np.ndindex(queries.shape[:2]):
        np.testing.assert_allclose(found.weights(layer, head), theirs[layer][head], atol=1e-4)


def test_special_tokens_have_names():
    assert tokens.named(a_vit(reg_tokens=2)) == (
        ("class token", "register 1", "register 2"), (4, 4),
    )  # fmt: skip
    assert tokens.named(a_vit(class_token=False, global_pool="avg"))[0] == ()


def small(layers=2, heads=2, special=("class token",), grid=(2, 3), d=4, seed=0):
    rng = np.random.default_rng(seed)
    shape = (layers, heads, len(special) + grid[0] * grid[1], d)
    queries, keys = (rng.normal(0, 2, shape).astype(np.float32) for _ in range(2))
    return attention.Attention(queries, keys, special, grid, (8.0, 0.0, 56.0, 48.0), INFO)


def test_temperature_and_mean_by_hand():
    found = small()
    scores = np.einsum("id,jd->ij", found.queries[1, 0], found.keys[1, 0]) / 10
    by_hand = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(found.chosen(-1, 0, 10), by_hand, atol=1e-6)
    mean = (found.weights(0, 0) + found.weights(0, 1)) / 2
    np.testing.assert_allclose(found.chosen(0, -1), mean, atol=1e-6)
    for wrong in ((2, 0, 1), (0, 2, 1), (0, 0, 0)):
        with pytest.raises(InputError):
            found.chosen(*wrong)


def test_equal_weights_look_as_far_as_patches_lie_apart():
    found = small()
    equal = attention.Attention(
        found.queries * 0, found.keys, found.special, (2, 3), found.seen, INFO
    )
    places = [(y / 2, x / 3) for y in range(2) for x in range(3)]
    gaps = [np.hypot(a[0] - b[0], a[1] - b[1]) for a in places for b in places]
    np.testing.assert_allclose(equal.distances(), np.mean(gaps), rtol=1e-5)


def test_numbers_for_the_page_lose_nothing_that_one_sees(tmp_path, monkeypatch):
    from demos.shell import ui

    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    found = small(d=16)
    value = packed(np.zeros((48, 64, 3), np.uint8), found)
    whole = np.fromfile(value["numbers"], "<i2").astype(np.float64).reshape(2, *found.queries.shape)
    scores = (whole[0, 1, 1] @ whole[1, 1, 1].T) * value["scale"][1][1]
    np.testing.assert_allclose(scores, found.scores(1, 1), atol=0.01)


def test_a_cnn_has_no_attention():
    with pytest.raises(InputError, match="choose a Vision Transformer"):
        tokens.named(timm.create_model("resnet10t"))


def test_one_pass_serves_every_question(shelf, forwards, picture):
    from tests import nets

    shelf.starter("classify", *nets.vit(), name="vit")
    image = picture(64, 48)
    first = attention.look(image, "vit")
    assert len(forwards) == 1
    second = attention.look(image, "vit")
    assert len(forwards) == 1 and second.info.cache["output"] == "hit"
    np.testing.assert_array_equal(first.queries, second.queries)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with hub() as address:
        yield address


@pytest.mark.slow
def test_endpoint_answers(url):
    client = client_of(url)
    picture = handle_file(EXAMPLES / "chelsea.jpg")
    found = client.predict(picture, temperature=2, api_name="/attention")
    weights = np.array(found["weights"])
    assert weights.shape == (len(found["special"]) + found["grid"][0] * found["grid"][1],) * 2
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-3)


@pytest.mark.slow
@pytest.mark.browser
def test_click_keys_head_layer_and_temperature_need_no_request(url):
    """The maps follow the hand, and the page's numbers are those of Python."""
    expected = attention.look(EXAMPLES / "chelsea.jpg")
    (layers, heads, *_), first = expected.queries.shape, len(expected.special)
    columns = expected.grid[1]
    with chromium() as browser, page_of(browser) as page:
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url)
        page.locator("#classify-said [data-turn='1']:not([data-working])").wait_for(
            state="attached"
        )
        page.locator("#lesson-attention > button").first.click()
        view = page.locator("#lesson-attention .at")
        drawn = "document.querySelector('#lesson-attention .at').dataset.drawn"
        page.wait_for_function(drawn)
        joins = []
        page.on("request", lambda one: joins.append(one.url) if "/queue/join" in one.url else None)
        size = view.locator(".at-picture").bounding_box()["width"]
        middle = [(place + 0.5) * size / columns for place in (3, 2)]
        view.locator(".at-picture").click(position={"x": middle[0], "y": middle[1]})
        token = first + 2 * columns + 3
        assert page.evaluate(drawn) == f"{layers - 1} -1 {token} 1"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        token += columns + 1
        view.locator(".at-layer").fill("1")
        view.locator(".at-head").select_option(label="2")
        view.locator("[data-t='10']").click()
        assert page.evaluate(drawn) == f"0 1 {token} 10"
        row = expected.weights(0, 1, 10)[token]
        bits = -(row * np.log2(row)).sum()
        said = re.search(r"Entropy ([\d.]+) of", view.locator(".at-said").inner_text())
        assert said is not None and float(said[1]) == pytest.approx(bits, abs=0.02)
        assert view.locator(".at-heads button").count() == heads
        view.locator("[data-t='1']").click()
        view.locator(".at-layer").fill(str(layers + 1))
        row = expected.chosen(layers, 1)[0]
        said = view.locator(".at-said").inner_text()
        assert "The answer is read here" in said
        assert f"{100 * row.max():.0f} %" in said or f"{100 * row.max():.1f} %" in said
        assert joins == []
        assert faults(page, "#lesson-attention") == []


def test_the_readout_is_the_class_attention_that_the_answer_is_made_with():
    from core.nets import hybrid

    torch.manual_seed(0)
    model = hybrid.build(
        {"grid": 3, "channels": 16, "dim": 8, "depth": 2, "heads": 2, "mlp_ratio": 2.0,
         "registers": 2, "layer_scale": 0.1, "classes": 5, "glance": 0.4}
    ).eval()  # fmt: skip
    torch.nn.init.normal_(model.readout.q.weight)
    maps, glance = torch.rand(1, 16, 3, 3), torch.rand(1, 16)
    with torch.inference_mode():
        queries, keys, query, key = (
            x[0].numpy() for x in attention.queries_and_keys(model, maps, glance)
        )
        expected = model.read(maps, glance)[1][0].numpy()
    readout = attention.ClassAttention(query, key)
    found = attention.Attention(queries, keys, *tokens.named(model), (0, 0, 9, 9), INFO, readout)
    np.testing.assert_allclose(readout.weights(1), expected[1], atol=1e-6)
    assert not np.allclose(expected[1], 1 / 9, atol=1e-3), "it is not equal everywhere"
    table = found.chosen(2, -1)  # one more than the last layer
    np.testing.assert_allclose(table[0, 3:], expected.mean(0), atol=1e-6)
    assert not table[1:].any() and not table[0, :3].any()
    with pytest.raises(InputError):
        found.chosen(3, 0)
    assert not any(part._forward_pre_hooks for part in model.modules())
