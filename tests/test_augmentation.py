"""The augmentation bench: against torchvision's own transforms and pictures worked out by hand."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from core import classify, images
from core.errors import InputError
from core.lessons import augmentation
from core.lessons.augmentation import COUNT, Strengths
from core.types import Masks, RunInfo
from demos import segment as segment_tab
from demos.lessons import augmentation as view
from demos.segment import prompts, session
from demos.segment.session import Session
from demos.shell.lesson import NotYet
from tests import nets


def theirs(step: v2.Transform, rgb: np.ndarray, seed: int) -> list[np.ndarray]:
    """torchvision's transform on the picture, `COUNT` times from one seed."""
    torch.manual_seed(seed)
    x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)
    return [step(x).permute(1, 2, 0).numpy() for _ in range(COUNT)]


@pytest.mark.parametrize(
    ("strengths", "step"),
    [
        (
            Strengths(rotation=0.5),
            v2.RandomRotation(90, v2.InterpolationMode.BILINEAR, fill=[124, 116, 104]),
        ),
        (Strengths(colour=0.5), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)),
        (
            Strengths(randaugment=0.3),
            v2.RandAugment(2, 9, num_magnitude_bins=31, fill=[124, 116, 104]),
        ),
        (
            Strengths(crop=0.4),
            v2.RandomResizedCrop((48, 64), (0.64, 1), (64 / 48 * 0.9, 64 / 48 / 0.9)),
        ),
    ],
    ids=["rotation", "colour", "randaugment", "crop"],
)
def test_the_variants_are_torchvisions(strengths, step, picture):
    rgb = picture(64, 48)
    found, mixed = augmentation.augmented(rgb, strengths, seed=7)
    expected = theirs(step, rgb, 7)
    for mine, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, wanted)
    assert mixed == [0.0] * COUNT
    assert any(not np.array_equal(one, rgb) for one in found)


def test_a_seed_makes_the_same_variants_and_leaves_the_generator_alone(picture):
    rgb, strong = picture(40, 30), Strengths(0.5, 0.5, 0.5, 0.5)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, _ = augmentation.augmented(rgb, strong, 3)
    assert torch.equal(torch.rand(3), expected)
    again, _ = augmentation.augmented(rgb, strong, 3)
    other, _ = augmentation.augmented(rgb, strong, 4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert all(np.array_equal(one, rgb) for one in augmentation.augmented(rgb, Strengths(), 3)[0])


def test_cutmix_takes_the_share_that_it_says():
    black, white = np.zeros((30, 40, 3), np.uint8), np.full((60, 50, 3), 255, np.uint8)
    found, mixed = augmentation.augmented(black, Strengths(cutmix=1), 0, partners=[white])
    for rgb, share in zip(found, mixed, strict=True):
        assert set(np.unique(rgb)) <= {0, 255}
        assert (rgb == 255).mean() == pytest.approx(share)
        rows, columns = np.nonzero(rgb[..., 0])
        if rows.size:  # a box
            assert rows.size == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert 0 < max(mixed) <= 0.6


def test_copy_paste_keeps_the_object_and_nothing_else():
    blue = np.zeros((60, 80, 3), np.uint8)
    blue[..., 2] = 200
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:60] = True
    blue[mask] = (250, 10, 10)
    white = np.full((60, 80, 3), 255, np.uint8)
    found, mixed = augmentation.augmented(blue, Strengths(copy_paste=0.5), 2, mask, [white])
    pasted = [i for i, share in enumerate(mixed) if share]
    assert len(pasted) == COUNT // 2
    for i in pasted:
        red = (found[i][..., 0] > 200) & (found[i][..., 1] < 100)
        assert (found[i].reshape(-1, 3).min(1) == 255).mean() == pytest.approx(mixed[i], abs=0.02)
        assert 0.4**2 * 0.8 < red.sum() / mask.sum() < 1.05  # whole, of a size between
    untouched = next(i for i in range(COUNT) if i not in pasted)
    np.testing.assert_array_equal(found[untouched], blue)


