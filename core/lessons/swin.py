"""Swin Transformer: windows, shifted windows, attention inside them, and merged patches.

Each stage cuts its grid of patches into windows, and a patch looks only at those of its window. In
every second block the windows are shifted by half of one, so that neighbours from different windows
meet. Between stages 2 x 2 patches become one. The scores of one forward pass are kept, so blocks,
heads and patches cost no other pass; the geometry needs no weights at all.
Source: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from core import checks, classify, images
from core.checkpoints import by_key
from core.errors import InputError
from core.nets import tokens, transforms
from core.sources import resolver
from core.sources.resolver import Progress
from core.types import RunInfo

KEY = "swin-tiny"  # of which the geometry is drawn if no other Swin is chosen
CROP = 0.9  # share of the shorter side that it sees


class NotSwin(InputError):
    """The model is no Swin Transformer."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its `stage` and `number` there, both from 0; the `grid` (rows, columns) of
    patches, `window` (rows, columns) and `shift` (down, right) in patches, `heads`, and `dim`
    numbers for each patch."""

    stage: int
    number: int
    grid: tuple[int, int]
    window: tuple[int, int]
    shift: tuple[int, int]
    heads: int
    dim: int

    @property
    def windows(self) -> tuple[int, int]:
        """How many windows the block has, (rows, columns)."""
        return -(-self.grid[0] // self.window[0]), -(-self.grid[1] // self.window[1])


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The blocks of a Swin, and what they computed on one picture.

    `scores[i]` is (windows, heads, n, n) float32 of block i, with windows row by row and the n
    patches of a window row by row: QKᵀ / √d, without the position bias. `biases[i]` is (heads,
    2 h - 1, 2 w - 1), the relative position bias, whose middle belongs to the patch itself. Without
    weights both are empty, `info` is None and `missing` says why in one sentence. `seen` is the
    part of the picture that the model sees, (x1, y1, x2, y2) in pixels.
    """

    name: str
    blocks: tuple[Block, ...]
    scores: tuple[NDArray[np.float32], ...]
    biases: tuple[NDArray[np.float32], ...]
    seen: tuple[float, float, float, float]
    info: RunInfo | None = None
    missing: str = ""

    def __post_init__(self) -> None:
        for block, scores in zip(self.blocks, self.scores, strict=False):
            count, n = int(np.prod(block.windows)), int(np.prod(block.window))
            if scores.shape != (count, block.heads, n, n):
                raise ValueError(f"scores {scores.shape}, block {block}")

    def weights(
        self, block: int, head: int, row: int, column: int, bias: bool = True
    ) -> NDArray[np.float32]:
        """(rows, columns) of the block's grid: what a patch takes from each; 0 outside its window.

        Args:
            head: -1 is the mean of all.
            bias: False leaves the relative position bias out.

        Raises:
            InputError: there is no such block, head or patch, or there are no weights.
        """
        if not self.scores:
            raise InputError(self.missing or "There are no weights to compute attention with.")
        block = checks.whole(block, "The block", 0, len(self.blocks) - 1)
        one = self.blocks[block]
        head = checks.whole(head, "The head", -1, one.heads - 1)
        row = checks.whole(row, "The row", 0, one.grid[0] - 1)
        column = checks.whole(column, "The column", 0, one.grid[1] - 1)
        window, place = placed(one)
        mine, inside = window[row, column], place[row, column]
        scores = self.scores[block][mine, :, inside].astype(np.float64)  # (heads, n)
        if bias:
            scores = scores + unfolded(self.biases[block], one.window)[:, inside]
        part = regions(one, padded=True).reshape(-1)
        cells = _cells_of(one, mine)  # (n,) of the padded, shifted grid
        scores = scores + np.where(part[cells] == part[cells[inside]], 0.0, -100.0)
        found = softmax(scores, axis=1)
        of_head = found.mean(0) if head < 0 else found[head]
        grid = np.zeros(one.grid, np.float32)
        grid[window == mine] = of_head[place[window == mine]]
        return grid


