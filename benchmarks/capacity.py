"""How many page processes and GPUs a number of visitors needs, by simulation.

    python -m benchmarks.capacity [--write]

Visitors think, send a request to their page process, which works on it and passes it to a replica;
each replica takes what waits, at most `BATCH` at a time, as our batcher does. All times come from
measurements or publications named below; nothing here was run at that scale. `--write` puts the
table into docs/scaling.md.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from benchmarks.goals import Section, with_part
from benchmarks.startup import ROOT

PAGE = ROOT / "docs" / "scaling.md"
BATCH = 8
THINK = 20.0  # seconds between an answer and the next request; an assumption
PAGE_SECONDS = 0.031  # server CPU of a request, detect 640 x 480 (docs/performance.md)
STREAMS = 600  # open responses of a page process (demos/server/guard.py); one for each open page
GOAL = 1.0  # seconds, 95 of 100 answers
SECONDS, WARM = 90.0, 30.0  # simulated, and left out at the start
VISITORS = (100, 300, 1000, 3000, 10_000)


@dataclass(frozen=True, slots=True)
class Work:
    """What a replica does: seconds of a pass with n requests, for n of 1 and of `BATCH`, between
    which it grows evenly. `rare` seconds more, alone, for one request in `every`."""

    name: str
    one: float
    full: float
    kept_mb: float  # of results, for the picture of one visitor
    rare: float = 0.0
    every: int = 0

    def seconds(self, count: int) -> float:
        """The time of a pass."""
        return self.one + (self.full - self.one) * (count - 1) / (BATCH - 1)

    @property
    def least(self) -> float:
        """Seconds of a request in full batches."""
        return self.full / BATCH + (self.rare / self.every if self.every else 0.0)


# ViT-B/16 with eager PyTorch on an A100: 202 pictures a second in batches of 1, 1,439 of 8.
CLASSIFY = Work("Classify, ViT-B", 1 / 202, 8 / 1439, 0.008)
# SAM ViT-H: 150 ms to encode a picture on an A100; 50 ms for prompt and mask, measured in a browser
# and high for a GPU. Clicks share no pass. Five clicks a picture, whose embedding of 256 x 64 x 64
# numbers in fp32 is kept.
SEGMENT = Work("Segment, SAM ViT-H", 0.050, 8 * 0.050, 4.2, rare=0.150, every=5)


@dataclass(slots=True)
class Found:
    """A run: 95th percentile and mean of the answers' seconds, answers a second, and the share of
    time that page processes worked."""

    p95: float
    mean: float
    rate: float
    page_load: float


@dataclass(slots=True)
class _Server:
    waiting: deque[tuple[int, float]] = field(default_factory=deque)  # visitor, when asked
    busy: bool = False
    worked: float = 0.0


def simulate(visitors: int, pages: int, gpus: int, work: Work, seed: int = 0) -> Found:
    """Run the model for `SECONDS`."""
    dice = random.Random(seed)
    page = [_Server() for _ in range(pages)]
    gpu = [_Server() for _ in range(gpus)]
    answers: list[float] = []
    order = 0  # events of the same time keep their order
    events: list[tuple[float, int, str, int, list[tuple[int, float]]]] = []

    def later(at: float, kind: str, which: int, calls: list[tuple[int, float]]) -> None:
        nonlocal order
        order += 1
        heapq.heappush(events, (at, order, kind, which, calls))

    def work_at(now: float, kind: str, which: int) -> None:
        server, most = (page[which], 1) if kind == "page" else (gpu[which], BATCH)
        if server.busy or not server.waiting:
            return
        calls = [server.waiting.popleft() for _ in range(min(most, len(server.waiting)))]
        seconds = PAGE_SECONDS
        if kind == "gpu":
            seconds = work.seconds(len(calls))
            if work.every:
                seconds += work.rare * sum(dice.random() < 1 / work.every for _ in calls)
        server.busy = True
        if now >= WARM:
            server.worked += min(seconds, max(0.0, SECONDS - now))
        later(now + seconds, kind, which, calls)

    for visitor in range(visitors):
        later(dice.uniform(0, THINK), "ask", visitor, [])
    while events and events[0][0] < SECONDS:
        now, _, kind, which, calls = heapq.heappop(events)
        if kind == "ask":
            at = which % pages
            page[at].waiting.append((which, now))
            work_at(now, "page", at)
        elif kind == "page":
            page[which].busy = False
            least = min(range(gpus), key=lambda n: (len(gpu[n].waiting) + gpu[n].busy, n))
            gpu[least].waiting += calls
            work_at(now, "gpu", least)
            work_at(now, "page", which)
        else:
            gpu[which].busy = False
            for visitor, asked in calls:
                if now >= WARM:
                    answers.append(now - asked)
                later(now + dice.expovariate(1 / THINK), "ask", visitor, [])
            work_at(now, "gpu", which)
    return _found(answers, page)


def _found(answers: list[float], page: list[_Server]) -> Found:
    answers.sort()
    span = SECONDS - WARM
    return Found(
        answers[int(0.95 * (len(answers) - 1))],
        sum(answers) / len(answers),
        len(answers) / span,
        sum(one.worked for one in page) / len(page) / span,
    )


def needed(visitors: int, work: Work) -> tuple[int, int, Found]:
    """The fewest page processes, then the fewest replicas, that keep the goal."""
    asked = visitors / THINK  # at most, a second
    pages = max(1, math.ceil(visitors / STREAMS), math.ceil(asked * PAGE_SECONDS))
    gpus = max(1, math.ceil(asked * work.least))
    found = simulate(visitors, pages, gpus, work)
    while found.p95 > GOAL:
        more = [(pages + 1, gpus), (pages, gpus + 1)]
        tried = [(simulate(visitors, *counts, work), counts) for counts in more]
        found, (pages, gpus) = min(tried, key=lambda one: one[0].p95)
    return pages, gpus, found


def first_to_break(visitors: int, pages: int, gpus: int, work: Work, found: Found) -> str:
    """What reaches its limit first if more visitors come, with its share in use."""
    shares = {
        "open responses of a page process": visitors / pages / STREAMS,
        "a page process's core": found.page_load,
        "the GPUs": found.rate * work.least / gpus,
    }
    name = max(shares, key=lambda key: shares[key])
    return f"{name} ({shares[name]:.0%})"


def measure() -> Section:
    """The section of docs/scaling.md."""
    section = Section("capacity")
    rows = []
    for work in (CLASSIFY, SEGMENT):
        for visitors in VISITORS:
            pages, gpus, found = needed(visitors, work)
            rows.append(
                [
                    work.name,
                    f"{visitors:,}",
                    f"{found.rate:.0f}",
                    str(pages),
                    str(gpus),
                    f"{visitors / gpus:,.0f}",
                    f"{work.kept_mb * visitors / gpus:,.0f} MB",
                    f"{1000 * found.p95:.0f} ms",
                    first_to_break(visitors, pages, gpus, work, found),
                ]
            )
    head = ("work", "visitors", "requests/s", "page processes", "GPUs", "visitors a GPU")
    section.table((*head, "kept results a GPU", "p95", "breaks first"), rows)
    return section


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    write = parser.parse_args().write
    section = measure()
    content = "\n".join(section.lines).strip()
    print(content)
    if write:
        PAGE.write_text(with_part(PAGE.read_text("utf-8"), section.name, content), "utf-8")


if __name__ == "__main__":
    main()
