"""One subcommand per task: JSON to standard output, a picture to `--output`.

    vision-hub serve --port 8000
    vision-hub classify cat.jpg --top-k 3
    vision-hub segment cat.jpg --point 200,150 --output mask.jpg
    vision-hub super-resolve small.png --scale 4 --output large.png

Bad input ends with one sentence on standard error and exit status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import HubError, InputError

if TYPE_CHECKING:
    from core.images import RGB
    from core.types import Restoration

Options = argparse.Namespace
LOSSY = (".jpg", ".jpeg")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit status."""
    options = parser().parse_args(arguments)
    try:
        if "picture" in options and not options.picture.is_file():
            raise InputError(f"There is no file {options.picture}.")
        answer = options.run(options)
    except HubError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    if answer is not None:
        print(json.dumps(answer, indent=2, ensure_ascii=False))  # noqa: T201
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets `run`, a function of the options."""
    top = argparse.ArgumentParser(
        prog="vision-hub", description="Try and understand vision models on your own pictures."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    serve_options(commands.add_parser("serve", help="serve the page and the HTTP API"))
    one = commands.add_parser("checkpoints", help="list every checkpoint as JSON")
    one.set_defaults(run=checkpoints)

    def task(name: str, run: Callable[[Options], object], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.add_argument("picture", type=Path, help="the picture's file")
        added.add_argument("--checkpoint", default="auto", help="a key of `vision-hub checkpoints`")
        added.add_argument("--output", type=Path, help="where to write a picture (PNG or JPEG)")
        added.set_defaults(run=run)
        return added

    one = task("classify", classify, "the most probable classes")
    one.add_argument("--top-k", type=int, default=5, help="how many classes (default 5)")
    one.add_argument("--temperature", type=float, default=1.0, help="of the softmax (default 1)")
    one = task("detect", detect, "boxes with labels")
    one.add_argument("--threshold", type=float, default=0.7, help="lowest score (default 0.7)")
    one.add_argument(
        "--words",
        default="",
        help='what to look for, such as "a cat, a red cup", for grounding-dino-tiny',
    )
    one = task("segment", segment, "the mask of points and a box")
    one.add_argument(
        "--point", type=numbers, action="append", default=[], metavar="X,Y[,LABEL]",
        help="in pixels; label 1 (default) includes, 0 excludes; may be repeated",
    )  # fmt: skip
    one.add_argument("--box", type=numbers, metavar="X1,Y1,X2,Y2", help="in pixels")
    one = task("everything", everything, "masks of everything in the picture")
    one.add_argument("--points-per-side", type=int, default=16, help="of the grid (default 16)")
    one = task("reconstruct", reconstruct, "hide patches and fill them in")
    one.add_argument("--mask-ratio", type=float, default=0.75, help="share hidden (default 0.75)")
    one.add_argument("--seed", type=int, default=0, help="which patches are hidden (default 0)")
    one = task("denoise", denoise, "remove noise")
    one.add_argument("--sigma", type=float, help="grey levels; estimated if omitted")
    one = task("super-resolve", super_resolve, "enlarge")
    one.add_argument("--scale", type=int, default=2, help="2 (default) or 4")
    task("deblur", deblur, "sharpen a blurred picture")
    return top


def serve_options(one: argparse.ArgumentParser) -> None:
    """Options of `serve`; everything else comes from environment variables, as documented."""
    one.add_argument("--host", help="address to serve on (default 127.0.0.1)")
    one.add_argument("--port", type=int, help="port to serve on (default 7860)")
    one.add_argument("--share", action="store_true", help="ask for a public link")
    one.set_defaults(run=serve)


def numbers(text: str) -> list[float]:
    """`"10,20.5"` as [10.0, 20.5], for argparse."""
    return [float(part) for part in text.split(",")]


def serve(options: Options) -> None:
    """Serve until interrupted."""
    chosen = {
        "VISION_HUB_HOST": options.host,
        "VISION_HUB_PORT": options.port,
        "SHARE": "1" if options.share else None,
    }
    os.environ.update({name: str(value) for name, value in chosen.items() if value is not None})
    import app  # reads the environment when it is imported

    app.main()


def checkpoints(_: Options) -> list[dict[str, object]]:
    """Every checkpoint with its task, tier, size and licence."""
    from core.sources import resolver

    return resolver.listing()


def classify(options: Options) -> dict[str, object]:
    """Classes, best first."""
    from core import classify as task

    if options.output is not None:
        raise InputError("classify makes no picture; omit --output.")
    found = task.predict(options.picture, options.checkpoint, options.top_k, options.temperature)
    rows = [
        {"label": label, "confidence": float(score)}
        for label, score in zip(found.labels, found.scores, strict=True)
    ]
    return {"confidences": rows, "info": found.about()}


def detect(options: Options) -> dict[str, object]:
    """Boxes above the threshold, best first."""
    from core import detect as task
    from core import images
    from core.imaging import draw

    rgb = images.from_any(options.picture)
    found = task.predict(rgb, options.checkpoint, options.threshold, words=options.words)
    if options.output is not None:
        save(draw.boxes(rgb, found), options.output)
    return {**found.to_dict(), "info": found.info.to_dict()}


def segment(options: Options) -> dict[str, object]:
    """Masks of the prompt as COCO run lengths, the best first."""
    from core import images
    from core import segment as task
    from core.imaging import coco, draw

    points = [point if len(point) == 3 else [*point, 1] for point in options.point]
    rgb = images.from_any(options.picture)
    found = task.predict(rgb, points, options.box, options.checkpoint)
    if options.output is not None:
        save(draw.masks(rgb, found.masks[:1]), options.output)
    size = (rgb.shape[1], rgb.shape[0])
    document = coco.document(list(found.masks), found.scores.tolist(), size)
    return {**document, "info": found.info.to_dict()}


def everything(options: Options) -> dict[str, object]:
    """Every mask as COCO run lengths."""
    from core import images
    from core import segment as task
    from core.imaging import coco, draw

    rgb = images.from_any(options.picture)
    found, info = task.everything(rgb, options.checkpoint, options.points_per_side)
    if options.output is not None:
        save(draw.masks(rgb, [one.mask for one in found]), options.output)
    size = (rgb.shape[1], rgb.shape[0])
    document = coco.document((one.mask for one in found), (one.score for one in found), size)
    return {**document, "info": info.to_dict()}


def reconstruct(options: Options) -> dict[str, object]:
    """The reconstruction with the visible patches pasted in."""
    from core import reconstruct as task

    found = task.predict(options.picture, options.checkpoint, options.mask_ratio, options.seed)
    path = save(found.pasted, output(options, "reconstructed"))
    return {"picture": path, "hidden_mse": found.hidden_mse, "info": found.info.to_dict()}


def denoise(options: Options) -> dict[str, object]:
    """The picture without noise."""
    from core import restore

    found = restore.denoise(options.picture, options.checkpoint, options.sigma)
    return restored(options, found, "denoised")


def super_resolve(options: Options) -> dict[str, object]:
    """The picture, enlarged."""
    from core import restore

    found = restore.super_resolve(options.picture, options.checkpoint, options.scale)
    return restored(options, found, f"x{options.scale}")


def deblur(options: Options) -> dict[str, object]:
    """The picture, sharper."""
    from core import restore

    return restored(options, restore.deblur(options.picture, options.checkpoint), "deblurred")


def restored(options: Options, found: Restoration, word: str) -> dict[str, object]:
    """Write a restored picture, and report its path."""
    path = save(found.image, output(options, word))
    size = [found.image.shape[1], found.image.shape[0]]
    known: dict[str, Any] = {} if found.sigma is None else {"sigma": found.sigma}
    return {"picture": path, "image_size": size, **known, "info": found.info.to_dict()}


def output(options: Options, word: str) -> Path:
    """The requested file, or `<picture>-<word>.png` in the current folder."""
    return options.output or Path(f"{options.picture.stem}-{word}.png")


def save(rgb: RGB, path: Path) -> str:
    """Write a picture in the format of its suffix; return its path.

    Raises:
        InputError: the name ends in neither .png nor .jpg.
        ResourceError: the path is not writable.
    """
    from core import images

    suffix = path.suffix.lower()
    if suffix not in (*LOSSY, ".png"):
        raise InputError(f"{path.name} must end in .png or .jpg.")
    write = images.save_jpeg if suffix in LOSSY else images.save_png
    return str(write(rgb, path))