def look(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Windows:
    """Windows and attention of a Swin Transformer on one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`; for any that is no Swin, and "auto", Swin-T stands
            in. If its weights are not on this machine, the result has the geometry alone.
        progress: called during a download with (fraction, message).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    key = _swin(checkpoint)
    why = ""
    if key:
        try:
            found = classify.inside(picture, key, "swin", scores_of, _facts, progress)
        except NotSwin as error:
            why = str(error)
        else:
            blocks, biases = found.facts
            scores = tuple(x[0].numpy() for x in found.tensors)
            known = by_key(found.info.checkpoint)
            name = known.title if known else found.info.checkpoint
            return Windows(name, blocks, scores, biases, found.seen, found.info)
    one = by_key(KEY)
    title = one.title if one else "Swin-T"
    missing = why or f"The attention needs the weights of {title}, which are not on this machine."
    seen = transforms.seen(picture.size, CROP)
    return Windows(title, geometry(), (), (), seen, None, missing)


@lru_cache(maxsize=4)
def geometry(arch: str = "swin_tiny_patch4_window7_224") -> tuple[Block, ...]:
    """The blocks of a Swin of timm, without weights.

    Raises:
        NotSwin: it is another architecture.
    """
    import timm

    with torch.device("meta"):
        return blocks_of(timm.create_model(arch))


def blocks_of(model: Any) -> tuple[Block, ...]:
    """The blocks of a model in order.

    Raises:
        NotSwin: it is no Swin Transformer (of the first version).
    """
    from timm.models.swin_transformer import SwinTransformer

    if not isinstance(model, SwinTransformer):
        raise NotSwin("This model has no windows; choose a Swin Transformer.")
    found = []
    layers: Any = model.layers
    for stage, layer in enumerate(layers):
        for number, block in enumerate(layer.blocks):
            window, shift = (_pair(x) for x in (block.window_size, block.shift_size))
            grid = _pair(block.input_resolution)
            found.append(
                Block(stage, number, grid, window, shift, int(block.attn.num_heads), int(block.dim))
            )
    return tuple(found)


def scores_of(model: Any, *x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Run the model on (B, 3, s, s); return for each block (B, windows, heads, n, n) float32.

    The inputs of the attention layers are recorded during the pass, and the layers' own weights
    make queries and keys of them. No hook stays.
    """
    layers = [block.attn for stage in model.layers for block in stage.blocks]
    with tokens.inputs_of(layers) as inputs:
        model(*x)
    batch = len(x[0])
    return tuple(_scores(layer, inputs[i], batch) for i, layer in enumerate(layers))


def _scores(layer: Any, x: torch.Tensor, batch: int) -> torch.Tensor:
    """(B * windows, n, C) -> (B, windows, heads, n, n) of one attention layer."""
    count, n, _ = x.shape
    parts = layer.qkv(x).reshape(count, n, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    scores = (parts[0] * layer.scale) @ parts[1].transpose(-2, -1)
    return scores.float().reshape(batch, count // batch, layer.num_heads, n, n)


def placed(block: Block) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each patch of the grid, (rows, columns) each: its window, and its place in the window."""
    (rows, columns), (h, w) = block.grid, block.window
    y = (np.arange(rows) - block.shift[0]) % rows  # the picture is rolled before it is cut
    x = (np.arange(columns) - block.shift[1]) % columns
    window = (y // h)[:, None] * block.windows[1] + (x // w)[None]
    return window, (y % h)[:, None] * w + (x % w)[None]


def regions(block: Block, padded: bool = False) -> NDArray[np.intp]:
    """(rows, columns) of the grid: patches that may look at each other, if in the same window.

    Rolling brings the picture's opposite edges together in one window; they get different numbers
    here, and the model masks them from each other.

    Args:
        padded: give it for the rolled grid, padded to whole windows, instead.
    """
    lines = []
    for length, side, shift in zip(block.grid, block.window, block.shift, strict=True):
        whole = -(-length // side) * side
        place = np.arange(whole)
        late = np.zeros(whole, np.intp)
        if any(block.shift):
            late = (place >= whole - side).astype(np.intp) + (place >= whole - shift)
        lines.append(late)
    found = 3 * lines[0][:, None] + lines[1][None]
    if padded:
        return found
    inside = found[: block.grid[0], : block.grid[1]]
    return np.roll(inside, block.shift, (0, 1))


def unfolded(bias: NDArray[np.float32], window: tuple[int, int]) -> NDArray[np.float32]:
    """(heads, 2 h - 1, 2 w - 1) -> (heads, n, n): the bias of each pair of places in a window."""
    y, x = np.divmod(np.arange(window[0] * window[1]), window[1])
    rows = y[:, None] - y[None] + window[0] - 1
    columns = x[:, None] - x[None] + window[1] - 1
    return bias[:, rows, columns]


def _cells_of(block: Block, window: int) -> NDArray[np.intp]:
    """(n,) numbers of a window's cells in the rolled, padded grid."""
    (h, w), across = block.window, block.windows[1]
    rows = (window // across) * h + np.arange(h)
    columns = (window % across) * w + np.arange(w)
    return (rows[:, None] * (across * w) + columns[None]).reshape(-1)


def _facts(model: Any) -> tuple[tuple[Block, ...], tuple[NDArray[np.float32], ...]]:
    blocks = blocks_of(model)
    layers = [block.attn for stage in model.layers for block in stage.blocks]
    biases = []
    for layer, block in zip(layers, blocks, strict=True):
        h, w = block.window
        table = layer.relative_position_bias_table.detach().float().cpu().numpy()
        biases.append(table.T.reshape(block.heads, 2 * h - 1, 2 * w - 1))
    return blocks, tuple(biases)


def _swin(checkpoint: str) -> str:
    """The checkpoint to run: that one if it is or may be a Swin, else Swin-T if it is here."""
    if checkpoint != "auto":
        chosen = resolver.find(checkpoint, "classify")
        if chosen.arch.startswith("swin") or (chosen.tier == "own" and not chosen.arch):
            return chosen.key
    one = by_key(KEY)
    return KEY if one is not None and resolver.is_ready(one) else ""


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return int(value[0]), int(value[1])
