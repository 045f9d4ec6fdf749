"""Published weight files without their weights: key names and shapes, and numbers to put in.

`published_keys/<checkpoint>.json` holds what the file of one catalogue entry is made of. Numbers
come from a formula over the key names, so that another program (an older library, the authors' own
code) can be given the very same network, and its answer be kept beside the names. Needs NumPy only,
because old environments import it too.
"""

from __future__ import annotations

import itertools
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent / "published_keys"
Spec = tuple[tuple[int, ...], str]  # shape, and dtype as safetensors names it
PERIOD = 65537  # a prime, so that rows of a matrix do not repeat


def load(key: str) -> dict[str, Any]:
    """What is known of the published file of a catalogue entry."""
    return json.loads((FOLDER / f"{key}.json").read_text("utf-8"))


# --- names and shapes ---


def pack(keys: Mapping[str, Spec]) -> list[list[Any]]:
    """Keys with the numbers in them taken out: [pattern, dtype, shape, places]."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[tuple[int, ...]]] = {}
    for name, (shape, dtype) in keys.items():
        pattern = re.sub(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)", "#", name)
        places = tuple(int(n) for n in re.findall(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)", name))
        groups.setdefault((pattern, dtype, shape), []).append(places)
    return [[p, d, list(s), _short(places)] for (p, d, s), places in groups.items()]


def _short(places: list[tuple[int, ...]]) -> str:
    """ "0-11" or "1,2,7" for one number, with a * between numbers that all go with each other."""
    columns = [sorted(set(column)) for column in zip(*places, strict=True)]
    if set(itertools.product(*columns)) == set(places):
        return "*".join(_ranges(column) for column in columns)
    return " ".join(".".join(map(str, place)) for place in sorted(places))


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def unpack(packed: list[list[Any]]) -> dict[str, Spec]:
    """The keys that were packed."""
    keys: dict[str, Spec] = {}
    for pattern, dtype, shape, places in packed:
        for place in _places(places):
            numbers = iter(place)
            name = re.sub("#", lambda _, n=numbers: str(next(n)), pattern)
            keys[name] = (tuple(shape), dtype)
    return keys


def _places(text: str) -> Iterator[tuple[int, ...]]:
    if "." in text:
        yield from (tuple(map(int, place.split("."))) for place in text.split(" "))
        return
    columns = [
        [n for run in column.split(",") for n in _run(run)] for column in text.split("*") if column
    ]
    yield from itertools.product(*columns)


def _run(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


# --- numbers ---


def _base() -> np.ndarray:
    """PERIOD numbers in -1 … 1 from a congruential generator; the same on every machine."""
    values, state = np.empty(PERIOD, np.float32), 12345
    for i in range(PERIOD):
        state = (1103515245 * state + 12345) % 2**31
        values[i] = state / 2**30 - 1
    return values


_BASE = _base()


def numbers(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 in -1 … 1 that depend on the name alone."""
    start = zlib.crc32(name.encode()) % PERIOD
    return np.resize(np.roll(_BASE, -start), shape)


def tensor(name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The value of one key: of a size that keeps a signal through the layers about as large."""
    # One table under two names in the SAMs of transformers.
    name = name.replace("prompt_encoder.shared_embedding.", "shared_image_embedding.")
    last = name.rpartition(".")[2]
    if last == "relative_position_index":
        return _window_index(round(shape[0] ** 0.5))
    if last == "attn_mask":
        return _shift_mask(shape[0], round(shape[1] ** 0.5))
    if dtype != "F32":
        return np.zeros(shape, np.int64)
    u = numbers(name, shape)
    if last == "running_var" or (len(shape) == 1 and last == "weight"):
        return 1 + 0.2 * u
    if len(shape) <= 1:
        return 0.1 * u
    return u * np.float32((3 / np.prod(shape[1:])) ** 0.5)


def _window_index(side: int) -> np.ndarray:
    """Swin's table (N, N): which entry of the bias table holds for a pair of places in a window."""
    y, x = np.divmod(np.arange(side * side), side)
    rows = y[:, None] - y[None] + side - 1
    columns = x[:, None] - x[None] + side - 1
    return (rows * (2 * side - 1) + columns).astype(np.int64)


def _shift_mask(windows: int, side: int) -> np.ndarray:
    """Swin's mask (windows, N, N) for a picture of windows shifted by half of one."""
    across = round(windows**0.5)
    whole = across * side
    line = np.arange(whole)
    part = (line >= whole - side).astype(int) + (line >= whole - side // 2)
    regions = 3 * part[:, None] + part[None]
    tiles = regions.reshape(across, side, across, side).swapaxes(1, 2).reshape(windows, -1)
    return np.where(tiles[:, None] != tiles[:, :, None], -100.0, 0.0).astype(np.float32)


# --- answers ---


def summary(answer: np.ndarray) -> dict[str, Any]:
    """A few numbers of an output: its shape, mean, spread and eight values."""
    flat = np.asarray(answer, np.float64).ravel()
    places = np.linspace(0, flat.size - 1, 8).astype(int)
    return {
        "shape": list(answer.shape),
        "mean": float(f"{flat.mean():.7g}"),
        "std": float(f"{flat.std():.7g}"),
        "values": [float(f"{flat[i]:.7g}") for i in places],
    }
