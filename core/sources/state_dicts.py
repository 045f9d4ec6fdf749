"""Read weight files without running code from them, and load them into models built on `meta`.

A starter file is fp16 safetensors whose header carries two strings: `task` (one of the tasks of
`core.checkpoints`) and `config` (JSON for that task's builder), so the file alone describes its
model.
"""

from __future__ import annotations

import json
import math
import re
import threading
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save_file

from core.errors import CheckpointError, DamagedFile

StateDict = dict[str, torch.Tensor]
# While loading, transformers replaces functions of its own and of torch for the whole process; of
# two concurrent loads the second would permanently restore the first one's replacements.
_transformers = threading.Lock()

WRAPPERS = ("params_ema", "params", "state_dict", "model")
_FLOATS = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
# Counters, and tables that a model computes from its sizes. Some library versions save them, others
# do not, and no result depends on them.
_HARMLESS = re.compile(
    r"(^|\.)(num_batches_tracked|position_ids|relative_position_index|relative_coords_table"
    r"|attn_mask|total_ops|total_params)$"
)
_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2}


def save_starter(path: Path, state: StateDict, task: str, config: dict[str, Any]) -> None:
    """Write floats as fp16 safetensors with `task` and `config` in the header."""
    small = {
        name: (t.half() if t.is_floating_point() else t).detach().cpu().contiguous().clone()
        for name, t in state.items()
    }
    save_file(small, path, {"format": "pt", "task": task, "config": json.dumps(config)})


def read_header(path: Path) -> tuple[str, dict[str, Any]]:
    """(task, config) of a starter file; ("", {}) for any other safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return metadata.get("task", ""), json.loads(metadata.get("config", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFile(f"{path.name} is damaged or is not a safetensors file.") from error


def starter_config(path: Path, task: str) -> dict[str, Any] | None:
    """The config in a starter's header; None for a file that is not a starter of `task`."""
    if path.suffix != ".safetensors":
        return None
    found, config = read_header(path)
    return config if found == task else None


def json_beside(path: Path, name: str) -> dict[str, Any]:
    """The object in the JSON file `name` in a weight file's folder; {} if there is none."""
    try:
        content = json.loads(path.with_name(name).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DamagedFile(f"The {name} beside {path.name} cannot be read.") from error
    if not isinstance(content, dict):
        raise DamagedFile(f"The {name} beside {path.name} cannot be read.")
    return content


def config_beside(path: Path) -> dict[str, Any]:
    """The config.json beside a transformers weight file, which cannot be read without it.

    Raises:
        CheckpointError: there is none.
        DamagedFile: it cannot be read.
    """
    config = json_beside(path, "config.json")
    if not config:
        raise CheckpointError(f"{path.name} needs its config.json beside it.")
    return config


def float32_bytes(path: Path) -> int:
    """Bytes that the tensors of a safetensors file take once their floats are float32."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - not a dict
            return sum(
                math.prod(s.get_shape())
                * (4 if s.get_dtype() in _FLOATS else _BYTES.get(s.get_dtype(), 1))
                for s in slices
            )
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{path.name} is damaged or is not a safetensors file.") from error


def read(path: Path, mapped: bool = True) -> StateDict:
    """The tensors of a `.safetensors`, `.pth`, `.pt` or `.bin` file, floats as float32.

    Pickles are read with `weights_only=True`, whatever the environment says. Wrappers added by
    training scripts (`model`, `state_dict`, `params`, `params_ema`) are removed.

    Args:
        mapped: float32 safetensors stay on disk until used. Only for files that nobody rewrites: if
        a mapped file shrinks, the process dies.

    Raises:
        DamagedFile: the file is truncated, or holds something other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path) if mapped else load(path.read_bytes())
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"The weight file {path.name} does not exist.") from error
    except MemoryError:
        raise
    except Exception as error:  # the unpickler raises a dozen kinds; same meaning here
        raise DamagedFile(f"{path.name} is damaged or is not a weight file.") from error
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise DamagedFile(f"{path.name} does not contain a plain table of weights.")
    return {k: t.float() if t.is_floating_point() else t for k, t in state.items()}


