"""What counts for a class: against pytorch-grad-cam, formulas in NumPy, and hidden pictures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import timm
import torch

from core import classify, images
from core.errors import InputError
from core.lessons import why_this_class as lesson
from core.nets import relevance
from core.nets.occlusion import Occlusion
from tests import gradcam_reference as reference
from tests import nets
from tests.classifiers import PUBLISHED, small
from tests.live import EXAMPLES


def maps_of(model: Any, x: torch.Tensor | None = None) -> dict[str, np.ndarray]:
    x = reference.picture() if x is None else x
    with torch.inference_mode():  # as in the app
        found = relevance.maps(model, reference.TARGET, x)[0].numpy()
    return dict(zip(relevance.methods(model), found, strict=True))


@pytest.mark.parametrize("name", ["vit", "cnn"])
def test_grad_cam_is_that_of_pytorch_grad_cam(name):
    expected = np.array(json.loads(reference.KEPT.read_text())[name])
    assert expected.max() > 0
    found = maps_of(getattr(reference, name)())["Grad-CAM"]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * expected.max())


def by_hand(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rollout and its weighted form in NumPy, from the matrices that unfused layers compute."""
    matrices: list[torch.Tensor] = []

    def keep(_: Any, __: Any, found: torch.Tensor) -> None:
        found.retain_grad()
        matrices.append(found)

    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(keep)
    model(reference.picture().requires_grad_())[0, reference.TARGET].backward()
    rolled = weighted = np.eye(matrices[0].shape[-1])
    for one in matrices:
        a, slope = one[0].detach().double().numpy(), one.grad[0].double().numpy()
        rolled = (a.mean(0) + np.eye(a.shape[-1])) / 2 @ rolled
        weighted = weighted + np.maximum(a * slope, 0).mean(0) @ weighted
    prefix = model.num_prefix_tokens
    readers = [0] if model.global_pool == "token" else range(prefix, len(rolled))
    grid = model.patch_embed.grid_size
    return tuple(x[readers].mean(0)[prefix:].reshape(grid) for x in (rolled, weighted))


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.key)
def test_maps_of_every_checkpoint_are_those_of_the_formulas(one):
    """Rollouts for transformers; for CNNs Grad-CAM by the slopes of the whole network."""
    model, x = small(one)
    found = maps_of(model, x)
    if "Attention rollout" in found:
        for name, expected in zip(relevance.methods(model), by_hand(model), strict=False):
            np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-4 * expected.max())
        return
    order = (0, 1, 2) if getattr(model, "output_fmt", "NCHW") == "NHWC" else (1, 2, 0)
    kept: list[torch.Tensor] = []

    def keep(module: Any, _: Any, found: torch.Tensor) -> None:
        """The last map of all: what has several places and was not pooled for the class layer."""
        if not isinstance(found, torch.Tensor) or found.ndim != 4:
            return
        places = found[0].permute(order)[..., 0].numel()
        if places > 1 and not isinstance(module, torch.nn.AdaptiveAvgPool2d):
            kept.append(found)

    for module in model.modules():
        module.register_forward_hook(keep)
    final: list[torch.Tensor] = []
    model.register_forward_hook(lambda *given: final.append(given[2]))
    model(x.clone().requires_grad_())
    ((*_, last), (logits,)) = kept, final
    (slope,) = torch.autograd.grad(logits[0, reference.TARGET], last)
    channels, slopes = (one[0].detach().permute(order).numpy() for one in (last, slope))
    expected = np.maximum(channels @ slopes.mean((0, 1)), 0)
    np.testing.assert_allclose(found["Grad-CAM"], expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.parametrize(
    "options", [{}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}], ids=str
)
def test_fused_attention_on_or_off_changes_no_map(options):
    fused, plain = reference.vit(**options), reference.vit(**options)
    for block in plain.blocks:
        block.attn.fused_attn = False
    assert fused.blocks[0].attn.fused_attn
    ours = maps_of(fused)
    for name, found in maps_of(plain).items():
        np.testing.assert_allclose(found / found.max(), ours[name] / found.max(), atol=1e-4)
    rolled, weighted = by_hand(reference.vit(**options))
    np.testing.assert_allclose(ours["Attention rollout"], rolled, atol=1e-5)
    np.testing.assert_allclose(ours["Gradient-weighted rollout"], weighted, rtol=1e-3, atol=1e-6)


def test_the_model_stays_as_it_is_and_the_random_one_is_always_the_same():
    model = reference.vit().requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    maps_of(model)
    first, second = relevance.randomised(model), relevance.randomised(model)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in model.modules())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
        if value.ndim > 1:
            assert not torch.equal(value, before[name]), name


def test_a_transformer_of_another_kind_gets_one_sentence():
    model = timm.create_model("eva02_tiny_patch14_224", img_size=56, depth=1, num_classes=5).eval()
    with pytest.raises(InputError, match="choose a Vision Transformer or a CNN"):
        relevance.maps(model, 0, torch.zeros(1, 3, 56, 56))


