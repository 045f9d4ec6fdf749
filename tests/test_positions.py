"""Position embeddings: the similarity is that of the weights, in every checkpoint that has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch

from core.checkpoints import CATALOGUE
from core.errors import InputError
from core.lessons import positions
from core.nets import tokens
from demos.viewers.positions import packed

PUBLISHED = [
    c.arch for c in CATALOGUE if c.task == "classify" and c.loader == "timm" and c.tier == "full"
]


def built(arch: str, **options: Any) -> Any:
    """A network without weights, which takes no time; only its position embeddings are numbers."""
    with torch.device("meta"):
        model = timm.create_model(arch, **options)
    if isinstance(getattr(model, "pos_embed", None), torch.nn.Parameter):
        torch.manual_seed(0)
        model.pos_embed = torch.nn.Parameter(torch.randn(model.pos_embed.shape))
    return model


@pytest.mark.parametrize("arch", PUBLISHED)
def test_every_vision_transformer_of_the_catalogue_shows_its_own_weights(arch):
    model = built(arch)
    if not tokens.is_vision_transformer(model):
        with pytest.raises(InputError, match="Choose a Vision Transformer"):
            positions.embeddings(model)
        return
    table, grid = positions.embeddings(model)
    theirs = model.pos_embed[0, model.num_prefix_tokens :].detach().numpy()
    np.testing.assert_array_equal(table, theirs)
    assert grid == model.patch_embed.grid_size
    found = positions.similarity(table)
    for i, j in ((0, 0), (0, 1), (17, 5)):
        by_hand = np.dot(theirs[i], theirs[j]) / (
            np.linalg.norm(theirs[i]) * np.linalg.norm(theirs[j])
        )
        assert found[i, j] == pytest.approx(by_hand, abs=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"reg_tokens": 4}, {"reg_tokens": 4, "no_embed_class": True}, {"class_token": False}],
    ids=str,
)
def test_special_tokens_are_left_out_wherever_they_have_a_place(options):
    if "class_token" in options:
        options = {**options, "global_pool": "avg"}
    model = built("vit_tiny_patch16_224", img_size=64, **options)
    table, grid = positions.embeddings(model)
    assert grid == (4, 4)
    np.testing.assert_array_equal(table, model.pos_embed[0, -16:].detach().numpy())


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("swin_tiny_patch4_window7_224", "how far two patches lie apart"),
        ("resnet18", "a convolution"),
        ("vit_small_patch16_dinov3", "rotates queries and keys"),
    ],
)
def test_a_model_without_them_gets_one_sentence(arch, why):
    with pytest.raises(InputError, match=why):
        positions.embeddings(built(arch))


def test_the_starters_places_are_those_of_its_file():
    from safetensors.numpy import load_file

    found = positions.look("classify-starter")
    file = next(c for c in CATALOGUE if c.key == "classify-starter").source
    table = load_file(file)["pos_embed"][0, -len(found.similarity) :].astype(np.float64)
    unit = table / np.linalg.norm(table, axis=1)[:, None]
    np.testing.assert_allclose(found.similarity, unit @ unit.T, atol=1e-5)
    np.testing.assert_array_equal(found.of(1, 2).ravel(), found.similarity[found.grid[1] + 2])
    assert found.seen((200, 400)) == (105.0, 5.0, 295.0, 195.0)  # 95 % of the middle square
    for wrong in ((found.grid[0], 0), (0, -1), (0.5, 0), (True, 0)):
        with pytest.raises(InputError, match=r"The (row|column)"):
            found.of(*wrong)
    with pytest.raises(InputError, match="Choose a Vision Transformer"):
        positions.look("efficientnet-lite0")


def test_numbers_for_the_page_lose_nothing_that_one_sees(tmp_path, monkeypatch):
    from demos.shell import ui

    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    found = positions.look("classify-starter")
    value = packed(np.zeros((40, 60, 3), np.uint8), found)
    read = np.fromfile(value["numbers"], "<i2").reshape(found.similarity.shape) * value["scale"]
    np.testing.assert_allclose(read, found.similarity, atol=1e-4)
    assert value["ends"][1] < 1, "the place itself is left out"
