"""One request on one model: its lease, its outputs, and its turns on the device.

`devices` picks the device. Of the `stores`, `models()` leases models while they are in use,
`outputs()` keeps outputs of forward passes by weight file and SHA-256 of the pixels, so that a
second click or a moved slider does not run the model again, and `decoded()` does the same for light
decoders.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

import torch

from core.checkpoints import Task
from core.cpu import allocator, collector, compute_threads, linear
from core.errors import CheckpointError, DeviceLost, HubError, OutOfMemory
from core.serving import batching, stores
from core.serving import precision as precisions
from core.serving.device_errors import is_device_lost, is_out_of_memory
from core.serving.device_queue import DeviceQueue
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
E = TypeVar("E")

_log = logging.getLogger(__name__)
_device_queue = DeviceQueue()
_side_queue = DeviceQueue()  # of the steps of long jobs, on a CPU
_lock = threading.Lock()
_batcher: batching.Batcher[batching.Tensors, batching.Tensors] | None = None


@dataclass
class Run(Generic[E]):
    """One request on one leased model: its stopwatch, and its cache hits."""

    lease: Lease[E]
    key: Hashable
    watch: Stopwatch = field(default_factory=Stopwatch)
    cache: dict[str, str] = field(default_factory=dict)
    precision: str = "fp32"

    def autocast(self) -> torch.autocast:
        """Use inside `forward`: the precision chosen for this checkpoint."""
        bf16 = self.precision == "bf16"
        return torch.autocast(device().type, torch.bfloat16, enabled=bf16)

    @property
    def model(self) -> Any:
        """The network; it is shared, so nothing may be changed in it."""
        return self.lease.built.module

    @property
    def extra(self) -> E:
        """What the task's builder made beside the network."""
        return self.lease.built.extra

    @property
    def name(self) -> str:
        """The checkpoint's name as shown to users."""
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

        The result is kept in `outputs()`, or in the given `store`.
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
        """`compute` on the device, for this request together with similar ones that wait.

        Args:
            compute: tensors (B, …) on the device -> a tuple of tensors (B, …).
            inputs: (1, …) on the CPU; only requests with equal input shapes are joined.
            same: anything else that `compute` depends on and must be equal.

        Returns:
            The part of the result for this request: tensors (1, …) on the CPU.
        """
        shapes = tuple((x.shape, x.dtype) for x in inputs)
        # The model is leased while anybody waits in this group, so its id is unique.
        group = (id(self.model), self.precision, same, shapes)

        def cast(*batch: torch.Tensor) -> batching.Tensors:
            with self.autocast():
                return compute(*batch)

        return batcher().run(group, inputs, batching.stacked(cast, device()))


def batcher() -> batching.Batcher[batching.Tensors, batching.Tensors]:
    """The process's batcher; its passes hold one request where batching has no benefit."""
    global _batcher  # noqa: PLW0603
    with _lock:
        if _batcher is None:
            size = get_settings().batch or (8 if device().type == "cuda" else 1)
            _batcher = batching.Batcher(forward, size)
        return _batcher


