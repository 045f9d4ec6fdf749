"""Replicas: the same answers from there, one place for a picture, no call lost when one dies."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import sys
import threading
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import capacity
from core import classify, detect, images, reconstruct, restore, segment, semantic
from core.errors import Busy, InputError
from core.lessons import attention
from core.serving import backends, runtime
from core.settings import get_settings
from demos.shell import elsewhere
from scale import environment, page
from scale.replica import Replica
from tests.conftest import PATIENCE
from tests.live import EXAMPLES

CAT = EXAMPLES / "chelsea.jpg"
CALLS = [
    (classify.predict, {"top_k": 3}),
    (detect.predict, {"threshold": 0.3}),
    (segment.embed, {}),
    (segment.predict, {"points": [[200, 150, 1]]}),
    (semantic.predict, {}),
    (reconstruct.predict, {"seed": 3}),
]


@pytest.fixture(autouse=True)
def _here_again():
    yield
    backends.stop()


class Elsewhere:
    """A backend that sends everything through pickle, as a network does."""

    def __init__(self):
        self.called = []

    def answer(self, call):
        self.called.append(call.name)
        return pickle.loads(pickle.dumps(backends.answer(pickle.loads(pickle.dumps(call))))).value()

    def steps(self, call):
        self.called.append(call.name)
        outcomes = backends.steps(pickle.loads(pickle.dumps(call)))
        return (yield from backends.values(pickle.loads(pickle.dumps(o)) for o in outcomes))

    def status(self):
        return [{"name": "replica-0"}]


def same(one, other):
    """Equal values, except for how long they took."""
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        names = [n for n in one.__dataclass_fields__ if n not in ("seconds", "cache")]
        return type(one) is type(other) and all(
            same(getattr(one, n), getattr(other, n)) for n in names
        )
    return one == other


@pytest.mark.slow
@pytest.mark.parametrize(("function", "options"), CALLS, ids=lambda v: getattr(v, "__module__", ""))
def test_a_result_survives_the_way(function, options):
    here = function(CAT, **options)
    away = Elsewhere()
    backends.use(away, elsewhere.modules())
    function = getattr(sys.modules[function.__module__], function.__name__)
    assert same(here, function(CAT, **options))
    assert away.called == [f"{function.__module__}.{function.__name__}"]


def test_without_a_backend_there_are_no_others():
    assert backends.elsewhere() == []
    backends.use(Elsewhere(), [])
    assert backends.elsewhere() == [{"name": "replica-0"}]


def test_only_segment_stays_with_its_picture():
    assert backends.Call("core.segment.predict", {}).sticky
    assert backends.Call("core.lessons.prompt_to_mask.look", {}).sticky
    assert not backends.Call("core.classify.predict", {}).sticky


# --- which replica


def test_a_picture_has_one_place_and_keeps_it():
    router, names = page.Router(), [f"replica-{n}" for n in range(4)]
    keys = [f"picture {n}" for n in range(400)]
    first = {key: router.choose(names, key, sticky=True) for key in keys}
    shares = Counter(first.values())
    assert all(60 < shares[name] < 140 for name in names)  # 100 each, give or take 4 deviations
    fewer = names[:3]
    for key in keys:  # only those of the one that is gone move
        now = router.choose(fewer, key, sticky=True)
        assert now == first[key] or first[key] == names[3]


def test_a_busy_replica_is_passed_over_unless_the_call_is_sticky():
    router, names = page.Router(), ["replica-0", "replica-1"]
    key = next(k for k in map(str, range(99)) if router.order(names, k)[0] == "replica-0")
    router.busy["replica-0"] = page.SPARE
    assert router.choose(names, key, sticky=False) == "replica-0"
    router.busy["replica-0"] = page.SPARE + 1
    assert router.choose(names, key, sticky=False) == "replica-1"
    assert router.choose(names, key, sticky=True) == "replica-0"
    assert router.choose(names, None, sticky=False) == "replica-1"


def test_a_replica_that_failed_is_avoided_for_a_while():
    now = [0.0]
    router, names = page.Router(lambda: now[0]), ["replica-0", "replica-1"]
    for name in names:
        router.avoid(name)
        (other,) = set(names) - {name}
        assert {router.choose(names, str(k), sticky=True) for k in range(20)} == {other}
        assert router.choose([name], "x", sticky=True) == name, "better than none"
        now[0] += page.AVOID_SECONDS + 0.1


# --- what happens when one dies, on a Ray that does as told


class Lost(Exception):
    pass


class Actor(Replica):
    """A replica in this process; `fails` calls are lost before it answers, or after two steps."""

    def __init__(self, fails=0):
        self._jobs, self.fails, self.calls, self.stopped = set(), fails, [], []
        self.answer = SimpleNamespace(remote=self._answered)
        self.steps = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._stepped))
        self.stop = SimpleNamespace(remote=self._stop)

    def _lost(self, call):
        self.calls.append(call)
        self.fails -= 1
        return self.fails >= 0

    def _answered(self, call):
        return Lost() if self._lost(call) else Replica.answer(self, call)

    def _stepped(self, call, job):
        lost = self._lost(call)
        for number, outcome in enumerate(Replica.steps(self, call, job)):
            yield Lost() if lost and number == 2 else outcome

    def _stop(self, job):
        self.stopped.append(job)
        Replica.stop(self, job)


@pytest.fixture
def cluster_of(monkeypatch):
    """A backend of these actors."""

    def make(**actors):
        def get(one):
            if isinstance(one, Lost):
                raise one
            return one

        fake = SimpleNamespace(get=get, put=lambda value: value, get_actor=actors.__getitem__)
        monkeypatch.setitem(sys.modules, "ray", fake)
        monkeypatch.setitem(
            sys.modules,
            "ray.exceptions",
            SimpleNamespace(
                RayActorError=Lost, ObjectLostError=Lost, NodeDiedError=Lost, RaySystemError=Lost
            ),
        )
        fake.exceptions = sys.modules["ray.exceptions"]
        monkeypatch.setattr(page.cluster, "connect", lambda: fake)
        monkeypatch.setattr(page.cluster, "names", lambda: list(actors))
        monkeypatch.setattr(page, "FIRST_PAUSE", 0.001)
        made = page.Ray()
        backends.use(made, [sys.modules[__name__]])
        return made

    return make


def mean(image: images.ImageLike, add=0.0, progress=None):
    if add < 0:
        raise InputError("Add 0 or more.")
    return float(images.picture(image).pixels().mean()) + add


def halves(image: images.ImageLike):
    yield from (0.25, 0.5, 0.75)
    return float(images.picture(image).pixels().mean()) / 2


def grey(value):
    return np.full((40, 50, 3), value, np.uint8)


def test_a_lost_call_is_sent_to_another_replica(cluster_of):
    one, other = Actor(fails=1), Actor(fails=1)
    cluster_of(**{"replica-0": one, "replica-1": other})
    assert mean(grey(7), add=1, progress=print) == 8
    assert len(one.calls) + len(other.calls) == 3 and one.calls and other.calls
    assert all("progress" not in call.arguments for call in one.calls + other.calls)


def test_a_job_whose_replica_dies_begins_again_on_another(cluster_of):
    one, other = Actor(fails=1), Actor(fails=1)
    cluster_of(**{"replica-0": one, "replica-1": other})
    seen = []
    result = runtime.finish(noted(halves(grey(8)), seen))
    assert result == 4
    assert seen == [0.25, 0.5] * 2 + [0.25, 0.5, 0.75]


def noted(steps, seen):
    """The same steps, which are also put into a list."""
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value
        yield seen[-1]


def test_a_cancelled_job_ends_after_its_step(cluster_of):
    only = Actor()
    backend = cluster_of(**{"replica-0": only})
    steps = halves(grey(8))
    assert next(steps) == 0.25
    steps.close()
    assert len(only.stopped) == 1 and not only._jobs
    assert backend._router.busy["replica-0"] == 0


def test_pixels_are_sent_once_and_fetched_only_where_needed(cluster_of):
    only = Actor()
    backend = cluster_of(**{"replica-0": only})
    picture = images.Picture(images.digest(grey(3)), (40, 50), lambda: grey(3), "a.png")
    assert mean(picture) == mean(picture, add=0) == 3
    sent = [call.arguments["image"] for call in only.calls]
    assert sent[0].pixels[0] is sent[1].pixels[0] and sent[0].name == "a.png"
    assert backend._router.busy["replica-0"] == 0


def test_the_error_of_a_task_is_the_error_here_and_is_not_tried_again(cluster_of):
    only = Actor()
    cluster_of(**{"replica-0": only})
    with pytest.raises(InputError, match=r"^Add 0 or more\.$"):
        mean(grey(3), add=-1)
    assert len(only.calls) == 1


def test_without_an_answer_the_visitor_gets_a_sentence(cluster_of, monkeypatch):
    monkeypatch.setattr(page, "GIVE_UP_SECONDS", 0.05)
    cluster_of(**{"replica-0": Actor(fails=10**6)})
    with pytest.raises(Busy, match="please try again"):
        mean(grey(3))


# --- how it is started


def test_ray_asks_for_a_token_and_stays_on_this_machine(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    environment.prepare()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    environment.prepare()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ


def test_without_ray_both_say_what_to_install(monkeypatch, capsys):
    import app
    from scale import __main__ as command

    monkeypatch.setitem(sys.modules, "ray", None)  # importing it fails
    with pytest.raises(SystemExit, match="requirements-scale"):
        app.use_replicas()
    monkeypatch.setattr(sys, "argv", ["scale", "2"])
    assert command.main() == 1
    assert capsys.readouterr().err.strip() == environment.MISSING


# --- the simulation of docs/scaling.md


def test_the_simulation_keeps_the_laws_of_queues():
    work = capacity.CLASSIFY
    idle = capacity.simulate(20, 4, 4, work)
    alone = capacity.PAGE_SECONDS + work.one
    assert alone <= idle.mean < 1.1 * alone
    for visitors, pages, gpus in ((400, 4, 4), (1000, 2, 1), (3000, 3, 1)):
        found = capacity.simulate(visitors, pages, gpus, work)
        assert found.rate <= pages / capacity.PAGE_SECONDS * 1.001
        # Little: everybody either thinks or waits. 3,000 on 3 page processes never settle down.
        if pages != 3:
            law = visitors / (capacity.THINK + found.mean)
            assert found.rate == pytest.approx(law, rel=0.1)
    assert found.page_load > 0.99


# --- with Ray itself


@pytest.fixture(scope="module")
def ray():
    if importlib.util.find_spec("ray") is None:  # not imported yet: it reads settings then
        pytest.skip("requirements-scale.txt is not installed")
    from scale import cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("OFFLINE", "1"), ("DEVICE", "cpu"), ("BATCH", "1")):
            patch.setenv(f"VISION_HUB_{name}", value)
        patch.delenv("RAY_ADDRESS", raising=False)
        get_settings.cache_clear()
        made = cluster.connect(start=True)
        try:
            cluster.scale_to(2, cpus=0.1)
            yield made
        finally:
            made.shutdown()
            get_settings.cache_clear()


@pytest.mark.slow
def test_replicas_answer_as_this_process_does(ray):
    here = detect.predict(CAT, threshold=0.3)
    backends.use(page.Ray(), elsewhere.modules())
    there = detect.predict(CAT, threshold=0.3)
    assert there.labels == here.labels
    assert np.allclose(there.boxes, here.boxes, atol=2)
    assert detect.predict(CAT, threshold=0.3).info.cache["output"] == "hit"
    with pytest.raises(InputError, match="threshold"):
        detect.predict(CAT, threshold=3)
    assert [one["name"] for one in backends.elsewhere()] == ["replica-0", "replica-1"]


@pytest.mark.slow
def test_a_job_and_a_lesson_run_on_a_replica(ray):
    large, seen = np.tile(images.read(CAT), (2, 2, 1)), []  # several tiles
    here = restore.denoise(large)
    misses = runtime.models().stats()["misses"]
    backends.use(page.Ray(), elsewhere.modules())
    there = runtime.finish(noted(restore.steps("denoise", large), seen))
    assert seen == sorted(seen) and len(seen) > 1
    assert np.abs(there.image.astype(int) - here.image).mean() < 1
    assert attention.look(CAT).weights(0, 0).sum(1) == pytest.approx(1, abs=1e-5)
    assert runtime.models().stats()["misses"] == misses, "nothing is loaded here"
    steps = restore.steps("denoise", large)
    next(steps)
    steps.close()
    deadline = time.monotonic() + PATIENCE
    while any(one["jobs"] for one in backends.elsewhere()):  # ends after its tile
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_it_listens_on_this_machine_only(ray):
    if not os.path.exists("/proc/net/tcp"):
        pytest.skip("no /proc")
    mine = {ray.get(ray.get_actor(name).pid.remote()) for name in ("replica-0", "replica-1")}
    sockets = {
        os.readlink(f"/proc/{pid}/fd/{fd}") for pid in mine for fd in os.listdir(f"/proc/{pid}/fd")
    }
    inodes = {one[8:-1] for one in sockets if one.startswith("socket:")}
    heard = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}") as file:
            rows = [line.split() for line in file][1:]
        heard += [row[1] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert heard
    loopback = (
        "0100007F:",
        "0000000000000000FFFF00000100007F:",
        "00000000000000000000000001000000:",
    )
    assert all(one.startswith(loopback) for one in heard)


@pytest.mark.slow
def test_clicks_of_several_people_encode_each_picture_once(ray):
    backends.use(page.Ray(), elsewhere.modules())
    found: Counter[str] = Counter()
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(4)]

    def person(rgb):
        for x in (20, 40, 60):
            info = segment.predict(rgb, [[x, 30, 1]], checkpoint="segment-starter").info
            found[info.cache["embedding"]] += 1

    threads = [threading.Thread(target=person, args=(rgb,)) for rgb in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"miss": 4, "hit": 8}


@pytest.mark.slow
def test_a_killed_replica_loses_no_call(ray):
    backends.use(page.Ray(), elsewhere.modules())
    failed, answered = [], []

    def client(number):
        for i in range(8):
            rgb = np.full((40, 50, 3), (10 * number + i) % 256, np.uint8)
            try:
                answered.append(classify.predict(rgb, "classify-starter").labels)
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    os.kill(ray.get(ray.get_actor("replica-1").pid.remote()), signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert failed == [] and len(answered) == 64
