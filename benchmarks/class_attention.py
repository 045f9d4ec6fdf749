"""How much of the class attention of the classify starter lies on the object.

ECSSD has a mask of the main object in each picture, and the recipe never sees ECSSD. The share of
the attention inside the mask is compared with chance, the share of the area, and with a class
activation map: the evidence for the trunk's class at each position, as weights. The view is the
app's, 11 x 11 positions.

    python -m benchmarks.class_attention --data DIR
    python -m benchmarks.class_attention --sheet FILE.jpg --pictures PICTURE …
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw

from core.nets import hybrid, transforms, trunk
from training import classify as recipe
from training import classify_features as features
from training.common import WEIGHTS

EVERY = 4  # of ECSSD's 1,000 pictures


def ecssd(data: Path) -> tuple[list[Path], torch.Tensor]:
    """The pictures, and the share of each position that the mask covers, (N, grid * grid).

    Raises:
        SystemExit: ECSSD is missing.
    """
    files = sorted((data / "ecssd" / "images").glob("*.jpg"))[::EVERY]
    if not files:
        raise SystemExit(f"No pictures in {data / 'ecssd'}: see training/DATA.md.")
    return files, torch.stack([covered(mask_of(path)) for path in files])


def mask_of(picture: Path) -> Path:
    """The mask of a picture of ECSSD."""
    return picture.parent.parent / "ground_truth_mask" / f"{picture.stem}.png"


def covered(mask: Path) -> torch.Tensor:
    """(grid * grid,) share of each position in the app's view that the mask covers."""
    with Image.open(mask) as image:
        rgb = np.asarray(image.convert("L").convert("RGB"))
    seen = trunk.transform(features.VIEW)(rgb)[:, :1] * trunk.STD[0] + trunk.MEAN[0]
    inside = (seen > 0.5).float()  # (1, 1, s, s)
    return torch.nn.functional.adaptive_avg_pool2d(inside, features.GRID).flatten()


def shares(model: hybrid.HybridViT, data: Path) -> dict[str, float]:
    """Mean shares in %: of the class attention, of the class activation map, and of the area; and
    in how many pictures the attention is above the area."""
    files, inside = ecssd(data)
    views = features.measured(data, files, "ecssd")
    _, weights = recipe.predict(model, views)
    attention = (weights.mean(1) * inside).sum(1)
    evidence = (activation_maps(model, views) * inside).sum(1)
    area = inside.mean(1)
    return {
        "class attention": 100 * float(attention.mean()),
        "class activation map": 100 * float(evidence.mean()),
        "area": 100 * float(area.mean()),
        "pictures above chance": 100 * float((attention > area).float().mean()),
    }


@torch.inference_mode()
def activation_maps(model: hybrid.HybridViT, views: features.Views) -> torch.Tensor:
    """(N, grid * grid) positive evidence of the trunk's best class at each position, sum 1.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization", 2016.
    """
    weight = cast(torch.Tensor, model.head.weight)
    best = torch.from_numpy(views.answers.argmax(1).astype(np.int64))
    parts = []
    for i in range(0, len(best), 50):
        maps = features.as_maps(views.maps[i : i + 50]).flatten(2)  # (B, 1280, grid * grid)
        parts.append(torch.einsum("bc,bcn->bn", weight[best[i : i + 50]], maps))
    evidence = torch.cat(parts).clamp(min=0)
    return evidence / evidence.sum(1, keepdim=True).clamp(min=1e-9)


def painted(model: hybrid.HybridViT, picture: Path) -> Image.Image:
    """The app's view of a picture and, beside it, the same lit by the class attention."""
    rgb = np.asarray(features.opened(picture, whole=True))
    x = trunk.transform(features.VIEW)(rgb)
    with torch.inference_mode():
        teacher = features.Teacher()
        glance = teacher.maps(trunk.transform(trunk.CLASSES)(rgb)).mean((2, 3))
        logits, weights = model.read(teacher.maps(x), glance)
    light = weights.mean(1).view(1, 1, features.GRID, features.GRID)
    light = torch.nn.functional.interpolate(light, x.shape[-2:], mode="bilinear")
    light = (light / light.max()) ** 0.7
    shown = x * trunk.STD[0] + trunk.MEAN[0]
    both = transforms.to_rgb(torch.cat([shown, shown * (0.15 + 0.85 * light)], 3))
    sheet = Image.fromarray(both).resize((320, 160))
    best = trunk.imagenet_names()[int(logits.argmax())].split(",")[0]
    said = f"{best} {float(logits.softmax(1).max()):.0%}"
    ImageDraw.Draw(sheet).text((4, 146), said, (255, 255, 0))
    return sheet


def main() -> None:
    """Print the shares; with --sheet, also paint the attention on photographs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS / f"{recipe.KEY}.safetensors")
    parser.add_argument("--sheet", type=Path, help="a JPEG to write")
    parser.add_argument("--pictures", type=Path, nargs="+", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = recipe.load(options.weights, features.Teacher().classifier)
    if options.data:
        for name, share in shares(model, options.data).items():
            print(f"{name}: {share:.1f} %")
    if options.sheet:
        tiles = [painted(model, path) for path in options.pictures]
        whole = Image.new("RGB", (3 * 324, -(-len(tiles) // 3) * 164), "white")
        for i, tile in enumerate(tiles):
            whole.paste(tile, (i % 3 * 324, i // 3 * 164))
        whole.save(options.sheet, quality=88)


if __name__ == "__main__":
    main()
