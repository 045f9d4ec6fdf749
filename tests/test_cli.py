"""The command line: JSON out, pictures to files, one sentence for bad input; and the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import classify, restore
from vision_hub import cli

ROOT = Path(__file__).resolve().parent.parent
CAT, COINS, SMALL = (ROOT / "examples" / n for n in ("chelsea.jpg", "coins.jpg", "small.png"))


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    assert cli.main([str(a) for a in arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_classify_answers_as_core_does(capsys):
    found = run(capsys, "classify", CAT, "--top-k", 3, "--temperature", 2)
    truth = classify.predict(CAT, top_k=3, temperature=2)
    assert [row["label"] for row in found["confidences"]] == list(truth.labels)
    assert [row["confidence"] for row in found["confidences"]] == truth.scores.tolist()
    assert found["info"]["tier"] == "starter"


def test_detect_writes_the_boxes_that_it_lists(capsys, tmp_path):
    drawn = tmp_path / "boxes.jpg"
    found = run(
        capsys, "detect", ROOT / "examples/astronaut.jpg", "--threshold", 0.3, "--output", drawn
    )
    assert found["image_size"] == list(Image.open(drawn).size)
    assert all(row["score"] >= 0.3 for row in found["detections"])


def test_segment_reads_points_and_boxes(capsys, tmp_path):
    from pycocotools import mask as coco

    found = run(
        capsys, "segment", CAT, "--point", "200,150", "--point", "5,5,0", "--box", "50,20,400,280"
    )
    best = found["masks"][0]
    assert coco.decode(best["rle"]).sum() == best["area"] > 0


def test_restored_picture_is_the_one_of_core(capsys, tmp_path):
    larger = tmp_path / "larger.png"
    found = run(capsys, "super-resolve", SMALL, "--scale", 2, "--output", larger)
    assert found["picture"] == str(larger)
    truth = restore.super_resolve(SMALL, scale=2).image
    assert np.array_equal(np.asarray(Image.open(larger)), truth)


def test_pictures_have_a_name_when_none_is_given(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "reconstruct", CAT)["picture"] == "chelsea-reconstructed.png"
    assert run(capsys, "denoise", SMALL, "--sigma", 10)["sigma"] == 10
    run(capsys, "deblur", SMALL)
    assert {p.name for p in tmp_path.iterdir()} == {
        "chelsea-reconstructed.png",
        "small-denoised.png",
        "small-deblurred.png",
    }


def test_checkpoints_lists_every_task(capsys):
    rows = run(capsys, "checkpoints")
    assert {row["task"] for row in rows} >= {"classify", "detect", "segment", "reconstruct"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("classify", "missing.jpg"), "missing.jpg"),
        (("classify", CAT, "--checkpoint", "nothing"), "There is no checkpoint called nothing"),
        (("classify", CAT, "--output", "x.png"), "--output"),
        (("segment", CAT), "."),
        (("deblur", SMALL, "--output", "x.bmp"), "must end in .png or .jpg"),
        (("deblur", SMALL, "--output", "/no/such/folder/x.png"), "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(capsys, arguments, sentence):
    assert cli.main([str(a) for a in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err and printed.err.strip().endswith(".")
    assert len(printed.err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("segment", CAT, "--point", "a,b")])
def test_wrong_options_end_with_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(a) for a in arguments])
    assert ended.value.code == 2
    assert "usage: vision-hub" in capsys.readouterr().err


@pytest.mark.slow
def test_wheel_holds_what_the_hub_needs(tmp_path):
    """Installed from the wheel, weights, examples, scripts and styles lie where `core` looks."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    copy = tmp_path / "copy"
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
            *("--quiet", "--wheel-dir", str(tmp_path), str(copy)),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
        entry = next(n for n in names if n.endswith("entry_points.txt"))
        assert "vision-hub = vision_hub.cli:main" in archive.read(entry).decode()
    parts = ("core/", "demos/", "weights/", "examples/", "vision_hub/")
    ours = {n for n in tracked.stdout.split("\0") if n.startswith(parts) and (ROOT / n).is_file()}
    assert {"app.py", *ours} <= names
    code = (
        "from core import checkpoints; from core.sources import resolver; import json\n"
        "rows = [c for c in checkpoints.CATALOGUE if c.tier == 'starter']\n"
        "print(json.dumps([str(checkpoints.ROOT), [resolver.is_ready(c) for c in rows]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    root, there = json.loads(done.stdout)
    assert Path(root) == tmp_path / "site"
    assert there and all(there)
