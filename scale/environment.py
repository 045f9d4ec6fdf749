"""Ray's own settings, which it reads when it is imported: who may connect, and from where."""

from __future__ import annotations

import os

NAMESPACE = "vision-hub"
MISSING = "VISION_HUB_BACKEND=ray needs Ray; please run pip install -r requirements-scale.txt."

NO_CLUSTER = "There is no Ray cluster here; start one with python -m scale 2, or set RAY_ADDRESS."


def prepare() -> None:
    """Require Ray's token, send no usage figures, and stay on this machine unless RAY_ADDRESS names
    a cluster.

    Whoever can connect to Ray can run any code. Without a token, Ray asks nobody. Ray makes the
    token in ~/.ray/auth_token, readable by this user; the other machines need a copy.
    """
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_ADDRESS" not in os.environ:
        # Ray replaces 127.0.0.1 by the address of the machine and listens everywhere, except with
        # this switch, which it sets itself on Windows and macOS.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
