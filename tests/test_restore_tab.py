"""What the Restore tab says beside a result."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest

from core import images
from demos import restore as tab
from tests import nets


@pytest.mark.parametrize(("noise", "said"), [(0, True), (20, False)])
def test_a_clean_picture_is_called_clean(shelf, noise, said):
    shelf.starter("denoise", nets.drunet(), {}, name="clean")
    smooth = np.tile(np.linspace(60, 190, 96), (96, 1))[..., None].repeat(3, 2)
    noisy = smooth + np.random.default_rng(0).normal(0, noise, smooth.shape)
    picture = images.picture(np.clip(noisy, 0, 255).astype(np.uint8))
    *_, (_, line, _) = tab._handler("denoise")(picture, "auto", True, 25, 2, gr.Progress())
    assert ("almost no noise" in line) is said


def test_a_chosen_level_gets_no_such_hint(shelf, picture):
    shelf.starter("denoise", nets.drunet(), {}, name="clean")
    flat = images.picture(picture(64, 64))
    *_, (_, line, _) = tab._handler("denoise")(flat, "auto", False, 1, 2, gr.Progress())
    assert "almost no noise" not in line
