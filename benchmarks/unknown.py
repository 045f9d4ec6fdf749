"""Pictures of none of ImageNet's 1,000 classes: how well does a low score tell them?

    python -m benchmarks.unknown --data DIR

Known pictures are ImageNet's validation pictures among Imagenette's (ten classes). Outside ones are
faces, drawings, flowers and things without a class, textures and noise, none of them among the
views that the starter learned from. For the trunk and for the starter it prints how well two scores
separate them, the largest probability and the energy, and then, for thresholds on the first, the
share of each kind that stays below.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from training import classify as recipe
from training import classify_features as features
from training.common import WEIGHTS

#: kind -> folders of pictures that no class of ImageNet names, below the data folder
OUTSIDE = {
    "faces": ("caltech101/101_ObjectCategories/Faces",),
    "drawings": tuple(
        f"caltech101/101_ObjectCategories/{name}"
        for name in ("garfield", "snoopy", "yin_yang", "stegosaurus")
    ),
    "flowers": tuple(
        f"flower_photos/dataset/train/{name}"
        for name in ("dandelion", "roses", "sunflowers", "tulips")
    ),
    "things": tuple(
        f"caltech101/101_ObjectCategories/{name}"
        for name in ("dollar_bill", "menorah", "emu", "inline_skate")
    ),
}
EACH = 40  # pictures of a kind
TEXTURES = ("brick", "grass", "gravel", "page", "moon", "hubble_deep_field", "cell", "text")
THRESHOLDS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


def outside(data: Path) -> dict[str, list[Path]]:
    """The files of each kind.

    Raises:
        SystemExit: a folder lacks pictures.
    """
    config = recipe.Config()
    learned = set(features.chosen_files(data, config.views, config.loop.seed))
    found = dict[str, list[Path]]()
    for kind, folders in OUTSIDE.items():
        count = EACH // len(folders)
        found[kind] = []
        for folder in folders:
            files = [p for p in sorted((data / folder).glob("*.jpg")) if p not in learned]
            if len(files) < count:
                raise SystemExit(f"No pictures in {data / folder}: see training/DATA.md.")
            found[kind] += files[:: len(files) // count][:count]
    made = data / ".cache" / "outside"
    made.mkdir(parents=True, exist_ok=True)
    for kind, pictures in (("textures", _textures()), ("noise", _noise())):
        found[kind] = []
        for number, picture in enumerate(pictures):
            path = made / f"{kind}-{number}.png"
            picture.save(path)
            found[kind].append(path)
    return found


def _textures() -> Iterator[Image.Image]:
    """Squares of scikit-image's pictures without an object."""
    import skimage

    for name in TEXTURES:
        file = next((Path(skimage.__file__).parent / "data").glob(f"{name}.*"))
        image = Image.open(file).convert("RGB")
        side = min(image.size) * 2 // 3
        for left, top in ((0, 0), (image.width - side, image.height - side)):
            yield image.crop((left, top, left + side, top + side))


def _noise() -> Iterator[Image.Image]:
    """Random pixels and clouds of several sizes, in colour."""
    for seed in range(16):
        pixels = np.random.default_rng(seed).integers(0, 256, (360, 360, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2.0 ** (seed % 6) - 1))
        array = np.asarray(image).astype(float)
        spread = (array - array.min()) / max(np.ptp(array), 1)
        yield Image.fromarray((255 * spread).astype(np.uint8))


def separation(known: np.ndarray, other: np.ndarray) -> float:
    """Area under the ROC curve: how often a known picture scores higher than another one."""
    return float((known[:, None] > other).mean() + (known[:, None] == other).mean() / 2)


def logits(data: Path, weights: Path) -> tuple[dict[str, dict[str, torch.Tensor]], torch.Tensor]:
    """Of the trunk and the starter, by kind of picture ("known" is one); and the known classes."""
    kinds = outside(data)
    classifier = features.Teacher().classifier
    model = recipe.load(weights, classifier)
    files = [p for kind in kinds.values() for p in kind]
    others = features.measured(data, files, "outside")
    known = features.measured(data, features.held_out_files(data), "held-out")
    names = np.repeat(list(kinds), [len(kind) for kind in kinds.values()])
    found = dict[str, dict[str, torch.Tensor]]()
    for who in ("trunk", "starter"):
        answers = [
            torch.from_numpy(v.answers.astype(np.float32))
            if who == "trunk"
            else recipe.predict(model, v)[0]
            for v in (known, others)
        ]
        by_kind = {kind: answers[1][torch.from_numpy(names == kind)] for kind in kinds}
        found[who] = {"known": answers[0], **by_kind}
    return found, torch.from_numpy(known.labels)


def main() -> None:
    """Print both tables for both networks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS / f"{recipe.KEY}.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found, truth = logits(options.data, options.weights)
    for who, kinds in found.items():
        best = {kind: x.softmax(1).amax(1).numpy() for kind, x in kinds.items()}
        energy = {kind: x.logsumexp(1).numpy() for kind, x in kinds.items()}
        for name, scores in (("probability", best), ("energy", energy)):
            apart = [separation(scores["known"], v) for k, v in scores.items() if k != "known"]
            listed = ", ".join(
                f"{k} {a:.2f}"
                for k, a in zip(OUTSIDE | {"textures": 0, "noise": 0}, apart, strict=True)
            )
            print(f"{who}, {name}: area {np.mean(apart):.3f} ({listed})")
        right = kinds["known"].argmax(1).eq(truth).numpy()
        print("below " + " ".join(f"{k:>9}" for k in best) + "   right ones   of other kinds")
        for threshold in THRESHOLDS:
            shares = {k: 100 * float((v < threshold).mean()) for k, v in best.items()}
            rest = np.mean([v for k, v in shares.items() if k != "known"])
            lost = 100 * float((best["known"][right] < threshold).mean())
            row = " ".join(f"{share:9.0f}" for share in shares.values())
            print(f"{threshold:5.2f} {row} {lost:12.0f} {rest:16.0f}")


if __name__ == "__main__":
    main()
