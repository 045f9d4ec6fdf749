"""Write the trained networks as starters that read the trunk's own maps, and score them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from core import images, semantic
from core.nets import semantic as nets
from core.nets import trunk
from core.sources import state_dicts
from training import semantic_data, voc_masks
from training.detectors_export import CLASSES
from training.detectors_maps import VIEW, Basis

State = dict[str, torch.Tensor]
KEYS = {"fcn": "semantic-fcn-starter", "unet": "semantic-unet-starter"}
NAMES = ("background", *CLASSES)


def whole(state: State, basis: Basis) -> State:
    """The weights of one network for the trunk's own 1,280 channels.

    The stored ones are `(head - mu) @ P`: the projection goes into the first convolution, its
    constant part into the mean of the batch norm behind it.
    """
    weight = state["reduce.0.weight"][..., 0, 0] @ basis["P"].T
    return state | {
        "reduce.0.weight": weight[..., None, None],
        "reduce.1.running_mean": state["reduce.1.running_mean"] + weight @ basis["mu"],
    }


def export(
    state: Mapping[str, torch.Tensor], basis: Basis, widths: dict[str, int], paths: dict[str, Path]
) -> None:
    """Write the starters of `state`, both networks' weights under the names of their kinds."""
    for kind, path in paths.items():
        own = {
            name.removeprefix(f"{kind}."): value
            for name, value in state.items()
            if name.startswith(f"{kind}.")
        }
        settings = {
            "kind": kind,
            "width": widths[kind],
            "trunk": trunk.KEY,
            "view": {"size": VIEW.size, "crop": VIEW.crop, "dilated": VIEW.dilated},
            "classes": list(NAMES),
        }
        state_dicts.save_starter(path, whole(own, basis), "semantic", settings)


def load(path: Path) -> torch.nn.Module:
    """The network of a starter's file."""
    with torch.device("meta"):
        net = nets.from_settings(state_dicts.starter_config(path, "semantic") or {})
    return state_dicts.assign(net, state_dicts.read(path), path.name)


def classes_of(net: torch.nn.Module, rgb: images.RGB) -> semantic_data.Labels:
    """(H, W) class numbers of a picture."""
    maps, _ = trunk.read(rgb, VIEW)
    with torch.inference_mode():
        logits = net(maps.head, maps.stride16, maps.stride8)[0]
    return semantic.enlarged(logits, (rgb.shape[0], rgb.shape[1]))


def score(path: Path, voc: Path) -> dict[str, float]:
    """Mean IoU over the held-out pictures at their own size, and the IoU of each class."""
    counts, net = np.zeros((len(NAMES), len(NAMES))), load(path)
    for name in voc_masks.held_out_names(voc):
        found = classes_of(net, images.read(voc_masks.picture(voc, name)))
        counts += semantic_data.agreement(found, voc_masks.read(voc, name), len(NAMES))
    each = semantic_data.iou(counts)
    return {"mean": float(np.nanmean(each))} | dict(zip(NAMES, each.round(3).tolist(), strict=True))