def assign(model: torch.nn.Module, state: StateDict, name: str) -> torch.nn.Module:
    """Load `state` into `model` (built on `meta`) without copying; every key must match.

    Buffers that are in no file keep their values; see `has_meta`. Keys that `is_harmless` accepts
    may be left over.

    Raises:
        CheckpointError: keys are missing or left over, or a shape differs.
    """
    try:
        result = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise _other_shape(name) from error
    refuse_mismatch(name, result.missing_keys, result.unexpected_keys)
    return model.eval().requires_grad_(False)


def has_meta(model: torch.nn.Module) -> bool:
    """Whether a tensor still lacks its values: a buffer that is in no state dict."""
    return any(t.is_meta for t in (*model.parameters(), *model.buffers()))


def is_harmless(key: str) -> bool:
    """Whether a model without this key gives the same results: a counter or fixed table."""
    return _HARMLESS.search(key) is not None


def refuse_mismatch(name: str, missing: list[str], surplus: list[str]) -> None:
    """Raise CheckpointError if a file lacks keys of the model, or has unknown ones.

    Unknown keys that are harmless are ignored.
    """
    surplus = [key for key in surplus if not is_harmless(key)]
    if missing or surplus:
        example = (missing or surplus)[0]
        raise CheckpointError(
            f"{name} does not fit its model: {len(missing)} weights missing, "
            f"{len(surplus)} unknown (for example {example}); choose another file."
        )


def from_pretrained(model_class: Any, config: Any, state: StateDict, name: str) -> torch.nn.Module:
    """A transformers model of `config` with the weights of `state`; every key must match.

    Keys that `is_harmless` accepts may be left over. transformers builds on `meta` and renames the
    keys of files written by older versions.

    Raises:
        CheckpointError: keys are missing or left over, or a shape differs.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it would write into the server's log
    # The backbone's weights are in `state`; otherwise timm would look for its own.
    parts: list[Any] = [config, getattr(config, "backbone_config", None)]
    for part in parts:
        if getattr(part, "use_pretrained_backbone", None):
            part.use_pretrained_backbone = False
    try:
        with _transformers:
            model, report = model_class.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=torch.float32,  # as `read` returns, whatever the config says
                output_loading_info=True,
            )
    except RuntimeError as error:
        raise _other_shape(name) from error
    if report.get("mismatched_keys"):
        raise _other_shape(name)
    refuse_mismatch(name, sorted(report["missing_keys"]), sorted(report["unexpected_keys"]))
    return model.eval().requires_grad_(False)


def restoration_net(state: StateDict) -> Any:
    """The descriptor of the network that spandrel recognises in `state`.

    spandrel accepts no extra keys, so harmless ones that its network lacks are removed after its
    error has named them.
    Raises:
        spandrel.UnsupportedModelError, or whatever its network raises on unsuitable keys.
    """
    from spandrel import ModelLoader

    loader = ModelLoader(device="cpu")
    try:
        return loader.load_from_state_dict(state)
    except RuntimeError as error:
        unknown = _harmless_surplus(str(error)) & state.keys()
        if not unknown:
            raise
    return loader.load_from_state_dict({k: t for k, t in state.items() if k not in unknown})


def _harmless_surplus(message: str) -> set[str]:
    """The harmless ones among the keys that PyTorch reports as unknown."""
    told = message.partition("Unexpected key(s) in state_dict: ")[2].partition("\n")[0]
    return {key for key in re.findall(r'"([^"]+)"', told) if is_harmless(key)}


def _other_shape(name: str) -> CheckpointError:
    return CheckpointError(
        f"{name} has weights whose shapes do not fit its model; choose another file."
    )
