"""Break the hub in every way we could think of, and see what a visitor reads and what still works.

    python -m benchmarks.faults [--write]

Each fault is injected into the real app, served on this machine. A visitor of one tab meets it;
another tab is asked meanwhile, and the first again once the fault is gone. Both must answer as they
did before. `--write` puts the table into docs/reliability.md. Exits with 1 where a fault is not
met.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
ANSWERED = "(answered as if nothing had happened)"
Inject = Callable[[Path], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break the hub.

    `inject` breaks it, with a folder of its own to write into; `says` is what the visitor's answer
    must match; `call` is who meets it: an endpoint and its parameters.
    """

    name: str
    inject: Inject
    says: str
    endpoint: str = "/classify"
    checkpoint: str = "auto"


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one fault."""

    fault: Fault
    said: str
    next_right: bool
    others_right: bool

    @property
    def met(self) -> bool:
        """Whether a clear sentence, the next request and the other tabs were as they should be."""
        clear = re.search(self.fault.says, self.said) is not None and is_clear(self.said)
        return clear and self.next_right and self.others_right


def is_clear(sentence: str) -> bool:
    """One line that ends like a sentence and shows no path, class or traceback."""
    leaks = ("Traceback", "Error:", "Exception", "/tmp", "/home", "/root", str(ROOT), "0x")
    one_line = "\n" not in sentence.strip() and sentence.rstrip().endswith((".", "…", ")"))
    return one_line and not any(leak in sentence for leak in leaks)


# --- ways to break it ---


@contextmanager
def _failing_model(error: BaseException, times: int = 10**6) -> Iterator[None]:
    """The model of Classify raises `error`, so many times."""
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
    from core import runtime

    entries = runtime.models()._entries.values()
    model = next(e for e in entries if e.resolved.checkpoint.key == "classify-starter")
    handle = getattr(model.built.module, kind)(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _lost_gpu(_: Path) -> Iterator[None]:
    from core import runtime

    text = "CUDA error: device-side assert triggered"
    with _failing_model(RuntimeError(text), times=1):
        yield
    assert runtime.status()["device_lost"]


def _errors(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number), "/tmp/somewhere")

    return fail


def _unwritable(number: int) -> Inject:
    """Results cannot be written: a full disk, a folder that is read-only."""
    return lambda _: mock.patch.object(Path, "write_bytes", _errors(number))


def _no_folder(_: Path) -> AbstractContextManager[Any]:
    real = Path.mkdir

    def mkdir(self: Path, *args: Any, **options: Any) -> None:
        if self.parent.name == "results":
            _errors(errno.EROFS)()
        real(self, *args, **options)

    return mock.patch.object(Path, "mkdir", mkdir)


def _no_memory_to_decode(_: Path) -> AbstractContextManager[Any]:
    from core import decoding

    real = decoding.load
    failed: list[bool] = []

    def load(image: Any) -> Any:
        if not failed:
            failed.append(True)
            raise MemoryError
        return real(image)

    return mock.patch.object(decoding, "load", load)


def _starter(change: Callable[[Path], object]) -> Inject:
    """The weight file of Classify's starter is changed on the disk."""

    @contextmanager
    def inject(folder: Path) -> Iterator[None]:
        from core import weights

        shutil.copytree(ROOT / "weights", folder / "weights")
        change(folder / "weights" / "classify-starter.safetensors")
        with mock.patch.object(weights, "ROOT", folder):
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
    """The owner's folder of checkpoints holds a damaged file."""
    (folder / "mine.safetensors").write_bytes(content)
    with _settings(VISION_HUB_CHECKPOINTS=str(folder)):
        yield


@contextmanager
def _settings(**variables: str) -> Iterator[None]:
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
    """A model hub that takes connections and says nothing."""
    from core import hub

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with _settings(HF_ENDPOINT=address, VISION_HUB_OFFLINE="0", HF_HUB_CACHE=str(folder)):
            hub.forget_probe()
            yield
            hub.forget_probe()


def _model(error: BaseException, times: int = 10**6) -> Inject:
    return lambda _: _failing_model(error, times)


