"""Start and stop the replicas of a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from scale import environment
from scale.replica import Replica

PREFIX = "replica-"
START_SECONDS, PAUSE_SECONDS = 180.0, 0.5
THREADS = 32  # calls at once in a replica, as many as the page admits for two batches
# What a replica has to know of the settings of whoever starts it.
_PASSED_ON = ("VISION_HUB_", "HF_")


def connect(start: bool = False) -> Any:
    """Ray, connected to the cluster of RAY_ADDRESS, else to the one of this machine.

    Args:
        start: begin one on this machine unless RAY_ADDRESS is set; it ends with this process.

    Raises:
        ConnectionError: there is none.
        ImportError: Ray is not installed.
    """
    environment.prepare()
    import ray

    if not ray.is_initialized():
        alone = start and "RAY_ADDRESS" not in os.environ
        ray.init(
            address="local" if alone else os.environ.get("RAY_ADDRESS", "auto"),
            namespace=environment.NAMESPACE,
            log_to_driver=False,
            logging_level="warning",
            **({"include_dashboard": False} if alone else {}),
        )
    return ray


def names() -> list[str]:
    """The names of the replicas that exist, also of those that are just restarted."""
    import ray

    found = ray.util.list_named_actors()
    return sorted((n for n in found if n.startswith(PREFIX)), key=lambda n: int(n[len(PREFIX) :]))


def scale_to(count: int, gpus: float = 0, cpus: float = 1, setup: str = "") -> None:
    """Have `count` replicas, spread over the machines; wait until they answer.

    Args:
        gpus: of each replica; a share such as 0.5 puts two on a GPU.
        cpus: cores that Ray sets aside for each.
        setup: as in `Replica`.

    Raises:
        TimeoutError: the cluster has too few GPUs or cores, or a replica does not start.
    """
    import ray

    wanted = [f"{PREFIX}{number}" for number in range(count)]
    for name in set(names()) - set(wanted):
        ray.kill(ray.get_actor(name))
    options = {
        "get_if_exists": True,
        "lifetime": "detached",
        "max_restarts": -1,
        "max_concurrency": THREADS,
        "num_cpus": cpus,
        "num_gpus": gpus,
        "scheduling_strategy": "SPREAD",
        "runtime_env": {
            "env_vars": {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
        },
    }
    missing = _unanswered(wanted, lambda n: ray.remote(Replica).options(name=n, **options), setup)
    if missing:
        raise TimeoutError(
            f"{len(missing)} of {count} replicas have not started; the cluster may have too few "
            f"GPUs or cores: {ray.cluster_resources()}."
        )


def _unanswered(wanted: list[str], maker: Callable[[str], Any], setup: str) -> list[str]:
    """The replicas that do not answer in time; those that do not exist are made."""
    import ray
    from ray.exceptions import RayActorError

    end, waiting = time.monotonic() + START_SECONDS, set(wanted)
    while waiting and time.monotonic() < end:
        asked = {maker(name).remote(setup).pid.remote(): name for name in waiting}
        left = max(0.0, end - time.monotonic())
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=left)
        for one in done:
            try:
                ray.get(one)
                waiting.remove(asked[one])
            except RayActorError:  # just killed, or starting again
                time.sleep(PAUSE_SECONDS)
    return sorted(waiting)
