"""The cost of each image encoder of Segment for one picture, relative to SAM ViT-B.

    python -m benchmarks.encoders [--rounds 3] [sam-vit-l …]

CPU seconds of one encoder pass through `core.segment.embed` in fp32, with random weights, since the
time does not depend on them; the starter has its own. The encoders take turns, so that other work
on the machine affects all of them, and the minimum of each counts. Without names, the large ViT-L
and ViT-H are skipped.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE = "sam-vit-b"
QUICK = ("segment-starter", "sam2.1-hiera-tiny", "slimsam-50")
SIZE = (768, 1024)


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", help=f"default: {' '.join(QUICK)}")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = [REFERENCE, *(options.names or QUICK)]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            write_random(name, Path(folder) / name)
        os.environ["VISION_HUB_CHECKPOINTS"] = folder
        os.environ["VISION_HUB_PRECISION"] = "fp32"
        os.environ["VISION_HUB_DEVICE"] = "cpu"
        least = measure(names, options.rounds)
    print(f"{SIZE[0]} x {SIZE[1]} pixels, load {os.getloadavg()[0]:.1f}")
    for name in names:
        share = least[name] / least[REFERENCE]
        print(f"{name:18} {least[name]:8.2f} s {share:8.2g} of {REFERENCE}")


def write_random(name: str, folder: Path) -> None:
    """Random weights for a checkpoint in the catalogue, readable as a user's own checkpoint."""
    import torch

    if name == "segment-starter":
        return
    torch.manual_seed(0)
    folder.mkdir()
    made = network(name)
    if hasattr(made, "save_pretrained"):
        made.save_pretrained(folder)
    else:
        torch.save(made.state_dict(), folder / "model.pth")


def network(name: str) -> Any:
    """The network of a full segment checkpoint, without weights."""
    if name == "slimsam-50":
        from transformers import SamConfig, SamModel

        return SamModel(SamConfig(vision_config={"hidden_size": 384, "mlp_dim": 1536}))
    if name == "sam2.1-hiera-tiny":
        from transformers import Sam2Config, Sam2Model

        return Sam2Model(Sam2Config())  # the library's defaults are those of Hiera tiny
    from segment_anything import sam_model_registry

    return sam_model_registry[name.removeprefix("sam-").replace("-", "_")]()


def measure(names: list[str], rounds: int) -> dict[str, float]:
    """The minimum CPU seconds of a pass for each encoder, after a warm-up pass."""
    from core.sam import models
    from core.serving import runtime
    from core.sources import resolver

    own = {c.source.split("/")[-2]: c.key for c in resolver.of_task("segment") if c.tier == "own"}
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    least = dict.fromkeys(names, float("inf"))
    for number in range(rounds + 1):
        for name in names:
            with runtime.run("segment", own.get(name, name), models.build) as run:
                started = time.process_time()
                runtime.outputs().clear()
                models.embedding(run, models.picture(rgb))
                seconds = time.process_time() - started
            if number:
                least[name] = min(least[name], seconds)
    return least


if __name__ == "__main__":
    main()
