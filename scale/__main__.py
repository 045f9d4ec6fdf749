"""Have a number of replicas: python -m scale 4 --gpus 1

Without RAY_ADDRESS it starts Ray on this machine, reachable only from here, and ends it when it is
ended itself. With RAY_ADDRESS (`auto` on a machine of the cluster) it changes the replicas of that
cluster and leaves them there. docs/scaling.md walks through both.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from scale import cluster, environment


def main() -> int:
    """Start the replicas."""
    parser = argparse.ArgumentParser(prog="python -m scale", description=(__doc__ or "").strip())
    parser.add_argument("replicas", type=int, help="how many; 0 ends those of a cluster")
    parser.add_argument("--gpus", type=float, default=0, help="of each replica, also 0.5")
    parser.add_argument("--cpus", type=float, default=1, help="cores set aside for each")
    asked = parser.parse_args()
    if asked.replicas < 0 or asked.gpus < 0 or asked.cpus < 0:
        parser.error("replicas, gpus and cpus are 0 or more")
    try:
        ray = cluster.connect(start=True)
    except ImportError:
        print(environment.MISSING, file=sys.stderr)
        return 1
    except ConnectionError:
        print(environment.NO_CLUSTER, file=sys.stderr)
        return 1
    try:
        cluster.scale_to(asked.replicas, asked.gpus, asked.cpus)
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return 1
    address = ray.get_runtime_context().gcs_address
    print(f"{asked.replicas} replicas run in the cluster at {address}.", flush=True)
    if "RAY_ADDRESS" not in os.environ:
        print("Ctrl+C ends them.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            signal.pause()
        except KeyboardInterrupt:
            ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
