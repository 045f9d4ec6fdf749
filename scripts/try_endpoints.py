"""Call every endpoint of a running hub once; each must answer.

Usage: python -m scripts.try_endpoints [http://127.0.0.1:7860]

For a hub that was set up elsewhere, such as a Space or a container: it tells which endpoints do not
work there, with what they said. Arguments are the endpoints' own defaults and examples.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

PICTURE = Path(__file__).resolve().parent.parent / "examples" / "small.png"
#: What has no default: of each endpoint, or of all with such a parameter.
GIVEN: dict[str, Any] = {
    "points": [[30, 30, 1]],
    "/segment_everything": {"points_per_side": 4},
    "/motion": {"image": None},  # its own clip
}


def arguments(name: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """The values to send besides the endpoint's defaults."""
    own = dict(GIVEN.get(name, {}))
    for parameter in parameters:
        key = parameter["parameter_name"]
        if key in own:
            continue
        if key == "image":
            own[key] = handle_file(PICTURE)
        elif key in GIVEN:
            own[key] = GIVEN[key]
    return own


def call_all(client: Client) -> dict[str, str]:
    """Every endpoint with what was wrong with its answer, or ""."""
    offered = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    return {name: fault(client, name, known["parameters"]) for name, known in offered.items()}


def fault(client: Client, name: str, parameters: list[dict[str, Any]]) -> str:
    """What is wrong with an endpoint's answer, or ""."""
    try:
        answer = client.predict(api_name=name, **arguments(name, parameters))
    except (AppError, ValueError, OSError) as error:
        return str(error)
    return "" if answer not in (None, ()) else "answered nothing"


def main() -> int:
    """Print a line for each; 1 if one did not answer."""
    parser = argparse.ArgumentParser(description="Call every endpoint of a running hub once.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:7860")
    faults = call_all(Client(parser.parse_args().url, verbose=False, httpx_kwargs={"timeout": 120}))
    for name, said in faults.items():
        print(f"{name}: {said or 'answered'}")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
