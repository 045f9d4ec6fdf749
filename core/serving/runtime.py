"""One request on one model: its lease, its outputs, and the lane that forward passes take.

`devices` says where models run. Of the `stores`, `models()` leases models while they are in use,
`outputs()` keeps what a forward pass gave, by weight file and the SHA-256 of the pixels, so that a
second click or a moved slider does not run the model again, and `decoded()` the same of light
decoders.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import torch

from core.checkpoints import Task
from core.cpu import allocator, collector, compute_threads, linear
from core.errors import CheckpointError, DeviceLost, HubError, OutOfMemory
from core.serving import batching, stores
from core.serving import precision as precisions
from core.serving.device_errors import is_device_lost, is_out_of_memory
from core.serving.device_queue import Lane
from core.serving.devices import device, empty_cache, is_lost, precision, set_lost
from core.serving.model_cache import Builder, Built, Lease
from core.serving.output_store import OutputStore
from core.serving.stopwatch import Stopwatch
from core.serving.stores import decoded, models, outputs
from core.settings import get_settings
from core.sources import failures, resolver
from core.sources.resolver import Progress, Resolved
from core.types import RunInfo

T = TypeVar("T")

_log = logging.getLogger(__name__)
_lane = Lane()
_side_lane = Lane()  # of the steps of long jobs, on a CPU
_lock = threading.Lock()
_batcher: batching.Batcher[batching.Tensors, batching.Tensors] | None = None


@dataclass(slots=True)
class Run:
    """One request on one leased model: its stopwatch, and which cached things were hits."""

    lease: Lease
    key: Hashable
    watch: Stopwatch = field(default_factory=Stopwatch)
    cache: dict[str, str] = field(default_factory=dict)
    precision: str = "fp32"

    def autocast(self) -> torch.autocast:
        """For use inside `forward`: the precision that was chosen for this checkpoint."""
        bf16 = self.precision == "bf16"
        return torch.autocast(device().type, torch.bfloat16, enabled=bf16)

    @property
    def name(self) -> str:
        """What a person calls the checkpoint."""
        checkpoint = self.lease.resolved.checkpoint
        return checkpoint.title or checkpoint.key

    def info(self) -> RunInfo:
        """The RunInfo of this run so far."""
        checkpoint = self.lease.resolved.checkpoint
        return RunInfo(
            checkpoint=checkpoint.key,
            tier=self.lease.resolved.tier,
            device=str(device()),
            precision=self.precision,
            seconds=dict(self.watch.seconds),
            cache=dict(self.cache),
            trained_on=checkpoint.trained_on,
            metric=checkpoint.metric,
            note=self.lease.resolved.note,
        )

    def output(
        self,
        key: tuple[Hashable, ...],
        compute: Callable[[], T],
        name: str = "output",
        store: OutputStore | None = None,
    ) -> T:
        """`compute()` once per weight file, device, precision and `key`.

        It is kept in `outputs()`, or in the `store` that is given.
        """
        kept = store or outputs()
        value, hit = kept.get_or_compute((self.key, self.precision, *key), compute)
        self.cache[name] = "hit" if hit else "miss"
        return value

    def batched(
        self,
        compute: Callable[..., batching.Tensors],
        *inputs: torch.Tensor,
        same: Hashable = None,
    ) -> batching.Tensors:
        """`compute` in the lane, on this request and on like ones that wait for the device too.

        Args:
            compute: tensors (B, …) on the device -> a tuple of tensors (B, …).
            inputs: (1, …) on the CPU; only requests with inputs of the same shapes are joined.
            same: what else must be equal, because `compute` depends on it.

        Returns:
            What `compute` gave for this request: tensors (1, …) on the CPU.
        """
        shapes = tuple((x.shape, x.dtype) for x in inputs)
        # While anybody waits in this group the model is leased, so its id is nobody else's.
        group = (id(self.lease.built.module), self.precision, same, shapes)

        def cast(*batch: torch.Tensor) -> batching.Tensors:
            with self.autocast():
                return compute(*batch)

        return batcher().run(group, inputs, batching.stacked(cast, device()))


def batcher() -> batching.Batcher[batching.Tensors, batching.Tensors]:
    """The one batcher of this process; with passes of one request where batching gains nothing."""
    global _batcher  # noqa: PLW0603
    with _lock:
        if _batcher is None:
            size = get_settings().batch or (8 if device().type == "cuda" else 1)
            _batcher = batching.Batcher(forward, size)
        return _batcher


def reset() -> None:
    """Forget stores, batcher, failures and a lost device; for tests and for changed settings."""
    global _batcher  # noqa: PLW0603
    stores.reset()
    failures.forget()
    with _lock:
        _batcher = None
    set_lost(False)


@contextmanager
def run(
    task: Task,
    checkpoint: str,
    build: Builder,
    progress: Progress | None = None,
    scale: int | None = None,
) -> Iterator[Run]:
    """Resolve a checkpoint, lease its model and start the clock.

    Args:
        task: a task of `core.checkpoints`.
        checkpoint: its key, or "auto" for the best one at hand.
        build: makes the module from the resolved file; runs only when it is not in memory.
        progress: told of a download, as (fraction 0..1, sentence).
        scale: for super-resolution, the factor that "auto" must have.

    Where no model can be made of the file, the next one that `weights.resolve` gives answers, with
    a note: for "auto" the next best, for a full checkpoint the starter. An own file that was picked
    is refused, and so is a picked one for which there is no room.

    Raises:
        InputError, CheckpointError, ResourceError: as `weights.resolve`; or no file fits.
        OutOfMemory: there is no room for the model.
    """
    compute_threads.settle()
    watch, where = Stopwatch(), device()
    tried: set[Hashable] = set()
    with ExitStack() as stack:
        while True:
            with watch.stage("resolve"):
                resolved = resolver.resolve(checkpoint, task, progress, scale=scale)
            key = (*_model_key(resolved), where)
            try:
                with watch.stage("load"):
                    lease = stack.enter_context(_lease(key, resolved, build, where))
                break
            except (CheckpointError, OutOfMemory) as error:
                failures.remember(resolved.path, error)
                picked_too_large = checkpoint != "auto" and isinstance(error, OutOfMemory)
                if picked_too_large or key in tried:
                    raise
                tried.add(key)  # now another file answers, or the error is raised again
        # The note belongs to this request: the same file can also answer when asked for by name.
        own = Lease(lease.built, resolved, lease.hit)
        chosen = precisions.choose(resolved, where)
        yield Run(own, key, watch, {"model": "hit" if lease.hit else "miss"}, chosen)


def _model_key(resolved: Resolved) -> tuple[Hashable, ...]:
    """A file that was written anew is another model, although its path is the same."""
    file = resolved.path.stat()
    return resolved.checkpoint.key, str(resolved.path), file.st_mtime_ns, file.st_size


def _lease(
    key: Hashable, resolved: Resolved, build: Builder, where: torch.device
) -> AbstractContextManager[Lease]:
    def once(found: Resolved) -> Built:
        failures.refuse(found.path)  # what those who waited for the same load need not try again
        return _place(build, found, where)

    return models().lease(key, resolved, once)


def _place(build: Builder, resolved: Resolved, where: torch.device) -> Built:
    """Build and move to the device; whatever goes wrong becomes one sentence."""

    def place() -> Built:
        built = build(resolved)
        built.module.to(where).eval().requires_grad_(False)
        if where.type == "cpu":
            linear.speed_up(built.module)
        return built

    name = resolved.checkpoint.title or resolved.checkpoint.key
    try:
        built = _with_room(place, f"There is too little memory for {name}; choose a smaller one.")
        allocator.trim()  # what made room for it, and the buffers through which its file was read
        collector.settle()  # its libraries have come in
        return built
    except HubError:
        raise
    except Exception as error:  # what a library raises on an odd file is not specified
        _log.warning("%s could not be built", resolved.path, exc_info=True)
        raise CheckpointError(
            f"{resolved.path.name} cannot be made into a model; choose another file."
        ) from error


def forward(compute: Callable[[], T], full_precision: bool = False, long: bool = False) -> T:
    """Run `compute` alone on the device, without gradients, in the chosen precision.

    Args:
        full_precision: stay in fp32 also where the setting says bf16.
        long: this is one step of a long job, which lets short passes go first.

    Raises:
        OutOfMemory: it did not fit, also after idle models and kept outputs were given back.
        DeviceLost: the GPU failed; the next request runs on the processor.
    """
    bf16 = precision() == "bf16" and not full_precision
    # A processor can do two things at once: a short pass beside a step of a long job takes twice as
    # long as alone, which is less than waiting for the end of the step.
    on_cpu = device().type == "cpu"
    lane = _side_lane if long and on_cpu else _lane

    def settled() -> T:
        with (
            torch.inference_mode(),
            torch.autocast(device().type, torch.bfloat16, enabled=bf16),
        ):
            return compute()

    return _with_room(
        lambda: lane.run(settled, long, in_thread=on_cpu),
        "The device has too little memory for this; try a smaller picture.",
    )


def finish(steps: Generator[object, None, T]) -> T:
    """Run a job that comes as a generator to its end; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def _with_room(action: Callable[[], T], refusal: str) -> T:
    """`action()`; when memory runs out, once more after giving back what is idle."""
    for attempt in range(2):
        if attempt:
            _give_back()
        try:
            return action()
        except (MemoryError, RuntimeError) as error:
            if is_device_lost(error):
                _lose_device(error)
            if not is_out_of_memory(error):
                raise
    raise OutOfMemory(refusal)


def _lose_device(error: BaseException) -> NoReturn:
    """After a failed kernel a CUDA context answers nothing more, until the process ends."""
    _log.error("The GPU failed; start the hub again to use it.", exc_info=error)
    reset()
    set_lost(True)
    raise DeviceLost(
        "The graphics card failed. The hub goes on without it, more slowly; please try again."
    ) from error


def _give_back() -> None:
    models().drop_idle()
    outputs().clear()
    decoded().clear()
    empty_cache()


def unload(checkpoint: str) -> int:
    """Forget the model of a checkpoint; the bytes given back.

    Raises:
        InputError: it is not in memory, or is at work.
    """
    given_back = models().unload(checkpoint)
    empty_cache()
    return given_back


def status() -> dict[str, object]:
    """The cache meter as shown at `/status`."""
    return {
        "device": str(device()),
        "precision": precision(),
        "device_lost": is_lost(),
        "waiting": _lane.waiting + _side_lane.waiting,
        "batches": batcher().stats(),
        **models().stats(),
        "outputs": outputs().stats(),
        "decoded": decoded().stats(),
    }
