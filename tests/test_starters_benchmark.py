"""The table of `benchmarks.starters`: what counts as reached, and what is told of missing data."""

from __future__ import annotations

import math

import pytest

from benchmarks import starters
from benchmarks.starters import Row


def test_a_row_is_met_by_its_goal_and_by_every_classical_method():
    assert Row("x", "dB", 31.1, 31.1).met
    assert not Row("x", "dB", 31.09, 31.1).met
    assert Row("x", "dB", 31.1, 31.1, classical={"BM3D": 31.0}).met
    assert not Row("x", "dB", 31.2, 31.1, classical={"BM3D": 31.2, "mean": 20}).met
    assert Row("x", "s", 0.9, 1, at_most=True).met
    assert not Row("x", "s", 1.1, 1, at_most=True).met
    assert not Row("x", "not measured", math.nan, 0).met
    with pytest.raises(ValueError, match="less is better"):
        Row("x", "s", 1, 1, at_most=True, classical={"other": 2})


@pytest.mark.parametrize(("value", "code"), [(3.0, 0), (1.0, 1)])
def test_the_exit_code_tells_whether_all_is_reached(monkeypatch, capsys, value, code):
    rows = {"denoise": lambda _: iter([Row("denoise", "gain", value, 2.0, "dB")])}
    monkeypatch.setattr(starters, "sections", lambda: rows)
    assert starters.main([]) == code
    told = capsys.readouterr().out
    assert f"{value:g} dB" in told and f"{1 - code} of 1 rows reached" in told


def test_without_data_every_section_says_what_is_missing(tmp_path, capsys):
    asked = ["denoise", "super_resolve", "deblur", "reconstruct", "detect"]
    asked += ["segment", "semantic"]
    pytest.importorskip("bm3d", reason="the packages of requirements-bench.txt are not installed")
    code = starters.main(["--data", str(tmp_path), "--benchmarks", str(tmp_path), "--only", *asked])
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert code == 1
    for name in asked:
        rows = [line for line in table[2:] if line.startswith(f"| {name} ")]
        assert len(rows) == 1 and "not measured: " in rows[0] and "SHORT" in rows[0], name
    assert not any("Traceback" in line for line in table)
