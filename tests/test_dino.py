"""Features: against NumPy's SVD, against the softmax of the weights by hand, and timm's maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from core import classify, images
from core.checkpoints import CATALOGUE, by_key
from core.errors import InputError
from core.lessons import dino
from core.sources import downloads, resolver
from demos.lessons import dino as lesson_view
from demos.shell.lesson import NotYet
from demos.viewers.dino import packed
from tests import nets

ACCEPTED = [c for c in CATALOGUE if c.task == "classify"]


def a_vit(**options):
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=2, num_heads=3, num_classes=0,
        **options,
    ).eval()  # fmt: skip


def test_components_are_those_of_numpys_svd():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(40, 12)) * np.arange(1, 13) + 5).astype(np.float32)
    found, explained = dino.pca(features)
    centred = features.astype(float) - features.astype(float).mean(0)
    _, singular, directions = np.linalg.svd(centred)
    for i in range(3):
        wanted = centred @ directions[i]
        sign = np.sign(wanted @ found[:, i])
        np.testing.assert_allclose(found[:, i], sign * wanted, atol=1e-4)
        assert found[np.abs(found[:, i]).argmax(), i] > 0
    np.testing.assert_allclose(explained, (singular[:3] ** 2) / (singular**2).sum(), rtol=1e-5)
    flat, none = dino.pca(np.ones((5, 4), np.float32))
    assert not flat.any() and not none.any()
    few, _ = dino.pca(np.eye(2, dtype=np.float32))
    assert few.shape == (2, 3) and np.isfinite(few).all()


@pytest.mark.parametrize("options", [{}, {"qk_norm": True}, {"reg_tokens": 2}], ids=str)
def test_features_and_class_attention_by_hand(options):
    model, x = a_vit(**options), torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        *maps, attention = dino.features_of(model, x)
        theirs = model.forward_intermediates(x, norm=True, intermediates_only=True)
        before = model.norm_pre(model._pos_embed(model.patch_embed(x)))
        block = model.blocks[0]
        qkv = block.attn.qkv(block.norm1(before))[0]  # (N, 3 * 48)
    for mine, wanted in zip(maps, theirs, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-5, rtol=1e-4)
    queries, keys, _ = (part.reshape(-1, 3, 16) for part in qkv.split(48, dim=1))
    with torch.inference_mode():
        queries, keys = block.attn.q_norm(queries), block.attn.k_norm(keys)
    for head in range(3):
        scores = (keys[:, head] @ queries[0, head]).numpy() / 16**0.5
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        first = model.num_prefix_tokens
        np.testing.assert_allclose(attention[0, 0, head].numpy(), shares[first:], atol=1e-5)
    assert not any(b._forward_hooks or b.attn._forward_pre_hooks for b in model.blocks)


def test_maps_of_a_cnn_are_timms_own():
    torch.manual_seed(0)
    model, x = timm.create_model("resnet10t", num_classes=3).eval(), torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        *maps, attention = dino.features_of(model, x)
        theirs = model.forward_intermediates(x, intermediates_only=True)
    assert [m.shape for m in maps] == [t.shape for t in theirs[-len(maps) :]]
    torch.testing.assert_close(maps[-1], theirs[-1])
    assert maps[0].shape[-1] ** 2 <= dino.LARGEST and attention.numel() == 0


def level(seed=0, grid=(3, 4), dim=6):
    features = np.random.default_rng(seed).normal(size=(grid[0] * grid[1], dim)).astype(np.float32)
    return dino.Level("one", grid, features, *dino.pca(features))


def test_nearest_patches_are_those_with_the_largest_cosine():
    one = level()
    a = one.features[5]
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for b in one.features]
    np.testing.assert_allclose(one.similarity(1, 1).reshape(-1), cosines, atol=1e-6)
    order = sorted((i for i in range(12) if i != 5), key=lambda i: -cosines[i])
    assert [r * 4 + c for r, c, _ in one.nearest(1, 1, 4)] == order[:4]
    assert len(one.nearest(0, 0, 99)) == 11
    assert one.colours.min() == 0 and one.colours.max() == 255
    for wrong in ((3, 0), (0, 4), (-1, 0), (0.5, 0)):
        with pytest.raises(InputError):
            one.similarity(*wrong)
    with pytest.raises(InputError):
        one.nearest(0, 0, 0)


def test_one_pass_serves_every_question(shelf, forwards, picture, monkeypatch, tmp_path):
    from demos.shell import ui

    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    shelf.starter("classify", *nets.vit(), name="vit")
    image = picture(64, 48)
    found = dino.look(image, "vit")
    again = dino.look(image, "vit")
    assert len(forwards) == 1 and again.info.cache["output"] == "hit"
    assert [one.attention for one in found.levels] == [None, None], "it has no class token"
    value = packed(image, found)
    part = value["parts"]["features1"]
    content = Path(value["numbers"]).read_bytes()[part["offset"] :]
    whole = np.frombuffer(content[: 2 * int(np.prod(part["shape"]))], "<i2").reshape(part["shape"])
    unit = whole / np.linalg.norm(whole.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(
        unit @ unit[9], found.levels[1].similarity(1, 1).reshape(-1), atol=1e-3
    )


@pytest.mark.parametrize("checkpoint", ACCEPTED, ids=lambda c: c.key)
def test_every_checkpoint_of_classify_has_features(checkpoint, picture, settings):
    if not resolver.is_ready(checkpoint):
        pytest.skip(f"{checkpoint.key} is not on this machine")
    if checkpoint.loader == "torchvision" or checkpoint.key == "lenet-starter":
        with pytest.raises(InputError, match="needs a network of timm"):
            dino.look(picture(80, 64), checkpoint.key)
        return
    found = dino.look(picture(80, 64), checkpoint.key)
    for one in found.levels:
        assert np.isfinite(one.features).all() and 0 < one.explained.sum() <= 1 + 1e-6
        assert one.attention is None or np.all(one.attention.sum(1) <= 1 + 1e-4)
    assert ("without labels" in found.learnt) == checkpoint.features


def test_a_model_without_classes_is_for_lessons_alone():
    backbones = [c for c in CATALOGUE if c.features]
    assert {c.key for c in backbones} == {"dino-small", "dinov2-small"}
    listed = {c.key for c in resolver.of_task("classify")}
    assert not listed & {c.key for c in backbones}
    assert {c.key for c in backbones} <= {key for _, key in lesson_view._choices()}
    for ask in (classify.predict, lambda image, key: classify.classes(key)):
        with pytest.raises(InputError, match="no classes, only features"):
            ask(np.zeros((8, 8, 3), np.uint8), "dino-small")
    assert "without labels" in dino.learnt(backbones[0])


def test_without_weights_there_is_a_sentence_and_the_download(picture, settings, monkeypatch):
    """No other model stands in for DINO, and the button fetches the one that is chosen."""
    for one in [c for c in CATALOGUE if c.features]:
        if resolver.is_ready(one):
            pytest.skip(f"{one.key} is on this machine")
        with pytest.raises(NotYet, match=f"{one.title}.*are not on this machine: press Download"):
            lesson_view._run(images.picture(picture(64, 48)), "auto", one.key)
    asked = []
    job = downloads.Job(by_key("dinov2-small"), state="running")
    job.ended.set()  # so that nobody waits for it
    monkeypatch.setattr(downloads, "start", lambda one, _: asked.append(one.key) or job)
    assert "(88.2 MB) is being downloaded; press Refresh" in lesson_view._fetch("dinov2-small")
    assert "DINO" in lesson_view._fetch("chosen") and asked == ["dinov2-small", "dino-small"]


def test_endpoint_answers_and_refuses(picture):
    answer = lesson_view.dino(picture(80, 60), row=2, column=3, count=3)
    rows, columns = answer["grid"]
    assert np.array(answer["colours"]).shape == (rows, columns, 3) and len(answer["nearest"]) == 3
    assert "with labels" in answer["learnt"] and answer["attention"] is not None
    with pytest.raises(InputError, match="The layer"):
        lesson_view.dino(picture(80, 60), layer=99)
    with pytest.raises(InputError, match="Please send a picture"):
        lesson_view.dino(None)
