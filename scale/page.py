"""The page's side: which replica gets a call, and what happens when one dies.

Calls for a picture go to one replica as long as it is there (rendezvous hashing, Thaler and
Ravishankar 1998), where the picture's results are kept: SAM's encoder runs once per picture. A call
that needs no kept result goes elsewhere if that replica has more to do than others.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from cachetools import LRUCache

from core import images
from core.errors import Busy
from core.serving import backends
from core.serving.backends import Call, Outcome
from scale import cluster
from scale.replica import Sent

GIVE_UP_SECONDS = 60.0  # longer than a replica takes to start again
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # seconds between two tries
AVOID_SECONDS = 5.0  # a replica that failed
LOOK_SECONDS = 5.0  # for new replicas
SPARE = 2  # calls that a picture's replica may have more than the least busy one
SENT_BYTES = 512_000_000  # of pictures, in Ray's store
GONE = "The model servers do not answer; please try again in a minute."
_log = logging.getLogger(__name__)


class Router:
    """Chooses among replicas by name; knows nothing of Ray."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.busy: Counter[str] = Counter()  # calls that run, by replica
        self._clock = clock
        self._avoided: dict[str, float] = {}

    def order(self, names: Sequence[str], key: str) -> list[str]:
        """The replicas for a key, the first choice first; each replica is first for its share."""
        return sorted(names, key=lambda n: hashlib.sha256(f"{n}\0{key}".encode()).digest())

    def choose(self, names: Sequence[str], key: str | None, sticky: bool) -> str:
        """The replica for a call; `key` is that of its picture, None without one."""
        now = self._clock()
        well = [n for n in names if self._avoided.get(n, 0.0) <= now] or list(names)
        least = min(well, key=lambda n: (self.busy[n], random.random()))
        if key is None:
            return least
        first = self.order(well, key)[0]
        return first if sticky or self.busy[first] <= self.busy[least] + SPARE else least

    def avoid(self, name: str) -> None:
        """A replica has failed; others come first for some seconds."""
        self._avoided[name] = self._clock() + AVOID_SECONDS


class Ray:
    """A `core.serving.backends.Backend` of the replicas of a cluster.

    Raises:
        ConnectionError: there is no cluster.
        ImportError: Ray is not installed.
    """

    def __init__(self) -> None:
        self._ray = cluster.connect()
        from ray import exceptions

        # A replica or its machine has died, or an object with it.
        self._lost = (
            exceptions.RayActorError,
            exceptions.ObjectLostError,
            exceptions.NodeDiedError,
            exceptions.RaySystemError,
        )
        self._router = Router()
        self._lock = threading.Lock()
        self._replicas: dict[str, Any] = {}
        self._look_again = 0.0
        self._sent: LRUCache[str, tuple[Any, int]] = LRUCache(SENT_BYTES, lambda kept: kept[1])

    def answer(self, call: Call) -> Any:
        """Run a function on a replica; another one, or the same after a pause, if it dies.

        Raises:
            Busy: no replica answered for a minute.
            HubError: the function's own.
        """
        for attempt in self._attempts(call):
            with attempt as (replica, given):
                outcome: Outcome = self._ray.get(replica.answer.remote(given))
                return outcome.value()

    def steps(self, call: Call) -> Generator[Any, None, Any]:
        """As `answer`, step by step. If its replica dies, the job begins again on another."""
        for attempt in self._attempts(call):
            with attempt as (replica, given):
                return (yield from self._job(replica, given))

    def _job(self, replica: Any, call: Call) -> Generator[Any, None, Any]:
        job = uuid.uuid4().hex
        outcomes = replica.steps.options(num_returns="streaming").remote(call, job)
        try:
            return (yield from backends.values(map(self._ray.get, outcomes)))
        except (GeneratorExit, *self._lost):  # cancelled, or it may still run
            replica.stop.remote(job)
            raise

    def _attempts(self, call: Call) -> Iterator[AbstractContextManager[tuple[Any, Call]]]:
        """A replica and what to send it, until one has answered."""
        given = {key: value for key, value in call.arguments.items() if key != "progress"}
        picture = images.picture(given["image"]) if "image" in given else None
        end, pause = math.inf, FIRST_PAUSE
        while True:
            yield self._attempt(replace(call, arguments=given), picture)
            end = min(end, time.monotonic() + GIVE_UP_SECONDS)  # counted from the first loss
            if time.monotonic() >= end:
                raise Busy(GONE)
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    @contextlib.contextmanager
    def _attempt(self, call: Call, picture: images.Picture | None) -> Iterator[tuple[Any, Call]]:
        """A replica, busy meanwhile. If it is lost, so is what was sent, and others come first."""
        name = ""
        try:
            if picture is not None:
                call = replace(call, arguments={**call.arguments, "image": self._send(picture)})
            with self._lock:
                replicas = self._look()
                if not replicas:
                    raise Busy(GONE)
                key = picture.digest if picture is not None else None
                name = self._router.choose(list(replicas), key, call.sticky)
                self._router.busy[name] += 1
            yield replicas[name], call
        except self._lost as error:
            _log.warning("a call of %s was lost (%s)", call.name, type(error).__name__)
            with self._lock:
                self._router.avoid(name)
                self._look_again = 0.0  # at once
            if picture is not None:
                self._forget(picture.digest)
        finally:
            with self._lock:
                if name:
                    self._router.busy[name] -= 1

    def status(self) -> list[dict[str, Any]]:
        """The meter of every replica that answers within some seconds."""
        with self._lock:
            asked = {name: one.status.remote() for name, one in self._look().items()}
        done, _ = self._ray.wait(list(asked.values()), num_returns=len(asked), timeout=5)
        found = []
        for name, one in asked.items():
            if one in done:
                with contextlib.suppress(*self._lost):
                    found.append({"name": name, **self._ray.get(one)})
        return found

    def _look(self) -> dict[str, Any]:
        """The replicas by name; call it with the lock."""
        if time.monotonic() >= self._look_again:
            self._replicas = {name: self._ray.get_actor(name) for name in cluster.names()}
            self._look_again = time.monotonic() + LOOK_SECONDS
        return self._replicas

    def _send(self, picture: images.Picture) -> Sent:
        """The picture as a replica takes it; its pixels go into Ray's store once."""
        with self._lock:
            kept = self._sent.get(picture.digest)
        if kept is None:
            pixels = picture.pixels()
            kept = self._ray.put(pixels), pixels.nbytes
            with self._lock:
                if pixels.nbytes <= self._sent.maxsize:
                    self._sent[picture.digest] = kept
        return Sent(picture.digest, picture.size, (kept[0],), picture.name)

    def _forget(self, digest: str) -> None:
        with self._lock:
            self._sent.pop(digest, None)
