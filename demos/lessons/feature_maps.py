"""Classify: what each layer of the network makes of the picture."""

from __future__ import annotations

from typing import Any

from core import images
from core.errors import InputError
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.viewers.feature_maps import FeatureMapView, packed


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import feature_maps as lesson

    found = lesson.look(picture, checkpoint)
    filters = None if found.filters is None else lesson.as_pictures(found.filters)
    value = packed(picture.load(), found, filters)
    return value, ui.info_html(found.info, f"{len(found.layers)} layers")


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import feature_maps as lesson

    return code_of(lesson.look, picture.name or "picture.png", checkpoint=checkpoint)


def feature_maps(
    image: images.RGB, checkpoint: str = "auto", layer: str = "", channels: int = 8
) -> dict[str, Any]:
    """Show what the channels of a layer of a classifier make of the picture.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        layer: Name of the layer, such as "layer1.0"; the last if empty. The answer lists them.
        channels: How many channels, 1 to 64, those that vary most first.

    Returns:
        The layer, the numbers of its channels and their values (c, h, w); the names of all layers;
        and the part of the picture that the model saw.
    """
    from core.lessons import feature_maps as lesson

    if channels != int(channels) or not 1 <= channels <= lesson.MOST_CHANNELS:
        raise InputError(f"The channels must be a whole number, 1 to {lesson.MOST_CHANNELS}.")
    found = lesson.look(ui.required(image), checkpoint)
    one, some = found.layer(layer or -1), int(channels)
    return {
        "layer": one.name,
        "size": list(one.size),
        "count": one.count,
        "channels": one.channels[:some].tolist(),
        "values": [
            [[float(f"{v:.4g}") for v in row] for row in channel] for channel in one.maps[:some]
        ],
        "layers": [each.name for each in found.layers],
        "seen": [round(value, 1) for value in found.seen],
        "info": found.info.to_dict(),
    }


LESSON = Lesson(
    key="feature-maps",
    title="What each layer sees",
    tab="classify",
    about="Every channel of a layer is a small picture: bright where it found its pattern. Go "
    "through the layers, and click a channel to lay it over the picture.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: FeatureMapView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=30,
    code=_code,
    endpoint=Endpoint("feature_maps", feature_maps, ("image", "text", "text", "number"), ("json",)),
)
