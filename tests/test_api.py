"""Every public endpoint through gradio_client: names, defaults and documented shapes."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from core.imaging import coco
from demos import discover, lessons_of
from tests.conftest import PATIENCE
from tests.live import EXAMPLES, client_of, hub

pytestmark = pytest.mark.slow
INFO = {"checkpoint", "tier", "device", "precision", "seconds", "cache", "trained_on", "metric"}
PHOTO = EXAMPLES / "chelsea.jpg"
PORTRAIT = EXAMPLES / "hopper.jpg"  # holds a thing that the detect starter knows


@pytest.fixture(scope="module")
def url():
    with hub() as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    return client_of(url)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A photograph of 96 x 64 pixels, so that restoring it is quick."""
    path = tmp_path_factory.mktemp("pictures") / "small.png"
    Image.open(PHOTO).convert("RGB").resize((96, 64)).save(path)
    return path


def check_info(info, task_tier="starter"):
    assert set(info) >= INFO
    assert info["tier"] == task_tier
    assert info["trained_on"], "it says what it was trained on"
    assert info["metric"], "it says its score"


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_the_documented_endpoints_exist_and_no_other_is_public(client):
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    lessons = [one.endpoint for tab in discover() for one in lessons_of(tab.key)]
    assert names == {
        "/classify", "/detect", "/segment", "/segment_everything", "/segment_semantic",
        "/reconstruct", "/denoise", "/super_resolve", "/deblur", "/checkpoints", "/status",
        *(f"/{endpoint.name}" for endpoint in lessons if endpoint),
    }  # fmt: skip


def test_the_page_documents_every_parameter(client):
    for name, endpoint in client.view_api(return_format="dict")["named_endpoints"].items():
        for parameter in endpoint["parameters"]:
            said, example = parameter["python_type"]["description"], parameter["example_input"]
            assert said.endswith("."), (name, parameter["parameter_name"])
            assert "http" not in json.dumps(example), "an example must not need the network"
            assert example not in ("Hello!!", {"foo": "bar"}), (name, "Gradio's own filler")


def test_classify_with_only_a_picture(client):
    label, info = client.predict(handle_file(PHOTO), api_name="/classify")
    assert len(label["confidences"]) == 5
    assert label["label"] == label["confidences"][0]["label"]
    scores = [c["confidence"] for c in label["confidences"]]
    assert scores == sorted(scores, reverse=True)
    check_info(info, "starter")


def test_temperature_flattens_without_a_forward_pass(client):
    plain, _ = client.predict(handle_file(PHOTO), api_name="/classify")
    flat, info = client.predict(handle_file(PHOTO), temperature=10, api_name="/classify")
    assert flat["confidences"][0]["confidence"] < plain["confidences"][0]["confidence"]
    assert info["cache"]["output"] == "hit"
    assert "forward" not in info["seconds"]


def test_detect_with_only_a_picture(client):
    picture, found, info = client.predict(handle_file(PHOTO), api_name="/detect")
    assert found["image_size"] == list(size_of(PHOTO)) == list(size_of(picture))
    assert isinstance(found["detections"], list)
    check_info(info)


def test_a_lower_threshold_finds_more_without_a_forward_pass(client):
    _, strict, _ = client.predict(handle_file(PORTRAIT), threshold=0.9, api_name="/detect")
    _, loose, info = client.predict(handle_file(PORTRAIT), threshold=0.01, api_name="/detect")
    assert len(loose["detections"]) > len(strict["detections"])
    first = loose["detections"][0]
    assert set(first) == {"label", "score", "box"} and len(first["box"]) == 4
    assert info["cache"]["output"] == "hit"


def test_segment_with_one_point(client):
    width, height = size_of(PHOTO)
    point = [width / 2, height / 2, 1]
    overlay, found, info = client.predict(handle_file(PHOTO), points=[point], api_name="/segment")
    assert size_of(overlay) == (width, height)
    assert found["image_size"] == [width, height]
    assert len(found["masks"]) == 3
    for mask in found["masks"]:
        pixels = coco.decode(mask["rle"])
        assert pixels.shape == (height, width)
        assert int(pixels.sum()) == mask["area"]
    check_info(info)
    _, _, again = client.predict(
        handle_file(PHOTO), points=[[10, 10, 1]], box=[5, 5, 60, 60], api_name="/segment"
    )
    assert again["cache"]["embedding"] == "hit" and "encode" not in again["seconds"]


def test_segment_everything(client, small):
    overlay, found, info = client.predict(
        handle_file(small), points_per_side=4, api_name="/segment_everything"
    )
    assert size_of(overlay) == (96, 64)
    assert all(coco.decode(m["rle"]).shape == (64, 96) for m in found["masks"])
    check_info(info)


def test_reconstruct_with_only_a_picture(client):
    *pictures, info = client.predict(handle_file(PHOTO), api_name="/reconstruct")
    assert len(pictures) == 3
    width, height = size_of(PHOTO)
    for path in pictures:
        got = size_of(path)
        assert abs(got[0] / got[1] - width / height) < 0.02
    check_info(info)


