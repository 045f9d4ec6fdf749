"""Start and stop the replicas of a cluster."""

from __future__ import annotations

import os
from typing import Any

from scale import environment
from scale.replica import Replica

PREFIX = "replica-"
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
    """
    import ray

    wanted = [f"{PREFIX}{number}" for number in range(count)]
    for name in set(names()) - set(wanted):
        ray.kill(ray.get_actor(name))
    passed_on = {k: v for k, v in os.environ.items() if k.startswith(_PASSED_ON)}
    made = [
        ray.remote(Replica)
        .options(
            name=name,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_concurrency=THREADS,
            num_cpus=cpus,
            num_gpus=gpus,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": passed_on},
        )
        .remote(setup)
        for name in wanted
    ]
    ray.get([replica.status.remote() for replica in made])
