"""A hybrid ViT: transformer blocks on the last map of EfficientNet-Lite0, for its 1,000 classes.

The hybrid of the ViT paper (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021): patches are
positions of a CNN's feature map, here 11 x 11 of 1,280 channels. Blocks and attention are timm's.
They are narrow, and a narrow class token would lose classes. So one more layer reads the answer
(`Readout`): the class token attends to the patches, and the values are the trunk's own vectors in
full width. The trunk's class layer classifies their weighted mean. With equal weights that is the
trunk itself, which is where training begins.

The trunk answers best at its published view, of fewer and relatively larger positions. So the mean
vector of that view, the glance, joins the weighted mean with a fixed share.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn


class Readout(nn.Module):
    """Class attention whose values are the trunk's vectors, each head with its share of channels.

    Source: class attention, Touvron et al., "Going deeper with Image Transformers", 2021.

    Args:
        dim: width of the tokens.
        channels: of the trunk's map.
        heads: divides both.
    """

    def __init__(self, dim: int, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.correction = nn.Linear(dim, channels)
        for layer in (self.q, self.correction):  # equal weights and no correction: the trunk
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def weights(self, cls: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """(B, D) and (B, N, D) -> (B, heads, N), each row a softmax over the patches."""
        batch, count, dim = patches.shape
        size = dim // self.heads
        q = self.q(cls).view(batch, self.heads, 1, size)
        k = self.k(patches).view(batch, count, self.heads, size).transpose(1, 2)
        scores = (q * size**-0.5) @ k.transpose(2, 3)  # (B, heads, 1, N)
        return scores.squeeze(2).softmax(-1)

    def forward(
        self, cls: torch.Tensor, weights: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """The class token (B, D), (B, heads, N) and the trunk's (B, N, C) -> (B, C)."""
        batch, count, channels = values.shape
        split = values.view(batch, count, self.heads, channels // self.heads).transpose(1, 2)
        mean = (weights[:, :, None] @ split).reshape(batch, channels)  # each head its channels
        return mean + self.correction(cls)


class HybridViT(VisionTransformer):
    """timm's VisionTransformer with class and register tokens, and a `Readout`.

    A "picture" is the trunk's map, (B, channels, grid, grid), with the trunk's mean vector of its
    published view, (B, channels) -> (B, classes) logits. `blocks` and `readout` hold the attention;
    `head` is the trunk's class layer.
    """

    def __init__(self, arch: dict[str, Any]) -> None:
        super().__init__(
            img_size=arch["grid"],
            patch_size=1,
            in_chans=arch["channels"],
            num_classes=0,
            global_pool="token",
            embed_dim=arch["dim"],
            depth=arch["depth"],
            num_heads=arch["heads"],
            mlp_ratio=arch["mlp_ratio"],
            reg_tokens=arch["registers"],
            init_values=arch["layer_scale"],
        )
        self.glance = float(arch["glance"])
        self.readout = Readout(arch["dim"], arch["channels"], arch["heads"])
        self.head = nn.Linear(arch["channels"], arch["classes"])

    def read(
        self,
        maps: torch.Tensor,
        glance: torch.Tensor | None = None,
        keep: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, classes), and the class attention (B, heads, N) that they are made with.

        Args:
            maps: (B, channels, grid, grid).
            glance: (B, channels) mean vector of the published view; None: of what is attended to
                alone, as in training.
            keep: (B, N) numbers of the patches to read, without the others; None for all.
        """
        x = self._pos_embed(self.patch_embed(maps))  # (B, 1 + registers + grid * grid, D)
        values = maps.flatten(2).transpose(1, 2)  # (B, grid * grid, channels)
        if keep is not None:
            prefix, patches = x.split([self.num_prefix_tokens, values.shape[1]], dim=1)
            x = torch.cat([prefix, _taken(patches, keep)], dim=1)
            values = _taken(values, keep)
        x = self.norm(self.blocks(x))
        cls = x[:, 0]
        weights = self.readout.weights(cls, x[:, self.num_prefix_tokens :])
        vector = self.readout(cls, weights, values)
        if glance is not None:
            vector = vector.lerp(glance.to(vector.dtype), self.glance)
        return self.head(vector), weights

    def forward(  # type: ignore[override]  # timm's second input is a mask
        self, x: torch.Tensor, glance: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(B, channels, grid, grid) and (B, channels) -> (B, classes)."""
        return self.read(x, glance)[0]


def build(arch: dict[str, Any]) -> HybridViT:
    """Build the network from plain values; also under `torch.device("meta")`.

    Args:
        arch: `grid` and `channels` of the trunk's map, `dim`, `depth`, `heads` (of the blocks and
        of the readout), `mlp_ratio`, `registers`, `layer_scale`, `classes`, and the share of the
        `glance`, 0..1.
    """
    return HybridViT(arch)


def begin(model: HybridViT, classifier: nn.Linear) -> None:
    """Make a new network answer as the trunk: its class layer, and tokens that hold what it reads.

    The patches are projected to the directions in which the class layer differs most.
    """
    with torch.no_grad():
        weight = classifier.weight - classifier.weight.mean(0)  # a shift of all classes is nothing
        _, _, directions = torch.linalg.svd(weight, full_matrices=False)
        projection = cast(nn.Conv2d, model.patch_embed.proj)
        projection.weight.copy_(directions[: projection.out_channels, :, None, None])
        nn.init.zeros_(projection.bias)  # type: ignore[arg-type]
    model.head.load_state_dict(classifier.state_dict())
    model.head.requires_grad_(False)


def _taken(tokens: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    return tokens.gather(1, keep[:, :, None].expand(-1, -1, tokens.shape[2]))
