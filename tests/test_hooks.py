"""What is recorded in a pass is of that pass, also while another thread runs the same model.

On a CPU a step of a long job runs beside short passes, so without this a lesson could show what
the model made of somebody else's picture.
"""

from __future__ import annotations

import threading

import pytest
import timm
import torch

from core.lessons import dino, swin
from core.nets import cam, footprints, hooks, layers, tokens
from core.sam import engines
from tests.conftest import once_beside


def another_runs(model, moment, other):
    """Lets another thread run the model on `other`, once, when its first or last layer is reached
    by this one."""
    listed = layers.listed(model)

    def run():
        with torch.inference_mode():
            model(other)

    between, begun = once_beside(run)
    layer = model.get_submodule(listed[0 if moment == "first" else -1].name)
    if moment == "first":
        return layer.register_forward_pre_hook(between), begun
    return layer.register_forward_hook(between), begun


def cnn():
    torch.manual_seed(0)
    return timm.create_model("lcnet_035", num_classes=5).eval()


def vit():
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=64, num_classes=5, depth=3, dynamic_img_size=True
    ).eval()


def shifted():
    torch.manual_seed(0)
    return timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(1, 1), embed_dim=24,
        num_heads=(2, 2), num_classes=5,
    ).eval()  # fmt: skip


def maps(model, x):
    found = {}
    with torch.inference_mode(), layers.watched(model, found.__setitem__):
        model(x)
    return [found[number] for number in sorted(found)]


def inputs(model, x):
    with torch.inference_mode(), tokens.inputs_of([b.attn for b in model.blocks]) as found:
        model(x)
    return list(found.values())


def recorded(model, x):
    with torch.inference_mode():
        return [part for found in dino._recorded(model, (x,)) for part in found.values()]


def scores(model, x):
    with torch.inference_mode():
        return swin.scores_of(model, x)


@pytest.mark.parametrize("moment", ["first", "last"])
@pytest.mark.parametrize(
    ("make", "record"),
    [
        (cnn, maps),
        (cnn, footprints.gradients),
        (cnn, lambda model, x: cam.best_class(model, x)[:2]),
        (vit, maps),
        (vit, inputs),
        (vit, recorded),
        (shifted, scores),
    ],
)
def test_another_threads_pass_is_not_heard(make, record, moment):
    model = make().requires_grad_(False)
    torch.manual_seed(1)
    mine, other = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    alone = record(model, mine)
    assert not all(torch.equal(a, b) for a, b in zip(alone, record(model, other), strict=True))
    handle, begun = another_runs(model, moment, other)
    try:
        beside = record(model, mine)
    finally:
        handle.remove()
    assert begun, "this test needs another thread's pass"
    assert len(alone) == len(beside)
    for expected, found in zip(alone, beside, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_hook_of_this_thread_gives_what_it_returns():
    assert hooks.here(lambda a, b=0: a + b)(1, b=2) == 3
    heard = []
    thread = threading.Thread(target=hooks.here(heard.append), args=(1,))
    thread.start()
    thread.join()
    assert heard == []


def test_progress_is_that_of_its_own_pass():
    """Else a visitor who cancels would end somebody else's pass."""
    blocks = [torch.nn.Identity(), torch.nn.Identity()]
    told = []
    with engines.followed(blocks, told.append):
        thread = threading.Thread(target=blocks[0], args=(torch.zeros(1),))
        thread.start()
        thread.join()
        assert told == []
        for block in blocks:
            block(torch.zeros(1))
    assert told == [0.5, 1.0]