@pytest.mark.parametrize(
    ("name", "factor"), [("/denoise", 1), ("/super_resolve", 2), ("/deblur", 1)]
)
def test_restore_with_only_a_picture(client, small, name, factor):
    restored, info = client.predict(handle_file(small), api_name=name)
    assert size_of(restored) == (96 * factor, 64 * factor)
    with Image.open(restored) as image:
        assert image.format == "PNG"  # lossless
    check_info(info)


def test_super_resolve_by_four(client, small):
    restored, _ = client.predict(handle_file(small), scale=4, api_name="/super_resolve")
    assert size_of(restored) == (384, 256)


def test_restored_bytes_are_the_computed_ones(client, small):
    from core import restore

    path, _ = client.predict(handle_file(small), sigma=20, api_name="/denoise")
    expected = restore.denoise(small, sigma=20).image
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), expected)


def test_checkpoints_and_status(client, url):
    rows = client.predict(api_name="/checkpoints")
    keys = {"key", "task", "tier", "available", "size_mb", "licence", "params"}
    assert all(keys <= set(row) for row in rows)
    tasks = {row["task"] for row in rows if row["tier"] == "starter" and row["available"]}
    assert len(tasks) == 8
    meter = client.predict(api_name="/status")
    assert meter["used_mb"] <= meter["budget_mb"]
    with urllib.request.urlopen(f"{url}status", timeout=PATIENCE) as response:
        assert json.load(response)["budget_mb"] == meter["budget_mb"]
    with urllib.request.urlopen(f"{url}healthz", timeout=PATIENCE) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("call", "word"),
    [
        ({"api_name": "/classify", "checkpoint": "nothing"}, "checkpoint"),
        ({"api_name": "/classify", "temperature": 0}, "temperature"),
        ({"api_name": "/classify", "top_k": 0}, "class"),
        ({"api_name": "/detect", "threshold": 2}, "threshold"),
        ({"api_name": "/reconstruct", "mask_ratio": 1}, "ratio"),
        ({"api_name": "/segment", "points": []}, "point"),
        ({"api_name": "/segment", "points": [[1e6, 5, 1]]}, "outside"),
        ({"api_name": "/segment", "points": [["a", 5, 1]]}, "point"),
        ({"api_name": "/segment", "points": "none"}, "point"),
        ({"api_name": "/segment", "points": [[5, 5, 1]], "box": [1, 2]}, "box"),
        ({"api_name": "/denoise", "sigma": -3}, "sigma"),
        ({"api_name": "/super_resolve", "scale": 7}, "scale"),
        ({"api_name": "/segment", "points": [[5, 5, 0]]}, "nothing is included"),
        ({"api_name": "/segment", "points": [[5, 5, 2]]}, "finite"),
        ({"api_name": "/segment_everything", "points_per_side": 1000}, "points"),
        ({"api_name": "/segment_everything", "points_per_side": 4.7}, "whole number"),
    ],
)
def test_bad_parameters_get_one_sentence_and_the_next_request_works(client, small, call, word):
    with pytest.raises(AppError) as caught:
        client.predict(handle_file(small), **call)
    message = str(caught.value)
    assert word in message.lower() and "Traceback" not in message and message.count("\n") == 0
    label, _ = client.predict(handle_file(small), api_name="/classify")
    assert label["label"]


def test_a_file_that_is_no_picture_gets_a_sentence(client, tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("not a picture")
    with pytest.raises(AppError, match="picture"):
        client.predict(handle_file(path), api_name="/classify")


def test_no_picture_gets_a_sentence(client):
    with pytest.raises(AppError, match="picture"):
        client.predict(None, api_name="/classify")


def test_a_server_path_is_not_opened(url):
    """A hand-made request that names a file of the server is refused."""
    body = json.dumps({"data": [{"path": str(PHOTO)}, "auto", 5, 1]}).encode()
    request = urllib.request.Request(
        f"{url}gradio_api/call/classify", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            event = json.load(response)["event_id"]
        with urllib.request.urlopen(
            f"{url}gradio_api/call/classify/{event}", timeout=PATIENCE
        ) as stream:
            answer = stream.read().decode()
    except urllib.error.HTTPError as error:
        answer = f"event: error {error.code}"
    assert "event: error" in answer
    assert "confidences" not in answer


def test_two_users_never_get_each_others_masks(url):
    """Interleaved clicks on pictures of different sizes, each answer in its own size."""
    from concurrent.futures import ThreadPoolExecutor

    def user(name, size):
        path = EXAMPLES / name
        width, height = size_of(path)
        one = client_of(url)
        sizes = set()
        for i in range(4):
            point = [width * (i + 1) / 6, height / 2, 1]
            _, found, _ = one.predict(handle_file(path), points=[point], api_name="/segment")
            sizes.add(tuple(found["masks"][0]["rle"]["size"]))
        return sizes == {(height, width)}

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(user, ("chelsea.jpg", "astronaut.jpg"), (0, 1)))
    assert results == [True, True]