def reset() -> None:
    """Reset stores, batcher, failures and a lost device; for tests and changed settings."""
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
    build: Builder[E],
    progress: Progress | None = None,
    scale: int | None = None,
) -> Iterator[Run[E]]:
    """Resolve a checkpoint, lease its model and start the clock.

    Args:
        task: a task of `core.checkpoints`.
        checkpoint: its key, or "auto" for the best one available.
        build: makes the module from the resolved file; called only if it is not in memory.
        progress: called during a download with (fraction 0..1, message).
        scale: for super-resolution, the factor that "auto" must have.

    If no model can be made of the file, the next one from `resolver.resolve` answers, with a note:
    for "auto" the next best, for a full checkpoint the starter. Errors are raised if the user
    picked an own file, or picked a checkpoint for which there is no room.

    Raises:
        InputError, CheckpointError, ResourceError: as `resolver.resolve`; or no file fits.
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
                tried.add(key)  # another file answers now, or the error is raised
        # The note belongs to this request: somebody else may ask for the same file by name.
        own = Lease(lease.built, resolved, lease.hit)
        chosen = precisions.choose(resolved, where)
        yield Run(own, key, watch, {"model": "hit" if lease.hit else "miss"}, chosen)


def _model_key(resolved: Resolved) -> tuple[Hashable, ...]:
    """A rewritten file is a different model, although its path is the same."""
    file = resolved.path.stat()
    return resolved.checkpoint.key, str(resolved.path), file.st_mtime_ns, file.st_size


def _lease(
    key: Hashable, resolved: Resolved, build: Builder[E], where: torch.device
) -> AbstractContextManager[Lease[E]]:
    def once(found: Resolved) -> Built[E]:
        failures.refuse(found.path)  # do not retry for those who waited
        try:
            return _place(build, found, where)
        except (CheckpointError, OutOfMemory) as error:
            failures.remember(found.path, error)  # before the next of those who wait looks
            raise

    return models().lease(key, resolved, once)


def _place(build: Builder[E], resolved: Resolved, where: torch.device) -> Built[E]:
    """Build and move to the device; any error becomes one sentence."""

    def place() -> Built[E]:
        built = build(resolved)
        built.module.to(where).eval().requires_grad_(False)
        if where.type == "cpu":
            linear.speed_up(built.module)
        return built

    name = resolved.checkpoint.title or resolved.checkpoint.key
    try:
        built = _with_room(place, f"There is too little memory for {name}; choose a smaller one.")
        allocator.trim()  # evicted models, and buffers of reading the file
        collector.freeze_libraries()  # newly imported ones
        return built
    except HubError:
        raise
    except Exception as error:  # libraries raise unspecified errors on bad files
        _log.warning("%s could not be built", resolved.path, exc_info=True)
        raise CheckpointError(
            f"{resolved.path.name} cannot be loaded as a model; choose another file."
        ) from error


def forward(compute: Callable[[], T], full_precision: bool = False, long: bool = False) -> T:
    """Run `compute` alone on the device, without gradients, in the chosen precision.

    Args:
        full_precision: stay in fp32 even if the setting says bf16.
        long: this is one step of a long job, which lets short passes go first.

    Raises:
        OutOfMemory: it did not fit, even after evicting idle models and stored outputs.
        DeviceLost: the GPU failed; the next request runs on the CPU.
    """
    bf16 = precision() == "bf16" and not full_precision
    # A CPU can do two things at once: a short pass beside a step of a long job takes twice as long
    # as alone, which is less than waiting for the step to end.
    on_cpu = device().type == "cpu"
    queue = _side_queue if long and on_cpu else _device_queue

    def settled() -> T:
        with (
            torch.inference_mode(),
            torch.autocast(device().type, torch.bfloat16, enabled=bf16),
        ):
            return compute()

    return _with_room(
        lambda: queue.run(settled, long, in_thread=on_cpu),
        "The device has too little memory for this; try a smaller picture.",
    )


def finish(steps: Generator[object, None, T]) -> T:
    """Run a job given as a generator to its end; return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def _with_room(action: Callable[[], T], refusal: str) -> T:
    """Call `action()`; if memory runs out, once more after freeing what is idle."""
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
    """After a failed kernel a CUDA context no longer answers, until the process ends."""
    _log.error("The GPU failed; restart Vision Hub to use it again.", exc_info=error)
    reset()
    set_lost(True)
    raise DeviceLost(
        "The graphics card failed. The app continues on the CPU, more slowly; please try again."
    ) from error


def _give_back() -> None:
    models().drop_idle()
    outputs().clear()
    decoded().clear()
    empty_cache()


def unload(checkpoint: str) -> int:
    """Drop the model of a checkpoint; return the bytes freed.

    Raises:
        InputError: it is not in memory, or is in use.
    """
    given_back = models().unload(checkpoint)
    empty_cache()
    return given_back


def status() -> dict[str, object]:
    """The cache state shown at `/status`."""
    return {
        "device": str(device()),
        "precision": precision(),
        "device_lost": is_lost(),
        "waiting": _device_queue.waiting + _side_queue.waiting,
        "batches": batcher().stats(),
        **models().stats(),
        "outputs": outputs().stats(),
        "decoded": decoded().stats(),
    }
