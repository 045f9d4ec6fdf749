"""Write the trained detectors as starters that read the trunk's own maps:
`python -m training.detectors_export --runs DIR --to FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from core.nets import detector
from core.sources import state_dicts
from training import detectors_data as data

State = dict[str, torch.Tensor]
KEYS = {"cnn": "detect-cnn-starter", "rt-detr": "detect-starter"}
CLASSES = tuple(
    {"aeroplane": "airplane", "diningtable": "dining table", "pottedplant": "potted plant",
     "tvmonitor": "tv"}.get(name, name)
    for name in data.CLASSES
)  # fmt: skip


def whole(state: State, basis: State) -> State:
    """The lean model's weights as those of transformers' model on the trunk's own maps.

    The stored maps are linear in the trunk's: `(head - mu) @ P` and `(rest - lm) / ls`. That goes
    into the first convolutions, its constant part into the mean of their batch norm. Branches that
    training leaves out get weights that add nothing.
    """
    full = detector.build(detector.config(CLASSES)).state_dict()
    for name, value in full.items():
        if name in state and state[name].shape == value.shape:
            full[name] = state[name].clone()
        elif ".conv2." in name and "bottlenecks" in name:
            full[name] = torch.ones_like(value) if "running_var" in name else value * 0
        elif "decoder_input_proj" in name and name.endswith("0.weight"):
            full[name] = torch.eye(len(value)).view_as(value)
        elif "decoder_input_proj" in name and name.endswith("1.weight"):
            full[name] = torch.ones_like(value)
        elif "decoder_input_proj" in name and "running_var" in name:
            full[name] = torch.ones_like(value) - 1e-5
    mean, span = basis["lm"], basis["ls"]
    for level in (0, 1):
        prefix = f"model.encoder_input_proj.{level}"
        weight = state[f"{prefix}.0.weight"][..., 0, 0]
        head, rest = weight[:, : data.HEAD] @ basis["P"].T, weight[:, data.HEAD :]
        constant = head @ basis["mu"]
        if level == 0:
            constant = constant + rest @ (mean / span)
            rest = rest / span
        full[f"{prefix}.0.weight"] = torch.cat([head, rest], 1)[..., None, None]
        full[f"{prefix}.1.running_mean"] = state[f"{prefix}.1.running_mean"] + constant
    return full


def lean(full: State, many: State, basis: State) -> State:
    """The lean model's weights of an exported RT-DETR, as the inverse of `whole`; `many` are those
    of the convolutional detector that was exported with it."""
    state = {name: value.float() for name, value in full.items()}
    back = torch.linalg.pinv(basis["P"])
    for level in (0, 1):
        prefix = f"model.encoder_input_proj.{level}"
        weight = state[f"{prefix}.0.weight"][..., 0, 0]
        head, rest = weight[:, : detector.HEAD], weight[:, detector.HEAD :]
        constant = head @ basis["mu"]
        if level == 0:
            constant = constant + rest @ basis["lm"]
            rest = rest * basis["ls"]
        state[f"{prefix}.0.weight"] = torch.cat([head @ back.T, rest], 1)[..., None, None]
        state[f"{prefix}.1.running_mean"] = state[f"{prefix}.1.running_mean"] - constant
    for part in ("weight", "bias"):
        state[f"model.many_score_head.{part}"] = many[f"enc_score_head.{part}"].float()
    return state


def export(
    state: State, basis: State, folder: Path, shifts: dict[str, float] | None = None
) -> dict[str, Path]:
    """Write both starters; the convolutional one leaves the decoder out.

    `shifts` are added to the logits of what each answers, so that one threshold suits both.
    """
    full = whole(state, basis)
    move = {"cnn": 0.0, "rt-detr": 0.0} | (shifts or {})
    last = max(name for name in full if "decoder.class_embed" in name and name.endswith("bias"))
    full[last] = full[last] + move["rt-detr"]
    paths = {}
    for kind, key in KEYS.items():
        settings = {
            "kind": kind,
            "trunk": {"size": 16 * data.GRID},
            "classes": list(CLASSES),
            "detr": detector.config(CLASSES).to_diff_dict(),
        }
        own = full
        if kind == "cnn":
            own = {
                name.removeprefix("model."): value
                for name, value in full.items()
                if not name.startswith("model.decoder.")
            }
            many = "model.many_score_head"
            own["enc_score_head.weight"] = state[f"{many}.weight"]
            own["enc_score_head.bias"] = state[f"{many}.bias"] + move["cnn"]
        paths[kind] = folder / f"{key}.safetensors"
        state_dicts.save_starter(paths[kind], own, "detect", settings)
    return paths


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--state", default="last.pt")
    parser.add_argument("--shift", type=float, nargs=2, default=(0.0, 0.0), help="CNN, RT-DETR")
    options = parser.parse_args()
    state = torch.load(options.runs / options.state, weights_only=True)
    basis = torch.load(options.runs / "basis.pt", weights_only=True)
    options.to.mkdir(parents=True, exist_ok=True)
    shifts = dict(zip(KEYS, options.shift, strict=True))
    print(export(state["ema"], basis, options.to, shifts))


if __name__ == "__main__":
    main()
