"""Continuous micro-batching: requests that wait for the device together share one pass.

There is no wait window and no extra thread. The first request of a group leads: when the device is
free it takes all requests that wait by then (at most `size`), answers them in one pass and hands
the lead to the oldest newcomer. So a lone request pays for a lock but never waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import torch

from core.errors import Busy

Item = TypeVar("Item")
Out = TypeVar("Out")
Device = Callable[[Callable[[], Any]], Any]
Tensors = tuple[torch.Tensor, ...]


@dataclass(slots=True, eq=False)
class _Ticket(Generic[Item, Out]):
    """One waiting request; `woken` when it is `done` or has to lead."""

    item: Item
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    gone: bool = False  # abandoned by its caller
    done: bool = False
    answer: Out | None = None
    error: Exception | None = None


class Batcher(Generic[Item, Out]):
    """Runs items of the same group together.

    Args:
        device: calls the given function when the device is free, and returns its result; it may
        call it again after running out of memory.
        size: most items in a pass; with 1 every item is alone and nothing is queued here.
        wait_seconds: how long an item waits for its answer.
    """

    def __init__(self, device: Device, size: int, wait_seconds: float = 120.0) -> None:
        self.size = size
        self.passes = 0
        self.items = 0
        self._device = device
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._queues: dict[Hashable, deque[_Ticket[Item, Out]]] = {}  # the first of each leads

    def run(
        self, group: Hashable, item: Item, compute: Callable[[Sequence[Item]], Sequence[Out]]
    ) -> Out:
        """The result for `item`, computed together with waiting items of its group.

        Args:
            group: only items of equal groups share a pass; any one's `compute` runs it.
            compute: n items -> n results in order. If it fails, the halves of the batch are tried
            separately, so that an error reaches only the item that caused it.

        Raises:
            Busy: no result in time.
        """
        if self.size == 1:
            return self._device(lambda: compute([item])[0])  # type: ignore[no-any-return]
        ticket: _Ticket[Item, Out] = _Ticket(item)
        with self._lock:
            queue = self._queues.setdefault(group, deque())
            ticket.leads = not queue
            queue.append(ticket)
        if not ticket.leads:
            self._wait(group, ticket)
        if ticket.leads:
            self._lead(group, ticket, compute)
        if ticket.error is not None:
            raise ticket.error
        return ticket.answer  # type: ignore[return-value]

    def _wait(self, group: Hashable, ticket: _Ticket[Item, Out]) -> None:
        """Wait until answered or made leader; a caller that gives up leaves nothing behind."""
        try:
            woken = ticket.woken.wait(self._wait_seconds)
        except BaseException:
            self._leave(group, ticket)
            raise
        if not woken and self._leave(group, ticket):
            raise Busy("The device is busy; please try again in a minute.")

    def _leave(self, group: Hashable, ticket: _Ticket[Item, Out]) -> bool:
        """Withdraw a waiting ticket; False if it was answered or made leader meanwhile."""
        with self._lock:
            if ticket.woken.is_set():
                return False
            queue = self._queues.get(group)
            if queue is not None and ticket in queue:  # otherwise its pass is running, unread
                queue.remove(ticket)
            ticket.gone = True
            return True

    def _lead(
        self,
        group: Hashable,
        ticket: _Ticket[Item, Out],
        compute: Callable[[Sequence[Item]], Sequence[Out]],
    ) -> None:
        batch: list[_Ticket[Item, Out]] = []

        def when_free() -> Sequence[Out]:
            if not batch:  # the device may call this twice
                batch.extend(self._take(group))
            return compute([each.item for each in batch])

        try:
            self._answer(batch, when_free, compute)
        finally:
            self._hand_over(group, ticket, batch)

    def _take(self, group: Hashable) -> list[_Ticket[Item, Out]]:
        """Take the oldest that wait; the leader, the first of them, also stays in the queue.

        While it is there, nobody else in its group starts to lead.
        """
        with self._lock:
            queue = self._queues[group]
            batch = [queue.popleft() for _ in range(min(self.size, len(queue)))]
            queue.appendleft(batch[0])
            return batch

    def _answer(
        self,
        batch: list[_Ticket[Item, Out]],
        action: Callable[[], Sequence[Out]],
        compute: Callable[[Sequence[Item]], Sequence[Out]],
    ) -> None:
        """Run `action` for the batch; if that fails, for each half."""
        try:
            answers = self._device(action)
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers to {len(batch)} items")
        except Exception as error:
            if len(batch) <= 1:
                if not batch:  # it failed before taking any item
                    raise
                batch[0].error, batch[0].done = error, True
                return
            middle = len(batch) // 2
            for half in (batch[:middle], batch[middle:]):
                self._answer(half, partial(compute, [ticket.item for ticket in half]), compute)
            return
        with self._lock:
            self.passes += 1
            self.items += len(batch)
        for ticket, answer in zip(batch, answers, strict=True):
            ticket.answer, ticket.done = answer, True

    def _hand_over(
        self, group: Hashable, leader: _Ticket[Item, Out], batch: list[_Ticket[Item, Out]]
    ) -> None:
        """Wake those with a result, and the next leader first."""
        with self._lock:
            queue = self._queues[group]
            queue.popleft()  # the leader itself
            # Unanswered ones exist only if the leader's thread was stopped from outside.
            queue.extendleft(t for t in reversed(batch) if not (t.done or t.gone or t is leader))
            if queue:
                queue[0].leads = True
                queue[0].woken.set()
            else:
                del self._queues[group]
            for ticket in batch:
                if ticket.done:
                    ticket.woken.set()

    def stats(self) -> dict[str, object]:
        """Passes, items and items per pass as plain JSON values."""
        with self._lock:
            mean = self.items / self.passes if self.passes else 0.0
            return {"passes": self.passes, "items": self.items, "mean": round(mean, 2)}


def stacked(
    compute: Callable[..., Tensors], where: torch.device
) -> Callable[[Sequence[Tensors]], list[Tensors]]:
    """Turn `compute` on tensors with a batch axis into a function of n items of batch 1.

    Items are moved to the device together and their results back to the CPU together; each result
    is a copy, so that keeping one does not keep the whole batch.
    """

    def together(items: Sequence[Tensors]) -> list[Tensors]:
        inputs = [torch.cat(parts).to(where) for parts in zip(*items, strict=True)]
        outputs = [t.cpu() for t in compute(*inputs)]
        if len(items) == 1:
            return [tuple(outputs)]
        return [tuple(t[i : i + 1].clone() for t in outputs) for i in range(len(items))]

    return together
