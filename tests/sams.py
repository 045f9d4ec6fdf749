"""What the segmentation tests share: small SAMs on the shelf, and the library's own answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import segment_anything
import torch
from segment_anything import SamPredictor

from tests import nets
from tests.conftest import Shelf


def register(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, model: Any) -> Any:
    """Put Meta's SAM at a small size on the shelf, as a .pth that the registry's "vit_b" reads."""

    def build(checkpoint: Any = None) -> Any:
        made = nets.sam()
        if checkpoint is not None:
            made.load_state_dict(torch.load(checkpoint, weights_only=True))
        return made

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", build)
    path = shelf.folder / "sam.pth"
    torch.save(model.state_dict(), path)
    shelf.add("segment", path, arch="vit_b", tier="starter")
    return model


def ask(sam, image, points=(), box=None, mask_input=None, multimask=True):
    """SamPredictor's answer to the same prompt: masks, scores, low_res; best first."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    rows = np.array(points, dtype=float).reshape(-1, 3)
    masks, scores, low_res = predictor.predict(
        rows[:, :2] if len(rows) else None,
        rows[:, 2] if len(rows) else None,
        None if box is None else np.array(box),
        mask_input,
        multimask_output=multimask and len(rows) == 1 and box is None and mask_input is None,
    )
    order = np.argsort(-scores, kind="stable")
    return masks[order], scores[order], low_res[order]


def assert_same(result, expected):
    for found, wanted in zip((result.masks, result.scores, result.low_res), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
