"""Our own ways to compute something are left where a machine lacks them, and answers stay right.

Each is broken here as other machines break it: the operation raises, is not there, or gives wrong
numbers. What comes out is compared with what the library gives, or what Pillow reads.
"""

from __future__ import annotations

import copy
import ctypes
import io
import subprocess
import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything.modeling.image_encoder import Attention
from torch import nn

from core.cpu import allocator, compute_threads, linear
from core.cpu.own_ways import OwnWay
from core.imaging import png
from core.nets import transforms
from core.sam import attention
from core.serving import precision, runtime

ROOT = Path(__file__).resolve().parent.parent
BREAKS = ["raises", "missing", "wrong"]


def refused(*_, **__):
    raise RuntimeError("could not create a primitive descriptor")


def _not_there():
    return torch.ops.mkldnn.an_operation_of_another_version()


# ---- the helper
def test_the_trial_runs_once_whoever_asks():
    runs = []
    way = OwnWay("a way", lambda: runs.append(1) or True)
    threads = [threading.Thread(target=way.works) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert way.works()
    assert runs == [1]


@pytest.mark.parametrize("trial", [refused, lambda: False, _not_there])
def test_a_way_that_fails_its_trial_is_never_taken(trial):
    assert OwnWay("a way", trial).run(lambda: "own", lambda: "usual") == "usual"


def test_a_way_that_fails_later_is_given_up_for_good():
    way, calls = OwnWay("a way", lambda: True), []

    def own():
        calls.append(1)
        raise RuntimeError("not for this shape")

    assert [way.run(own, lambda: "usual") for _ in range(3)] == ["usual"] * 3
    assert calls == [1]
    assert not way.works()


def test_where_the_usual_way_fails_too_nothing_is_given_up():
    """As when memory ends: the next request can be answered in the own way again."""
    way = OwnWay("a way", lambda: True)

    def no_room():
        raise MemoryError("out of memory")

    with pytest.raises(MemoryError):
        way.run(no_room, no_room)
    assert way.works()


# ---- linear layers
def broken_onednn(monkeypatch, how):
    usual = torch.ops.mkldnn
    found = {
        "raises": types.SimpleNamespace(_linear_pointwise=refused),
        "missing": types.SimpleNamespace(),
        "wrong": types.SimpleNamespace(
            _linear_pointwise=lambda x, w, b, *_: nn.functional.linear(x, w, b) + 1
        ),
    }[how]
    monkeypatch.setattr(torch.ops, "mkldnn", found)
    return usual


@pytest.mark.parametrize("how", BREAKS)
def test_a_network_answers_without_onednn_s_operation(how, monkeypatch, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512f sse\n")
    monkeypatch.setattr(linear, "_CPU_INFO", info)
    monkeypatch.setattr(linear, "LARGE", 0)
    monkeypatch.setattr(linear, "ONE_DNN", OwnWay("oneDNN", linear._trial))
    broken_onednn(monkeypatch, how)
    net = nn.Sequential(nn.Linear(48, 32), nn.Linear(32, 8)).requires_grad_(False)
    x = torch.randn(3, 48)
    with torch.inference_mode():
        wanted = net(x)
        linear.speed_up(net)
        assert torch.equal(net(x), wanted)


def test_a_layer_answers_where_its_operation_fails_later(monkeypatch):
    """The trial was right, and then a shape or a state of the machine is refused."""
    monkeypatch.setattr(linear, "ONE_DNN", OwnWay("oneDNN", lambda: True))
    usual = nn.Linear(48, 32).requires_grad_(False)
    fast = linear.OneDnnLinear(48, 32).requires_grad_(False)
    fast.load_state_dict(usual.state_dict())
    broken_onednn(monkeypatch, "raises")
    x = torch.randn(3, 48)
    with torch.inference_mode():
        assert torch.equal(fast(x), usual(x))


# ---- SAM's attention
@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("operation", ["_in_tiles", "_in_window", "get_rel_pos"])
def test_sam_s_attention_answers_without_its_operations(operation, how, monkeypatch):
    torch.manual_seed(0)
    size = (17, 17) if operation == "_in_tiles" else (5, 4)
    layer = Attention(16, num_heads=2, use_rel_pos=True, input_size=size).requires_grad_(False)
    nn.init.normal_(layer.rel_pos_h)
    nn.init.normal_(layer.rel_pos_w)
    x = torch.randn(1, *size, 16)
    right = getattr(attention, operation)
    net = nn.Sequential(copy.deepcopy(layer))
    monkeypatch.setattr(attention, "TILED", OwnWay("tiles", attention._trial))
    if how == "missing":
        monkeypatch.delattr(attention, operation)
    else:
        wrong = refused if how == "raises" else lambda *args: right(*args) * 2
        monkeypatch.setattr(attention, operation, wrong)
    with torch.inference_mode():
        attention.speed_up(net)
        found = net(x)
        monkeypatch.undo()
        assert torch.equal(found, layer(x))


def test_sam_is_built_where_the_library_names_its_layers_otherwise(monkeypatch):
    from core.sam import models

    encoder = nn.Sequential(nn.Linear(2, 2))
    monkeypatch.delitem(sys.modules, "core.sam.attention")
    monkeypatch.delattr("core.sam.attention")
    monkeypatch.delattr("segment_anything.modeling.image_encoder.get_rel_pos")
    models._speed_up(encoder)
    assert type(encoder[0]) is nn.Linear


def test_trials_leave_the_random_numbers_alone():
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    assert attention._trial()
    assert linear._trial() or not torch.backends.mkldnn.is_available()
    assert torch.equal(torch.rand(4), wanted)


# ---- resizing
@pytest.mark.parametrize("how", BREAKS)
@pytest.mark.parametrize("mode", transforms.MODES)
def test_pictures_are_resized_without_pytorch_s_resize(mode, how, monkeypatch, picture):
    monkeypatch.setattr(transforms, "OF_BYTES", OwnWay("resize", transforms._trial))
    if how == "missing":
        monkeypatch.delattr(nn.functional, "interpolate")
    else:
        right = nn.functional.interpolate
        wrong = (
            refused if how == "raises" else lambda *args, **options: right(*args, **options) // 2
        )
        monkeypatch.setattr(nn.functional, "interpolate", wrong)
    rgb = picture(60, 44)
    wanted = np.asarray(Image.fromarray(rgb).resize((31, 17), Image.Resampling[mode.upper()]))
    found = transforms._resized(rgb, 17, 31, mode)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(found, wanted)
    assert not transforms.OF_BYTES.works()


# ---- PNG files
class _WrongPacker:
    def compress(self, content):
        return b"\x00" * 10

    def flush(self):
        return b""


@pytest.mark.parametrize("how", [*BREAKS, "no package"])
def test_png_files_are_right_without_isal(how, monkeypatch, picture):
    from isal import isal_zlib

    monkeypatch.setattr(png, "ISAL", OwnWay("ISA-L", png._trial))
    if how == "no package":
        monkeypatch.setitem(sys.modules, "isal", None)
    elif how == "missing":
        monkeypatch.delattr(isal_zlib, "compressobj")
    else:
        made = refused if how == "raises" else lambda *_: _WrongPacker()
        monkeypatch.setattr(isal_zlib, "compressobj", made)
    rgb = picture(37, 29)
    with Image.open(io.BytesIO(png.encode(rgb))) as read:
        assert np.array_equal(np.asarray(read), rgb)
    assert not png.ISAL.works()


# ---- memory, threads, precision
class _Libc:
    """A C library with these functions and no others."""

    def __init__(self, **functions):
        self.__dict__.update(functions)


@pytest.mark.parametrize(
    "libc", [None, _Libc(), _Libc(mallopt=lambda *_: 0), _Libc(mallopt=refused)]
)
def test_the_allocator_does_nothing_where_it_cannot(libc, monkeypatch):
    for name in allocator._CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator, "_glibc", lambda: libc)
    assert allocator.tune() is False
    allocator.trim()


def test_without_a_c_library_that_loads_there_is_none(monkeypatch):
    def no_library(_):
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert allocator._glibc.__wrapped__() is None


def test_a_pass_runs_where_the_system_gives_no_more_threads(monkeypatch):
    monkeypatch.setattr(compute_threads, "_threads", 2)
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert runtime.forward(threading.get_ident) == threading.get_ident()


def test_a_pytorch_that_cannot_tell_about_the_processor_computes_in_fp32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision.is_supported(torch.device("cpu")) is False


# ---- the server's parser and loop
HTTP_SCRIPT = """
import sys
name, how = sys.argv[1:]
if how == "no package":
    sys.modules[name] = None
else:
    import httptools, uvloop
    def refused(*_, **__):
        raise RuntimeError("not on this machine")
    httptools.HttpRequestParser = uvloop.new_event_loop = refused
import urllib.request, app
with app.served_page() as page:
    print("SERVES", page.server.config.http_protocol_class.__name__, end=" ")
    print(page.server.config.get_loop_factory().__module__, end=" ")
    print(urllib.request.urlopen(str(page.local_url) + "healthz").status)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how", "protocol"),
    [
        ("httptools", "no package", "H11Protocol"),
        ("uvloop", "no package", "BoundedProtocol"),
        ("both", "raises", "H11Protocol"),
    ],
)
def test_the_hub_serves_without_them(name, how, protocol):
    done = subprocess.run(
        [sys.executable, "-c", HTTP_SCRIPT, name, how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, loop, status = done.stdout.partition("SERVES")[2].split()[:3]
    assert (found, status) == (protocol, "200")
    if name != "httptools":
        assert "uvloop" not in loop