def test_one_pass_for_the_grid_and_its_answers_are_classifys(shelf, forwards, picture):
    shelf.starter("classify", *nets.vit(), name="vit")
    rgb = picture(64, 48)
    found = augmentation.bench(rgb, "vit", Strengths(rotation=0.8, colour=0.5), seed=1)
    assert len(forwards) == 1
    again = augmentation.bench(rgb, "vit", Strengths(rotation=0.8, colour=0.5), seed=1)
    assert len(forwards) == 1 and again.info.cache["output"] == "hit"
    agree, of_original = [], []
    for one in (found.original, *found.variants):
        alone = classify.predict(one.image, "vit", top_k=4)
        scores = dict(zip(alone.labels, alone.scores, strict=True))
        assert one.label == alone.labels[0]
        assert one.probability == pytest.approx(float(alone.scores[0]), abs=1e-5)
        assert one.of_original == pytest.approx(scores[found.original.label], abs=1e-5)
        agree.append(one.label == found.original.label)
        of_original.append(one.of_original)
    assert found.agreeing == pytest.approx(np.mean(agree[1:]))
    assert found.sureness == pytest.approx(np.mean(of_original[1:]))
    page = view.grid_html(found)
    assert page.count("<img") == COUNT + 1 and page.count("✗") == COUNT - sum(agree[1:])


def test_the_object_that_the_visitor_cut_out_is_pasted(shelf, picture, monkeypatch):
    """That of this visitor's canvas and of this picture, or a sentence."""
    shelf.starter("classify", *nets.vit(), name="vit")
    shared = images.picture(picture(64, 48))
    state = Session("a", shared.digest)
    used, mask = [], np.zeros((48, 64), bool)
    mask[10:30, 20:40] = True
    info = RunInfo("net", "starter", "cpu")
    found = Masks(mask[None], np.ones(1, "f4"), info, None, np.ones(1, "f4"))
    monkeypatch.setattr(session, "masks", lambda *_: found)
    monkeypatch.setattr(
        prompts, "full_mask", lambda *given: used.append(given) or (mask, 1.0, 1.0, info)
    )

    def run(own: Session | None, share: float = 1) -> str:
        return view._run(shared, "vit", 0, 0, 0, 0, 0, share, view.OWN, 0, own)[0]

    with pytest.raises(NotYet, match="open Segment, click an object"):
        run(None)
    with pytest.raises(NotYet, match="open Segment"):
        run(state)
    assert "of another picture" not in run(None, 0)  # nothing is pasted, so none is needed
    one = {"id": 1, "rev": 1, "name": "Object 1", "color": "#3366cc", "points": [[25, 20, 1]]}
    data = {"picture": "a", "seq": 1, "gesture": "include", "active": 1}
    gesture = gr.EventData(None, {**data, "objects": [one], "want": [1]})
    segment_tab._prompt(shared, "sam-vit-b", 0, state, gesture)
    expected = augmentation.bench(shared, "vit", Strengths(copy_paste=1), mask=mask)
    assert run(state) == view.grid_html(expected)
    assert used[0][2].checkpoint == "sam-vit-b" and used[0][3].points == [[25, 20, 1]]
    with pytest.raises(NotYet, match="open Segment"):
        run(Session("b", "another picture"))


@pytest.mark.parametrize("key", ["classify-starter", "efficientnet-lite0"])
def test_a_batch_of_the_trunk_and_its_head_answers_as_one_by_one(key, picture):
    pictures = [picture(80, 60, seed) for seed in range(2)]
    found = classify.together(pictures, key)
    for rgb, row in zip(pictures, found.probabilities, strict=True):
        alone = classify.predict(rgb, key, top_k=3)
        best = np.argsort(-row)[:3]
        assert tuple(found.labels[i] for i in best) == alone.labels
        np.testing.assert_allclose(row[best], alone.scores, rtol=1e-3)


def test_what_cannot_be_used_is_refused(shelf, picture):
    shelf.starter("classify", *nets.vit(), name="vit")
    for strengths in ({"colour": 1.5}, {"crop": float("nan")}, {"cutmix": "much"}):
        with pytest.raises(InputError, match="The strength of"):
            Strengths(**strengths)
    rgb = picture(40, 30)
    with pytest.raises(InputError, match="seed"):
        augmentation.bench(rgb, "vit", seed=-1)
    paste = Strengths(copy_paste=1)
    with pytest.raises(InputError, match="no object"):
        augmentation.bench(rgb, "vit", paste, mask=np.zeros((30, 40), bool), partners=[rgb])
    with pytest.raises(InputError, match="must be equal"):
        augmentation.bench(rgb, "vit", paste, mask=np.ones((3, 4), bool), partners=[rgb])
    with pytest.raises(InputError, match="another picture"):
        augmentation.bench(rgb, "vit", Strengths(cutmix=0.5), partners=[])
    with pytest.raises(InputError, match="at least one"):
        classify.together([], "vit")
