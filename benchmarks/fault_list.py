"""The ways in which `benchmarks.faults` breaks the app, each undone when its `with` block ends."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from benchmarks.startup import ROOT

ANSWERED = "(answered as usual)"
Inject = Callable[[Path], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break the app.

    `inject` breaks it and gets its own folder for files; the visitor's answer must match `says`;
    `endpoint` and `checkpoint` are the visitor's request. `alike` lists other tabs that the fault
    affects too.
    """

    name: str
    inject: Inject
    says: str
    endpoint: str = "/classify"
    checkpoint: str = ""  # "": as in `faults.ENDPOINTS`
    alike: tuple[str, ...] = ()


@contextmanager
def _failing_model(error: BaseException, times: int = 10**6) -> Iterator[None]:
    """Classify's model raises `error`, `times` times."""
    left = [times]

    def before(*_: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise error

    with _hook("register_forward_pre_hook", before):
        yield


@contextmanager
def _not_a_number(_: Path) -> Iterator[None]:
    with _hook("register_forward_hook", lambda module, inputs, output: output * float("nan")):
        yield


@contextmanager
def _hook(kind: str, hook: Callable[..., Any]) -> Iterator[None]:
    from core.serving import runtime

    entries = runtime.models()._entries.values()
    model = next(e for e in entries if e.resolved.checkpoint.key == "classify-starter")
    handle = getattr(model.built.module, kind)(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _lost_gpu(_: Path) -> Iterator[None]:
    from core.serving import runtime

    text = "CUDA error: device-side assert triggered"
    with _failing_model(RuntimeError(text), times=1):
        yield
    assert runtime.status()["device_lost"]


def _errors(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number), "/tmp/somewhere")

    return fail


def _unwritable(number: int) -> Inject:
    """Results cannot be written: a full disk, or a read-only folder."""
    real, fail = Path.open, _errors(number)

    def open_(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        return fail() if "w" in mode else real(self, mode, *args, **options)

    return lambda _: mock.patch.object(Path, "open", open_)


def _no_folder(_: Path) -> AbstractContextManager[Any]:
    real = Path.mkdir

    def mkdir(self: Path, *args: Any, **options: Any) -> None:
        if self.parent.name == "results":
            _errors(errno.EROFS)()
        real(self, *args, **options)

    return mock.patch.object(Path, "mkdir", mkdir)


def _no_memory_to_decode(_: Path) -> AbstractContextManager[Any]:
    from core.imaging.colour import conversion

    real = conversion.to_rgb
    failed: list[bool] = []

    def to_rgb(*args: Any) -> Any:
        if not failed:
            failed.append(True)
            raise MemoryError
        return real(*args)

    return mock.patch.object(conversion, "to_rgb", to_rgb)


@contextmanager
def _no_room_to_decode(_: Path) -> Iterator[None]:
    """Others' large pictures use up the budget; with this budget, every picture counts as large."""
    from core.imaging.decoding import budget

    taken = budget.Budget(limit=1, small=0, patience=0.1)
    with mock.patch.object(budget, "_budget", taken), taken.room(1):
        yield


def _starter(change: Callable[[Path], object]) -> Inject:
    """Classify's starter file is changed on disk."""

    @contextmanager
    def inject(folder: Path) -> Iterator[None]:
        from core.sources import resolver

        shutil.copytree(ROOT / "weights", folder / "weights")
        change(folder / "weights" / "classify-starter.safetensors")
        with mock.patch.object(resolver, "ROOT", folder):
            yield

    return inject


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite(path: Path) -> None:
    path.write_bytes(b"<html>404 not found</html>")


@contextmanager
def _own(folder: Path, content: bytes) -> Iterator[None]:
    """The owner's checkpoint folder contains a damaged file."""
    (folder / "mine.safetensors").write_bytes(content)
    with changed_settings(VISION_HUB_CHECKPOINTS=str(folder)):
        yield


@contextmanager
def changed_settings(**variables: str) -> Iterator[None]:
    """The settings with other environment variables."""
    from core.settings import get_settings

    with mock.patch.dict(os.environ, variables):
        get_settings.cache_clear()
        try:
            yield
        finally:
            get_settings.cache_clear()
    get_settings.cache_clear()


@contextmanager
def _silent_hub(folder: Path) -> Iterator[None]:
    """A Hugging Face mirror that accepts connections and sends nothing."""
    from core.sources import hf_client

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with changed_settings(
            HF_ENDPOINT=address,
            VISION_HUB_OFFLINE="0",
            HF_HUB_CACHE=str(folder),
            VISION_HUB_PROBE_SECONDS="2",
        ):
            hf_client.forget_probe()
            yield
            hf_client.forget_probe()


# Where the app is served, for faults that come over the network.
address: ContextVar[str] = ContextVar("address")
MEGABYTE = 2**20


def _connections(count: int, content: bytes, keep: bool) -> Inject:
    """`count` clients send `content`; then they send nothing more, or disconnect."""

    @contextmanager
    def inject(_: Path) -> Iterator[None]:
        host, port = urlsplit(address.get()).hostname, urlsplit(address.get()).port
        with ExitStack() as kept:
            for _number in range(count):
                connection = socket.create_connection((host or "", port or 80), 30)
                kept.enter_context(connection)
                with suppress(OSError):  # refused early, as it should be
                    connection.sendall(content)
                if not keep:
                    connection.close()
            yield

    return inject


def _request(path: str, said: int, content: bytes) -> bytes:
    """The start of a request that declares a body of `said` bytes."""
    kind = "multipart/form-data; boundary=x" if path.endswith("upload") else "application/json"
    head = f"POST {path} HTTP/1.1\r\nHost: hub\r\nContent-Type: {kind}\r\nContent-Length: {said}"
    return head.encode() + b"\r\n\r\n" + content


_FORM = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


def _model(error: BaseException, times: int = 10**6) -> Inject:
    return lambda _: _failing_model(error, times)


# Endpoints that write result files; Classify writes none.
WRITERS = ("/detect", "/segment", "/reconstruct", "/denoise", "/super_resolve", "/deblur")
DAMAGED = "damaged|not a safetensors"
FAULTS = (
    Fault("the device runs out of memory once", _model(MemoryError(), 1), re.escape(ANSWERED)),
    Fault("the device runs out of memory at every try", _model(MemoryError()), "too little memory"),
    Fault(
        "GPU out of memory",
        _model(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")),
        "too little memory",
    ),
    Fault("CUDA device-side assert", _lost_gpu, "graphics card failed"),
    Fault("the model returns NaN", _not_a_number, "not numbers"),
    Fault("a library raises an unexpected error", _model(KeyError("x")), "Something went wrong"),
    Fault("no memory for decoding the picture", _no_memory_to_decode, "not enough memory"),
    Fault(
        "others' large pictures use up the memory",
        _no_room_to_decode,
        "other large pictures",
        alike=WRITERS,
    ),
    Fault("a bit of the weight file is flipped", _starter(_flip), DAMAGED),
    Fault("the weight file is truncated", _starter(_truncate), DAMAGED),
    Fault("the weight file is not a weight file", _starter(_overwrite), DAMAGED),
    Fault("the weight file is missing", _starter(Path.unlink), "is ready|not there"),
    Fault(
        "the owner's checkpoint is damaged",
        lambda folder: _own(folder, b"\x10" + b"\0" * 7 + b"{broken header!}"),
        r"mine\.safetensors is damaged",
        checkpoint="own:mine.safetensors",
    ),
    Fault(
        "the disk is full when a result is written",
        _unwritable(errno.ENOSPC),
        "full",
        "/denoise",
        alike=WRITERS,
    ),
    Fault("the results folder is read-only", _no_folder, "read-only", "/denoise", alike=WRITERS),
    Fault(
        "Hugging Face does not answer",
        _silent_hub,
        re.escape("did not answer. EfficientNet-Lite0 + ViT answered"),
        checkpoint="vit-base",
    ),
    Fault(
        "eighty requests of 34 MB never end",
        _connections(
            80, _request("/gradio_api/queue/join", 34 * MEGABYTE, b" " * MEGABYTE), keep=True
        ),
        re.escape(ANSWERED),
    ),
    Fault(
        "forty uploads are cut off",
        _connections(
            40, _request("/gradio_api/upload", MEGABYTE, _FORM + b"x" * 500_000), keep=False
        ),
        re.escape(ANSWERED),
    ),
    Fault(
        "two hundred requests have endless headers",
        _connections(200, b"GET / HTTP/1.1\r\nX-A: ", keep=True),
        re.escape(ANSWERED),
    ),
)
