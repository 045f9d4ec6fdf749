"""Gradio's queue, woken by what happens instead of looking a thousand times a second.

Gradio 6.31 looks every millisecond whether an event can start, also while a model works. On two
cores that took 6 % of one when nobody was there, and made ViT-B/16 5 % slower, because each look
holds up one of the threads that compute. An event can start when one comes and when one ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from gradio.queueing import Queue
from gradio.utils import run_coro_in_background, set_task_name

PROGRESS_SECONDS = 0.05  # between two looks whether a progress bar has moved
SAFETY_SECONDS = 1.0  # whatever else may have changed is noticed after so long


def wake_by_events(queue: Queue) -> None:
    """Let a queue that has not started yet wait for events; limits and order stay Gradio's."""
    woken = asyncio.Event()
    push, process = queue.push, queue.process_events

    async def pushed(*args: Any, **options: Any) -> Any:
        try:
            return await push(*args, **options)
        finally:
            woken.set()

    async def processed(*args: Any, **options: Any) -> None:
        try:
            await process(*args, **options)
        finally:
            woken.set()

    async def start_all() -> None:
        try:
            while not queue.stopped:
                woken.clear()
                while await _start_next(queue):
                    pass
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(woken.wait(), SAFETY_SECONDS)
        finally:  # as Gradio's own: what was begun ends with the queue
            queue.stopped = True
            queue._cancel_asyncio_tasks()

    replaced: Any = queue
    replaced.push, replaced.process_events, replaced.start_processing = pushed, processed, start_all
    queue.progress_update_sleep_when_free = PROGRESS_SECONDS


async def _start_next(queue: Queue) -> bool:
    """Begin the event whose turn it is; False where none waits or there is no place for it."""
    if None not in queue.active_jobs:
        return False
    async with queue.delete_lock:  # against one that is being taken back
        taken = queue.get_events()
    if not taken:
        return False
    events, batch, concurrency_id = taken
    queue.active_jobs[queue.active_jobs.index(None)] = events
    line, fn, now = queue.event_queue_per_concurrency_id[concurrency_id], events[0].fn, time.time()
    line.current_concurrency += 1
    line.start_times_per_fn[fn].add(now)
    task = run_coro_in_background(queue.process_events, events, batch, now, fn)
    set_task_name(task, events[0].session_hash, fn._id, events[0]._id, batch)
    queue._asyncio_tasks.add(task)
    task.add_done_callback(queue._asyncio_tasks.discard)
    if queue.live_updates:
        queue.broadcast_estimations(concurrency_id)  # those behind it are one place further
    return True
