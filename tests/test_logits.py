"""Logits and the loss against PyTorch's own functions, and without another pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core import classify
from core.errors import InputError
from core.lessons import logits
from core.types import RunInfo
from tests import nets

INFO = RunInfo("net", "own", "cpu")


def found(count: int = 50, spread: float = 4.0, seed: int = 0) -> logits.Logits:
    values = np.random.default_rng(seed).normal(0, spread, count)
    return logits.Logits(tuple(f"thing {i}" for i in range(count)), values, INFO)


@pytest.mark.parametrize("temperature", [0.05, 1, 7.5])
@pytest.mark.parametrize("shift", [0, 500, -500])
def test_all_numbers_are_those_of_torch(temperature, shift):
    one = found()
    one = logits.Logits(one.labels, one.values + shift, INFO)
    z, target = torch.tensor(one.values, requires_grad=True), torch.tensor([7])
    np.testing.assert_allclose(
        one.softmax(temperature), (z / temperature).softmax(0).detach(), atol=1e-12
    )
    np.testing.assert_allclose(one.sigmoid(), z.sigmoid().detach(), atol=1e-12)
    loss = F.cross_entropy(z[None] / temperature, target)
    assert one.cross_entropy("thing 7", temperature) == pytest.approx(loss.item(), abs=1e-9)


@pytest.mark.parametrize("twice", [False, True])
def test_slopes_and_the_second_softmax_are_those_of_autograd(twice):
    one = found()
    z = torch.tensor(one.values, requires_grad=True)
    loss = F.cross_entropy((z.softmax(0) if twice else z)[None], torch.tensor([3]))
    loss.backward()
    np.testing.assert_allclose(one.gradient("thing 3", twice), z.grad, atol=1e-12)
    expected = one.softmax_twice("thing 3") if twice else one.cross_entropy("thing 3")
    assert expected == pytest.approx(loss.item(), abs=1e-12)


def test_a_perfect_model_cannot_get_below_the_floor_with_two_softmaxes():
    sure = logits.Logits(("a", "b", "c", "d"), np.array([1000.0, 0, 0, 0]), INFO)
    assert sure.cross_entropy("a") == 0
    assert sure.softmax_twice("a") == pytest.approx(math.log(math.e + 3) - 1)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 88.72), ("float16", 11.09)])
def test_exp_as_it_is_written_overflows_where_it_is_said(dtype, most):
    assert logits.LARGEST[dtype] == pytest.approx(most, abs=0.01)
    below, above = (np.array([logits.LARGEST[dtype] + by, 0.0]) for by in (-0.1, 0.1))
    assert logits.naive_cross_entropy(below, 0, dtype) == pytest.approx(0, abs=1e-3)
    assert math.isnan(logits.naive_cross_entropy(above, 0, dtype))
    assert logits.cross_entropy(above, 0) == pytest.approx(0, abs=1e-4)


def test_the_tab_s_pass_serves_the_lesson(shelf, forwards, picture):
    shelf.starter("classify", *nets.vit(), name="vit")
    image = picture(64, 48)
    scores = classify.predict(image, "vit")
    one = logits.look(image, "vit")
    assert len(forwards) == 1 and one.info.cache["output"] == "hit"
    np.testing.assert_allclose(np.sort(one.softmax())[::-1], scores.scores, atol=1e-6)


@pytest.mark.parametrize("label", ["no such thing", "", None, 3])
def test_an_unknown_class_gets_one_sentence(label):
    with pytest.raises(InputError, match=r"^(The model knows no class|Name a class)"):
        found().cross_entropy(label)
    with pytest.raises(InputError, match="did you mean thing 41"):
        found().cross_entropy("ing 41")
    with pytest.raises(InputError, match="temperature"):
        found().softmax(0)
    assert found().index(" THING 4 ") == 4