def test_cells_are_hidden_where_they_lie():
    cells = np.zeros((2, 4), bool)
    cells[0, 1] = True
    x = torch.rand(1, 3, 8, 8)
    found = Occlusion(cells).apply(x)
    expected = x.clone()
    expected[:, :, :4, 2:4] = x.mean((2, 3), True)
    torch.testing.assert_close(found, expected)
    wide = Occlusion(cells).apply(x, (2.0, 2.0))  # the cells are the middle half of this view
    hidden = (wide != x).any(1)[0]
    assert hidden[:4, 3].all() and hidden.sum() == 4
    assert Occlusion(~cells, blurred=True).apply(x)[0, :, :4, 2:4].equal(x[0, :, :4, 2:4])


def test_one_pass_a_class_serves_every_question(shelf, forwards, picture):
    shelf.starter("classify", *nets.vit(), name="vit")
    image = picture(64, 48)
    found = lesson.explain(image, "vit")
    assert len(forwards) == 2  # the tab's own, and this one
    again = lesson.explain(image, "vit", found.label.upper())
    assert len(forwards) == 2 and again.info.cache["output"] == "hit"
    np.testing.assert_array_equal(found.maps[1].values, again.maps[1].values)
    lesson.explain(image, "vit", found.best[1][0])
    assert len(forwards) == 3
    with pytest.raises(InputError, match="knows no class 'a unicorn'"):
        lesson.explain(image, "vit", "a unicorn")


def test_curves_are_those_of_pictures_hidden_by_hand(shelf, forwards, picture):
    model, config = nets.vit()
    shelf.starter("classify", model, config, name="vit")
    image = images.picture(picture(64, 48))
    why = lesson.explain(image, "vit")
    curves = lesson.measure(image, why)
    assert curves.names[-1] == lesson.CHANCE and curves.deletion.shape == (4, lesson.STEPS + 1)
    assert curves.deletion[:, 0] == pytest.approx(why.probability, abs=1e-5)
    assert curves.insertion[:, -1] == pytest.approx(why.probability, abs=1e-5)
    from core.nets import transforms

    transform = transforms.timm_transform(
        {"input_size": (3, 32, 32), "mean": nets.MEAN, "std": nets.STD, "crop_pct": 0.9,
         "interpolation": "bicubic"}
    )  # fmt: skip
    x = transform(image.pixels())
    size = 32 // why.maps[0].values.shape[0]  # pixels of a cell
    mean = x.mean((2, 3))[0]
    for cell in why.maps[0].order()[: round(len(why.maps[0].order()) / lesson.STEPS)]:
        y, left = size * (cell // (32 // size)), size * (cell % (32 // size))
        x[0, :, y : y + size, left : left + size] = mean[:, None, None]
    with torch.inference_mode():
        expected = model(x).softmax(1)[0, why.target].item()
    assert curves.deletion[0, 1] == pytest.approx(expected, abs=1e-4)
    passes = len(forwards)
    again = lesson.measure(image, why)
    assert len(forwards) == passes
    np.testing.assert_array_equal(again.deletion, curves.deletion)


def test_areas_and_order_by_hand():
    one = lesson.Map("a", np.array([[0, 3], [1, 3]], np.float32), np.ones((2, 2), np.float32))
    assert one.order().tolist() == [1, 3, 2, 0] and one.likeness() == 0
    assert lesson.Map("a", one.values, 2 * one.values + 1).likeness() == pytest.approx(1)
    shares = np.array([0, 0.5, 1])
    rows = np.array([[1, 0.5, 0], [1, 1, 1.0]])
    deletion, insertion = lesson.Curves(("a", "b"), shares, rows, rows[::-1]).areas()
    assert deletion.tolist() == [0.5, 1] and insertion.tolist() == [1, 0.5]


@pytest.mark.slow
def test_the_starters_maps_beat_chance_and_its_whole_picture_is_the_tab_s(monkeypatch):
    monkeypatch.setattr(lesson, "STEPS", 2)
    picture = images.picture(EXAMPLES / "chelsea.jpg")
    why = lesson.explain(picture, "classify-starter")
    best = classify.predict(picture, "classify-starter")
    assert why.label == best.labels[0]
    assert [one.method for one in why.maps] == ["Class attention",
        "Gradient-weighted class attention", "Grad-CAM"]  # fmt: skip
    np.testing.assert_allclose(why.maps[0].values.sum(), 1, atol=1e-4)
    curves = lesson.measure(picture, why)
    assert curves.deletion[:, 0] == pytest.approx(float(best.scores[0]), abs=0.01)
    deletion, insertion = curves.areas()
    assert min(deletion[:-1]) < deletion[-1] and max(insertion[:-1]) > insertion[-1]
