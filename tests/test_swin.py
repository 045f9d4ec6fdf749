"""Swin's windows: against timm's own layers and against the paper's figures."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from core.checkpoints import CATALOGUE
from core.errors import InputError
from core.lessons import swin
from core.sources import resolver
from core.types import RunInfo
from demos.lessons import swin as lesson_view
from demos.viewers.swin import packed

SWIN = "swin_tiny_patch4_window7_224"
INFO = RunInfo("net", "own", "cpu")


def a_swin(size: int = 64, window: int = 4):
    """A small Swin with weights and biases that attend to something."""
    torch.manual_seed(0)
    model = timm.create_model(
        SWIN, img_size=size, window_size=window, embed_dim=24,
        depths=(2, 2), num_heads=(2, 3), num_classes=5,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for stage in model.layers:
            for block in stage.blocks:
                block.attn.qkv.weight.mul_(40)
                block.attn.relative_position_bias_table.mul_(50)
    return model


def looked(model, x) -> swin.Windows:
    with torch.inference_mode():
        scores = swin.scores_of(model, x)
    blocks, biases = swin._facts(model)
    found = tuple(one[0].numpy() for one in scores)
    return swin.Windows("net", blocks, found, biases, (0, 0, 64, 64), INFO)


def softmaxes(model, x) -> list[np.ndarray]:
    """(windows, heads, n, n) of each block, as timm's own softmax layer gives them."""
    found: list[np.ndarray] = []
    hooks = [
        block.attn.softmax.register_forward_hook(lambda _, __, out: found.append(out.numpy()))
        for stage in model.layers
        for block in stage.blocks
    ]
    with torch.inference_mode():
        model(x)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(("size", "window"), [(64, 4), (96, 5)], ids=["whole", "padded"])
