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
# What differs from the library's defaults, which are those of Hiera tiny.
HIERA: dict[str, dict[str, Any]] = {
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "base-plus": {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}
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
    if name.startswith("sam2.1-hiera-"):
        from transformers import Sam2Config, Sam2Model, Sam2VisionConfig

        backbone = HIERA[name.removeprefix("sam2.1-hiera-")]
        vision = Sam2VisionConfig(
            backbone_config={"model_type": "sam2_hiera_det_model", **backbone}
        )
        if channels := backbone.get("embed_dim_per_stage"):
            vision.backbone_channel_list = channels[::-1]
        return Sam2Model(Sam2Config(vision_config=vision.to_dict()))
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