DAMAGED = "damaged|not a safetensors"
FAULTS = (
    Fault("the device's memory ends once", _model(MemoryError(), 1), re.escape(ANSWERED)),
    Fault("the device's memory ends at every try", _model(MemoryError()), "too little memory"),
    Fault(
        "GPU out of memory",
        _model(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")),
        "too little memory",
    ),
    Fault("CUDA device-side assert", _lost_gpu, "graphics card failed"),
    Fault("the model gives not-a-number", _not_a_number, "not numbers"),
    Fault("a library fails in a way nobody foresaw", _model(KeyError("x")), "Something went wrong"),
    Fault("no memory to decode the picture", _no_memory_to_decode, "not enough memory"),
    Fault("a bit of the weights is flipped", _starter(_flip), DAMAGED),
    Fault("the weights are cut off", _starter(_truncate), DAMAGED),
    Fault("the weights are no weights", _starter(_overwrite), DAMAGED),
    Fault("the weights are gone", _starter(Path.unlink), "at hand|not there"),
    Fault(
        "an own checkpoint is damaged",
        lambda folder: _own(folder, b"\x10" + b"\0" * 7 + b"{broken header!}"),
        "no checkpoint called own:mine",
        checkpoint="own:mine",
    ),
    Fault(
        "the disk is full when a result is written", _unwritable(errno.ENOSPC), "full", "/denoise"
    ),
    Fault("the folder of results is read-only", _no_folder, "read-only", "/denoise"),
    Fault(
        "the model hub says nothing",
        _silent_hub,
        "did not answer. Starter ViT answered",
        checkpoint="vit-base",
    ),
)


# --- asking ---


class Hub:
    """The served app, and what it answers while nothing is broken."""

    def __init__(self, address: str, folder: Path) -> None:
        from gradio_client import Client

        self.client = Client(address, verbose=False)
        self.folder = folder
        self._pictures = 0
        self.right = {endpoint: self.ask(endpoint) for endpoint in ("/classify", "/denoise")}

    def ask(self, endpoint: str, checkpoint: str = "auto", fresh: bool = False) -> Any:
        """What an endpoint answers, without how it was made; its note, where it has one.

        Args:
            fresh: with a picture that no answer is kept for.
        """
        from gradio_client import handle_file

        picture = handle_file(self._picture(fresh))
        *found, info = self.client.predict(picture, checkpoint=checkpoint, api_name=endpoint)
        if fresh:
            return info["note"] or ANSWERED
        return [_pixels(x) if isinstance(x, str) else x for x in found]

    def _picture(self, fresh: bool) -> Path:
        import numpy as np
        from PIL import Image

        self._pictures += fresh
        seed = self._pictures if fresh else 0
        path = self.folder / f"{seed}.png"
        if not path.exists():
            rng = np.random.default_rng(seed)
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            coarse.resize((96, 72)).save(path)
        return path

    def examine(self, fault: Fault) -> Row:
        """Inject a fault and see who notices."""
        from gradio_client.exceptions import AppError

        from core import runtime

        # Kept outputs would answer in the place of what is broken.
        runtime.outputs().clear()
        other = "/denoise" if fault.endpoint == "/classify" else "/classify"
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as broken:
            broken.enter_context(fault.inject(Path(scratch)))
            try:
                said = self.ask(fault.endpoint, fault.checkpoint, fresh=True)
            except AppError as error:
                said = str(error)
            others_right = self._is_right(other)
        return Row(fault, said, self._is_right(fault.endpoint), others_right)

    def _is_right(self, endpoint: str) -> bool:
        from gradio_client.exceptions import AppError

        try:
            return bool(self.ask(endpoint) == self.right[endpoint])
        except AppError:
            return False


def _pixels(path: str) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


@contextmanager
def served_hub() -> Iterator[Hub]:
    """The app on a free port of this machine, with its starters loaded."""
    import app

    with tempfile.TemporaryDirectory() as folder, app.served() as address:
        yield Hub(address, Path(folder))


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| What breaks | What the visitor reads | Next request | Other tabs |"]
    lines.append("|---|---|---|---|")
    for row in rows:
        words = ["right" if ok else "**wrong**" for ok in (row.next_right, row.others_right)]
        lines.append(f"| {row.fault.name} | {row.said} | {words[0]} | {words[1]} |")
    return "\n".join(lines)


def write_section(page: Path, name: str, content: str) -> None:
    """Put `content` between `<!-- name -->` and `<!-- /name -->` of a page."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = page.read_text("utf-8")
    head, _, rest = text.partition(start)
    _, _, tail = rest.partition(end)
    page.write_text(f"{head}{start}\n\n{content}\n\n{end}{tail}", "utf-8")


def main() -> int:
    """Print the table; 1 where a fault is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md")
    write = parser.parse_args().write
    with served_hub() as hub:
        rows = [hub.examine(fault) for fault in FAULTS]
    print(table(rows))
    missed = [row.fault.name for row in rows if not row.met]
    print(f"{len(rows) - len(missed)} of {len(rows)} met", *missed, sep="\n  not met: ")
    if write:
        write_section(PAGE, "faults", table(rows))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
