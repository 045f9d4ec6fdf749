"""SAM's image encoder on a CPU: the same results in less time.

segment_anything builds the whole (heads, N, N) attention table, 800 MB for the 64 x 64 places of a
global layer, and goes through it five times. Here a global layer is computed for a few rows of
places at a time, so that their part of the table stays in the CPU cache. In the small windows of
the other layers, relative positions become extra entries of queries and keys: the query's terms
for rows and columns, times each key's row and column as one-hot vectors. The convolution that makes
patches returns channels first in memory while all later layers use channels last, so the order is
changed once instead of at each normalisation and sum.
Source: Li et al., "MViTv2", 2022, for the decomposed relative positions.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, PatchEmbed, get_rel_pos
from torch import nn

from core.cpu.own_ways import OwnWay

TILE = 2**20  # table entries at a time: 2 to 4 MB
WINDOW = 256  # up to this many places the whole table is small


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
    """`PatchEmbed` with the same parameters. (B, C, H, W) -> contiguous (B, H/p, W/p, D)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).contiguous()


def speed_up(encoder: nn.Module) -> None:
    """Use these layers in an encoder of segment_anything; other encoders are left alone.

    Does nothing if they do not work on this machine.
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
    """(B, N, c) queries (scaled), keys and values; the query terms for rows and columns."""
    height, width = rows.shape[-1], columns.shape[-1]
    in_row = torch.eye(height, dtype=k.dtype).repeat_interleave(width, 0)  # (N, H)
    in_column = torch.eye(width, dtype=k.dtype).repeat(height, 1)  # (N, W)
    places = torch.cat([in_row, in_column], -1).expand(len(k), -1, -1)
    queries = torch.cat([q, rows.flatten(1, 2), columns.flatten(1, 2)], -1)
    return (queries @ torch.cat([k, places], -1).transpose(-2, -1)).softmax(-1) @ v


def _in_tiles(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """The same for many places: one head and a few rows of queries at a time."""
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
    """One windowed and one tiled layer, compared with segment_anything's own."""
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
