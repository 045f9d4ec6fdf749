"""SAM's image encoder on a processor, with the same answers in less time.

segment_anything makes the whole (heads, N, N) table of attention, 800 MB for the 64 x 64 places of
a global layer, and goes through it five times. Here a global layer is computed for some rows of
places at a time, so that their part of the table stays in the processor's cache. In the small
windows of the other layers the relative positions are further entries of queries and keys: what a
query gives to a row and to a column times the row and column of each key, as one-hot vectors.
And its patches come out of a convolution with the channels first in memory, where all layers after
it have them last: they are brought into that order once, instead of at each normalisation and sum.
Source: Li et al., "MViTv2", 2022, for the decomposed relative positions.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, PatchEmbed, get_rel_pos
from torch import nn

from core.cpu.own_ways import OwnWay

TILE = 2**20  # entries of the table at a time: 2 to 4 MB
WINDOW = 256  # places up to which the whole table is small


class TiledAttention(Attention):
    """`Attention` with the same parameters. (B, H, W, C) -> (B, H, W, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type != "cpu" or not self.use_rel_pos:
            return super().forward(x)
        return TILED.run(lambda: self._tiled(x), lambda: Attention.forward(self, x))

    def _tiled(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)  # (B * heads, H * W, C/heads)
        grid = q.reshape(-1, height, width, q.shape[-1])
        to_rows = get_rel_pos(height, height, self.rel_pos_h)  # (H, H, C/heads)
        to_columns = get_rel_pos(width, width, self.rel_pos_w)
        rows = torch.einsum("bhwc,hkc->bhwk", grid, to_rows).contiguous()  # (B * heads, H, W, H)
        columns = torch.einsum("bhwc,wkc->bhwk", grid, to_columns).contiguous()
        attend = _in_window if height * width <= WINDOW else _in_tiles
        mixed = attend(q * self.scale, k, v, rows, columns)
        mixed = mixed.view(batch, self.num_heads, height, width, -1).permute(0, 2, 3, 1, 4)
        return self.proj(mixed.reshape(batch, height, width, channels))


class OrderedPatchEmbed(PatchEmbed):
    """`PatchEmbed` with the same parameters. (B, C, H, W) -> (B, H/p, W/p, D), in that order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).contiguous()


def speed_up(encoder: nn.Module) -> None:
    """Let the layers of an encoder of segment_anything be computed so; other encoders stay.

    Does nothing where that does not work on this machine.
    """
    if not TILED.works():
        return
    faster: dict[type[nn.Module], type[nn.Module]] = {
        Attention: TiledAttention,
        PatchEmbed: OrderedPatchEmbed,
    }
    for layer in encoder.modules():
        if type(layer) in faster:
            layer.__class__ = faster[type(layer)]


def _in_window(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """(B, N, c) queries (scaled), keys and values; what queries give to rows and columns."""
    height, width = rows.shape[-1], columns.shape[-1]
    in_row = torch.eye(height, dtype=k.dtype).repeat_interleave(width, 0)  # (N, H)
    in_column = torch.eye(width, dtype=k.dtype).repeat(height, 1)  # (N, W)
    places = torch.cat([in_row, in_column], -1).expand(len(k), -1, -1)
    queries = torch.cat([q, rows.flatten(1, 2), columns.flatten(1, 2)], -1)
    return (queries @ torch.cat([k, places], -1).transpose(-2, -1)).softmax(-1) @ v


def _in_tiles(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """The same for many places: one head at a time, and of that a few rows of queries."""
    places, width = k.shape[1], columns.shape[-1]
    step = max(1, TILE // (width * places))
    mixed = torch.empty_like(q)
    for head in range(len(q)):
        keys = k[head].t()
        for top in range(0, places // width, step):
            there = slice(top * width, (top + step) * width)
            bias = rows[head, top : top + step, :, :, None]
            bias = (bias + columns[head, top : top + step, :, None, :]).reshape(-1, places)
            table = torch.addmm(bias, q[head, there], keys)  # (step * W, N)
            mixed[head, there] = table.softmax(-1) @ v[head]
    return mixed


def _trial() -> bool:
    """One layer in a window and one in tiles, against segment_anything's own."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        return all(_agrees(height, width) for height, width in ((3, 5), (4, WINDOW // 4 + 1)))


def _agrees(height: int, width: int) -> bool:
    layer = TiledAttention(8, num_heads=2, use_rel_pos=True, input_size=(height, width))
    torch.nn.init.normal_(layer.rel_pos_h)
    torch.nn.init.normal_(layer.rel_pos_w)
    x = torch.randn(1, height, width, 8)
    with torch.autocast("cpu", enabled=False):
        return torch.allclose(layer._tiled(x), Attention.forward(layer, x), atol=1e-4)


TILED = OwnWay("attention in tiles", _trial)