def test_weights_are_those_of_timms_softmax(size, window):
    """Through timm's own shift and partition, applied to the numbers of the patches."""
    from timm.models.swin_transformer import window_partition

    model, x = a_swin(size, window), torch.randn(1, 3, size, size)
    found, theirs = looked(model, x), softmaxes(model, x)
    assert any(any(block.shift) for block in found.blocks)
    rng = np.random.default_rng(1)
    for number, block in enumerate(found.blocks):
        rows, columns = block.grid
        cells = torch.arange(rows * columns).reshape(1, rows, columns, 1)
        cells = torch.roll(cells, (-block.shift[0], -block.shift[1]), (1, 2))
        down, right = (-rows % block.window[0], -columns % block.window[1])
        cells = torch.nn.functional.pad(cells, (0, 0, 0, right, 0, down), value=-1)
        parts = window_partition(cells, block.window).reshape(-1, int(np.prod(block.window)))
        for cell in rng.integers(0, rows * columns, 12):
            window_number, inside = (parts == cell).nonzero()[0].tolist()
            for head in range(block.heads):
                expected = np.zeros(rows * columns)
                row = theirs[number][window_number, head, inside]
                for place, value in zip(parts[window_number].tolist(), row, strict=True):
                    if place >= 0:
                        expected[place] = value
                got = found.weights(number, head, cell // columns, cell % columns)
                np.testing.assert_allclose(got.reshape(-1), expected, atol=2e-5)
    hooked = [m for stage in model.layers for b in stage.blocks for m in b.attn._forward_pre_hooks]
    assert hooked == [], "no hook stays"


def test_regions_are_timms_mask():
    model = a_swin()
    blocks = swin.blocks_of(model)
    for block, theirs in zip(
        blocks, (b for stage in model.layers for b in stage.blocks), strict=True
    ):
        if theirs.attn_mask is None:
            assert np.all(swin.regions(block) == 0)
            continue
        part = swin.regions(block, padded=True).reshape(-1)
        for window, mask in enumerate(theirs.attn_mask.numpy()):
            mine = part[swin._cells_of(block, window)]
            np.testing.assert_array_equal(mine[:, None] == mine[None], mask == 0)


def test_without_the_bias_it_is_the_softmax_of_the_scores():
    model, x = a_swin(), torch.randn(1, 3, 64, 64)
    found = looked(model, x)
    block = found.blocks[0]
    window, place = swin.placed(block)
    scores = found.scores[0][window[5, 6], 1, place[5, 6]]
    by_hand = np.exp(scores) / np.exp(scores).sum()
    mine = found.weights(0, 1, 5, 6, bias=False)
    np.testing.assert_allclose(mine[window == window[5, 6]], by_hand, atol=1e-5)
    both = found.weights(0, -1, 5, 6)
    np.testing.assert_allclose(
        both, np.mean([found.weights(0, head, 5, 6) for head in range(2)], axis=0), atol=1e-6
    )
    for wrong in ((4, 0, 0, 0), (0, 2, 0, 0), (0, 0, 16, 0), (0, 0, 0, -1), (0.5, 0, 0, 0)):
        with pytest.raises(InputError):
            found.weights(*wrong)


def test_the_geometry_is_that_of_the_paper():
    blocks = swin.geometry()
    stages = [[b for b in blocks if b.stage == stage] for stage in range(4)]
    assert [len(stage) for stage in stages] == [2, 2, 6, 2]
    assert [stage[0].grid[0] for stage in stages] == [56, 28, 14, 7]
    assert [stage[0].dim for stage in stages] == [96, 192, 384, 768]
    assert [stage[0].heads for stage in stages] == [3, 6, 12, 24]
    assert {b.window for b in blocks} == {(7, 7)}
    assert [b.shift[0] for b in blocks] == [0, 3] * 5 + [0, 0]
    window, _ = swin.placed(blocks[1])
    assert window[0, 0] == window[55, 55] == window[0, 55] == 63  # rolled into one window
    assert len({int(swin.regions(blocks[1])[y, x]) for y in (0, 55) for x in (0, 55)}) == 4


def test_without_weights_there_is_the_geometry_and_one_sentence(picture, settings):
    found = swin.look(picture(64, 48), "classify-starter")
    if found.scores:
        pytest.skip("Swin-T is on this machine")
    assert found.info is None and "weights of Swin-T" in found.missing
    with pytest.raises(InputError, match="not on this machine"):
        found.weights(0, 0, 0, 0)
    answer = lesson_view.swin(picture(64, 48))
    assert answer["weights"] is None and answer["missing"] and len(answer["blocks"]) == 12


def test_one_pass_serves_every_question_and_the_page_gets_the_same(
    shelf, forwards, picture, monkeypatch, tmp_path
):
    from demos.shell import ui

    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    create = timm.create_model
    small = {
        "img_size": 64, "window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 3),
        "pretrained_cfg_overlay": {"input_size": (3, 64, 64)},
    }  # fmt: skip
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: create(SWIN, **small, num_classes=5))
    save_file(create(SWIN, **small, num_classes=5).state_dict(), tmp_path / "mine.safetensors")
    shelf.add("classify", tmp_path / "mine.safetensors", arch=SWIN)
    image = picture(80, 64)
    found = swin.look(image, "mine")
    again = swin.look(image, "mine")
    assert len(forwards) == 1 and again.info.cache["output"] == "hit"
    value = packed(image, found)
    part = value["parts"]["scores1"]
    whole = np.fromfile(value["numbers"], np.uint8)[part["offset"] :]
    whole = whole[: 2 * int(np.prod(part["shape"]))].view("<i2").reshape(part["shape"])
    back = whole * np.array(value["scales"][1])[None, :, None, None]
    np.testing.assert_allclose(back, found.scores[1], atol=0.01)


def test_another_network_gives_the_geometry_and_says_so(shelf, picture):
    from tests import nets

    shelf.starter("classify", *nets.vit(), name="vit")
    found = swin.look(picture(40, 30), "vit")
    assert not found.scores and found.missing
    with pytest.raises(swin.NotSwin, match="choose a Swin"):
        swin.blocks_of(timm.create_model("resnet10t"))


@pytest.mark.parametrize("key", [c.key for c in CATALOGUE if c.arch.startswith("swin")])
def test_swins_of_the_catalogue(key, picture):
    chosen = next(c for c in CATALOGUE if c.key == key)
    if not resolver.is_ready(chosen):
        pytest.skip(f"{key} is not on this machine")
    found = swin.look(picture(64, 48), key)
    for number, block in enumerate(found.blocks):
        assert found.weights(number, -1, *(side // 2 for side in block.grid)).sum() == (
            pytest.approx(1, abs=1e-3)
        )
