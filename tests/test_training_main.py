"""The command lines of the recipes: what they ask for, what they leave out, where they write."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.sources import checksums
from training import classify, common

RECIPES = (
    *("denoise", "super_resolve", "deblur", "classify", "reconstruct"),
    *("detect", "segment", "semantic", "lenet"),
)
SHIPPED = Path(__file__).resolve().parent.parent / "weights"


def run(monkeypatch, recipe, *arguments):
    module = importlib.import_module(f"training.{recipe}")
    monkeypatch.setattr(sys, "argv", [recipe, *map(str, arguments)])
    threads = module.torch.get_num_threads()
    try:
        module.main()
    finally:
        module.torch.set_num_threads(threads)


def photograph(path, seed, size=(150, 140)):
    path.parent.mkdir(parents=True, exist_ok=True)
    tiny = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(tiny).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def data(tmp_path):
    """Photographs of which one is a benchmark picture, one is too small, and one is BSDS500's."""
    for seed in range(3):
        photograph(tmp_path / "data" / "wallpapers" / f"{seed}.png", seed)
    photograph(tmp_path / "data" / "wallpapers" / "small.png", 3, (60, 150))
    photograph(tmp_path / "data" / "bsds500" / "images" / "train" / "4.jpg", 4)
    photograph(tmp_path / "data" / "bsds500" / "images" / "val" / "5.jpg", 5)
    photograph(tmp_path / "benchmarks" / "set5" / "0.png", 0, (150, 140))
    return tmp_path / "data"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_asks_for_its_pictures(monkeypatch, capsys, recipe):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, recipe, "--steps", 1)
    assert stopped.value.code == 2
    assert "--data is needed" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_folder_without_pictures_gets_a_sentence(monkeypatch, tmp_path, recipe):
    with pytest.raises(SystemExit, match=r"see training/DATA\.md"):
        run(monkeypatch, recipe, "--data", tmp_path, "--steps", 1, "--runs", tmp_path / "runs")


@pytest.mark.parametrize("recipe", ["denoise", "super_resolve", "deblur"])
def test_measuring_asks_for_the_benchmarks(monkeypatch, capsys, recipe):
    with pytest.raises(SystemExit):
        run(monkeypatch, recipe, "--evaluate")
    assert "--benchmarks is needed" in capsys.readouterr().err


def test_a_trained_starter_lies_among_the_runs(monkeypatch, caplog, data, tmp_path):
    before = (SHIPPED / "denoise-starter.safetensors").stat().st_mtime_ns
    caplog.set_level("INFO")
    common_options = ("--data", data, "--runs", tmp_path / "runs", "--steps", 1)
    run(monkeypatch, "denoise", *common_options, "--benchmarks", tmp_path / "benchmarks")
    assert "1 of 4 pictures are benchmarks: left out" in caplog.text
    made = tmp_path / "runs" / "denoise-starter.safetensors"
    assert made.stat().st_size > 1_000_000
    assert f"VISION_HUB_CHECKPOINTS={made}" in caplog.text
    assert (SHIPPED / "denoise-starter.safetensors").stat().st_mtime_ns == before


def test_without_benchmarks_the_missing_check_is_said(monkeypatch, caplog, data, tmp_path):
    options = ("--data", data, "--runs", tmp_path / "runs", "--steps", 1, "--scale", 4)
    run(monkeypatch, "super_resolve", *options)
    assert "not compared with benchmarks" in caplog.text
    assert (tmp_path / "runs" / "super-resolve-x4-starter.safetensors").is_file()


def test_a_shipped_starter_gets_its_sum(monkeypatch, data, tmp_path):
    shelf = tmp_path / "weights"
    shelf.mkdir()
    other = (SHIPPED / "SHA256SUMS").read_text("utf-8")
    (shelf / "SHA256SUMS").write_text(other, "utf-8")
    monkeypatch.setattr(common, "WEIGHTS", shelf)
    options = ("--data", data, "--runs", tmp_path / "runs", "--steps", 1, "--ship")
    run(monkeypatch, "deblur", *options)
    assert checksums.is_as_shipped(shelf / "deblur-starter.safetensors")
    after = dict(line.split()[::-1] for line in (shelf / "SHA256SUMS").read_text().splitlines())
    before = dict(line.split()[::-1] for line in other.splitlines())
    assert [k for k in before if before[k] != after[k]] == ["deblur-starter.safetensors"]


def test_classify_keeps_what_it_trained_where_it_cannot_measure(
    monkeypatch, caplog, data, tmp_path
):
    monkeypatch.setattr(classify, "Config", partial(classify.Config, views=2, batch=2))
    run(monkeypatch, "classify", "--data", data, "--runs", tmp_path / "runs", "--steps", 1)
    assert (tmp_path / "runs" / "classify-starter.safetensors").is_file()
    assert "not measured: No pictures in" in caplog.text
