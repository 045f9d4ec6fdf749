"""The embedding store: encoded once per picture, bounded in bytes, users kept apart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core import segment
from core.nets import sam as own
from core.sam import models
from core.serving import runtime
from tests.conftest import PATIENCE
from tests.sams import ask, assert_same

pytestmark = pytest.mark.usefixtures("stock_layers")


@pytest.fixture
def encodings(sam, monkeypatch):
    """Grows by one with each pass through the image encoder."""
    passes = []
    kind = type(sam.image_encoder)
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: passes.append(1) or forward(self, x))
    return passes


def test_second_click_runs_no_encoder(sam, encodings, picture):
    image = picture(90, 64)
    first = segment.predict(image, [[40, 30, 1]])
    second = segment.predict(image.copy(), [[41, 30, 1]])
    assert [r.info.cache["embedding"] for r in (first, second)] == ["miss", "hit"]
    assert "encode" in first.info.seconds
    assert "encode" not in second.info.seconds
    segment.everything(image, points_per_side=2)
    assert len(encodings) == 1
    segment.predict(picture(90, 64, seed=1), [[40, 30, 1]])
    assert len(encodings) == 2


def test_embed_prepares_the_first_click(sam, encodings, picture):
    image = picture(90, 64)
    assert segment.embed(image).cache["embedding"] == "miss"
    assert segment.predict(image, [[40, 30, 1]]).info.cache["embedding"] == "hit"
    assert len(encodings) == 1


def test_nobody_else_waits_while_a_large_sam_reads_a_picture(sam, picture, monkeypatch):
    inside, leave = threading.Event(), threading.Event()
    kind = type(sam.image_encoder)
    forward = kind.forward

    def slow(self, x):
        inside.set()
        assert leave.wait(PATIENCE)
        return forward(self, x)

    monkeypatch.setattr(kind, "forward", slow)
    reader = threading.Thread(target=lambda: segment.embed(picture(90, 64)))
    reader.start()
    try:
        assert inside.wait(PATIENCE)
        assert runtime.forward(lambda: 42) == 42  # of another tab, on the processor
    finally:
        leave.set()
        reader.join(PATIENCE)


@pytest.mark.parametrize(("limit", "long"), [(1e9, False), (0.0, True)])
def test_only_a_slow_encoder_is_a_long_step(sam, picture, monkeypatch, limit, long):
    seen, forward = [], runtime.forward
    monkeypatch.setattr(
        runtime, "forward", lambda *a, **kw: seen.append(kw.get("long")) or forward(*a, **kw)
    )
    segment.embed(picture(90, 64))
    assert seen == [True], "how long it takes is not known yet"
    monkeypatch.setattr(models, "HEAVY", limit)
    segment.embed(picture(90, 64, seed=1))
    assert seen[1] is long


def test_store_too_small_for_an_embedding(sam, picture, settings, monkeypatch):
    """Each click then encodes again, and the masks are the same."""
    from core.serving import output_store

    monkeypatch.setattr(output_store, "value_bytes", lambda value: 10**12)
    image = picture(90, 64)
    settings()
    results = [segment.predict(image, [[40, 30, 1]]) for _ in range(2)]
    assert [r.info.cache["embedding"] for r in results] == ["miss", "miss"]
    np.testing.assert_array_equal(results[0].masks, results[1].masks)


def test_two_users_never_get_each_others_mask(sam, picture):
    """Pictures of other shapes and contents, clicked in turn from six threads."""
    users = [
        (picture(180, 240, seed=1), [[50, 200, 1]]),
        (picture(240, 160, seed=2), [[200, 50, 1]]),
        (picture(180, 240, seed=3), [[50, 200, 1]]),
    ] * 2
    expected = [ask(sam, image, points) for image, points in users]
    wrong, start = [], threading.Barrier(len(users))

    def work(user):
        image, points = users[user]
        start.wait()
        for _ in range(8):
            try:
                assert_same(segment.predict(image, points), expected[user])
            except Exception as error:
                wrong.append((user, error))

    together(work, len(users))
    assert not wrong
    assert np.any(expected[0][0] != expected[2][0])  # the test can tell the users apart


def test_two_users_click_refine_and_run_everything_side_by_side(sam, picture):
    """One predicts, one refines, one runs everything mode, on pictures of other sizes."""
    images = [picture(180, 240, seed=1), picture(64, 90, seed=2), picture(301, 77, seed=3)]
    clicks = [[[30, 40, 1], [90, 60, 0]], [[33, 44, 1], [20, 80, 1]], [[200, 50, 1], [9, 9, 0]]]

    def everything(image):
        return [mask.counts.tolist() for mask in segment.everything(image, points_per_side=4)[0]]

    def answers(user):
        image, points = images[user], clicks[user]
        return (
            segment.predict(image, points).masks.tobytes(),
            segment.predict(image, points, refine=1).masks.tobytes(),
            everything(image),
        )

    expected = [answers(user) for user in range(3)]
    assert len({answer[1] for answer in expected}) == 3
    wrong, start = [], threading.Barrier(6)

    def work(worker):
        user = worker % 3
        start.wait()
        for _ in range(3):
            if worker < 3:
                runtime.outputs().clear()  # as if the store were full
                runtime.decoded().clear()
            if answers(user) != expected[user]:
                wrong.append(user)

    together(work, 6)
    assert not wrong


def test_one_encoding_however_many_ask_at_once(sam, encodings, picture):
    image = picture(90, 64)
    start, found = threading.Barrier(12), []

    def work(worker):
        start.wait()
        if worker % 3 == 0:
            found.append(segment.embed(image.copy()))
        elif worker % 3 == 1:
            found.append(segment.predict(image.copy(), [[worker + 9, 20, 1]]).info)
        else:
            found.append(segment.everything(image.copy(), points_per_side=2)[1])

    together(work, 12)
    assert len(encodings) == 1
    assert sorted(info.cache["embedding"] for info in found) == ["hit"] * 11 + ["miss"]


def test_twenty_pictures_under_64_megabytes(shelf, settings, picture, monkeypatch):
    """Embeddings of 4.2 MB, the size of SAM ViT-B's: 84 MB in all, from three threads."""
    settings(VISION_HUB_STORE_MB="64")
    torch.manual_seed(0)
    config = {"img_size": 1024, "dim": 64, "trunk": "test_efficientnet"}
    shelf.starter("segment", own.build(**config).eval(), {"sam": config})
    passes, most = [], []

    def forward(self, x):  # as large as the real one's, and quicker
        passes.append(1)
        return F.avg_pool2d(x, 8).repeat(1, 22, 1, 1)[:, :64]

    monkeypatch.setattr(own.TrunkEncoder, "forward", forward)
    pictures = [picture(80, 60, seed=seed) for seed in range(20)]

    def used():
        kept = runtime.status()
        return kept["outputs"]["used_mb"] + kept["decoded"]["used_mb"]

    def embed(image):
        info = segment.embed(image)
        most.append(used())
        return info.cache["embedding"]

    first = segment.predict(pictures[0], [[40, 30, 1]])
    together(lambda worker: [embed(image) for image in pictures[worker::3]], 3)
    assert len(passes) == 20
    kept = runtime.outputs().stats()["values"]
    assert 10 < kept < 16
    runtime.decoded().clear()
    second = segment.predict(pictures[0], [[40, 30, 1]])  # it was evicted first
    assert second.info.cache["embedding"] == "miss"
    np.testing.assert_array_equal(second.masks, first.masks)
    again = [embed(image) for image in pictures[1:5]]
    assert len(passes) == 21 + again.count("miss") > 21
    assert 50 < max(most) <= 64


def test_many_clicks_push_no_embedding_out(sam, encodings, picture, settings):
    settings(VISION_HUB_STORE_MB="1")
    image = picture(90, 64)
    for x in range(60):
        segment.predict(image, [[x, 20, 1]])
        stats = runtime.decoded().stats()
        assert stats["used_mb"] <= 0.125
    assert stats["values"] < 60
    assert len(encodings) == 1


def together(work, count):
    """`work(0)` to `work(count - 1)`, each in a thread of its own; what one raises is raised."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))
