"""Pictures of no digit, for LeNet-5: how well does a low probability tell them?

    python -m benchmarks.unknown_digits --data DIR

Known pictures are MNIST's 10,000 test digits as they are, and moved and redrawn as in training.
Outside are photographs and textures of scikit-image, colour noise, letters of Pillow's own font
that look like no digit, and two digits side by side. For thresholds on the largest probability it
prints the share of each kind that stays below, and of the digits that were read rightly. Then how
many printed digits are read rightly.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.unknown import _noise, _textures
from core.nets import lenet
from training import digits
from training import lenet as recipe
from training.common import WEIGHTS

PHOTOGRAPHS = (
    *("astronaut", "camera", "chelsea", "clock_motion", "coffee", "coins", "color", "horse"),
    *("ihc", "microaneurysms", "motorcycle_left", "phantom", "retina", "rocket"),
)
LETTERS = "ACDEFGHJKMNPRTUVWXY"  # not B, I, L, O, Q, S, Z
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def printed(text: str, side: int = 200, share: float = 0.6, angle: float = 0.0) -> Image.Image:
    """Dark text on white paper, in Pillow's own font, whose height is a `share` of the side."""
    font = ImageFont.load_default(side * share)
    page = Image.new("L", (side, side), 245)
    ImageDraw.Draw(page).text((side / 2, side / 2), text, 30, font, anchor="mm")
    return page.rotate(angle, Image.Resampling.BILINEAR, fillcolor=245).convert("RGB")


def outside() -> dict[str, list[Image.Image]]:
    """The pictures of each kind."""
    return {
        "photographs": list(_photographs()),
        "textures": list(_textures()),
        "noise": list(_noise()),
        "letters": [printed(letter, angle=angle) for letter in LETTERS for angle in (-8, 0, 8)],
        "two digits": [printed(f"{number}", share=0.5) for number in range(10, 100)],
    }


def _photographs() -> Iterator[Image.Image]:
    """The whole, and the middle of it."""
    import skimage

    for name in PHOTOGRAPHS:
        file = next((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))
        image = Image.open(file).convert("RGB")
        yield image
        width, height = image.size
        yield image.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4))


@torch.inference_mode()
def probabilities(model: lenet.LeNet, pictures: Iterable[Image.Image]) -> torch.Tensor:
    """(N, 10) of pictures as the app reads them."""
    return model(torch.cat([lenet.transform(np.asarray(one)) for one in pictures])).softmax(1)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS / f"{recipe.KEY}.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = recipe.load(options.weights)
    pictures, labels = digits.read(options.data, "test")
    torch.manual_seed(0)
    small = digits.padded(pictures)
    found = dict[str, tuple[torch.Tensor, torch.Tensor]]()
    with torch.inference_mode():
        for name, x in (("plain", small), ("redrawn", digits.drawn(digits.moved(small)))):
            scores = model(lenet.normalised(x)).softmax(1)
            found[name] = scores.amax(1), scores.argmax(1) == labels
    others = {kind: probabilities(model, made).amax(1) for kind, made in outside().items()}
    print("below " + " ".join(f"{kind:>12}" for kind in (*found, *others)))
    for threshold in THRESHOLDS:
        doubted = [best[right] < threshold for best, right in found.values()]
        doubted += [best < threshold for best in others.values()]
        shares = (100 * float(one.float().mean()) for one in doubted)
        print(f"{threshold:5.2f} " + " ".join(f"{share:12.1f}" for share in shares))
    for share in (0.4, 0.55, 0.7, 0.85):
        shown = [printed(str(n), share=share, angle=a) for n in range(10) for a in (-10, 0, 10)]
        read = probabilities(model, shown).argmax(1).view(10, 3)
        right = int((read == torch.arange(10)[:, None]).sum())
        print(f"printed, {share:.0%} of the side: {right} of {read.numel()} read rightly")


if __name__ == "__main__":
    main()
