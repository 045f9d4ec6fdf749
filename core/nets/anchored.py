"""torchvision's detectors with anchors, Faster R-CNN, RetinaNet and SSD, before their last NMS.

RetinaNet and SSD predict classes and a box for each anchor of a pyramid. Faster R-CNN first
predicts at the anchors only where something is; its best proposals are cut out of the pyramid
(RoIAlign), and a second network gives each of them classes and a box. All need non-maximum
suppression at the end.
The steps are the library's own; only its last one is left to `Anchored.answers`.
Sources: Ren et al., "Faster R-CNN", 2015; Lin et al., "Feature Pyramid Networks", 2017, and "Focal
Loss for Dense Object Detection" (RetinaNet), 2017; Liu et al., "SSD: Single Shot MultiBox
Detector", 2016; Howard et al., "Searching for MobileNetV3" (SSDLite), 2019, through torchvision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from core.nets import anchored_steps as steps
from core.nets.postprocess import Found, corners


@dataclass(frozen=True, slots=True, eq=False)
class Anchored:
    """What a detector with anchors predicts before its last NMS: K pairs of box and class.

    The pairs are those of `Inside.logits` (K, 1) and `Inside.boxes` (K, 4), best first.

    Args:
        classes: (K,) numbers. levels: (K,) of the pyramid, 0 is the finest.
        rows: (K,) of `proposals`, from which each was made; -1 in a detector of one stage.
        proposals: (P, 4) xyxy in 0..1 of the first stage, best first; P is 0 without one.
        objectness: (P,) scores of the proposals. proposal_levels: (P,) from which they are cut.
        crops: (P, 7, 7) float32, the length of the features that the second stage gets.
        fired: the best score at every place, finest level first, flattened into one.
        shapes: (rows, columns) of each level. per_place: anchors at each place.
        iou, most: of the NMS at the end, and how many boxes it leaves.
    """

    classes: NDArray[np.int64]
    levels: NDArray[np.int64]
    rows: NDArray[np.int64]
    proposals: NDArray[np.float32]
    objectness: NDArray[np.float32]
    proposal_levels: NDArray[np.int64]
    crops: NDArray[np.float32]
    fired: NDArray[np.float32]
    shapes: tuple[tuple[int, int], ...]
    per_place: int
    iou: float
    most: int

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        each = (getattr(self, name) for name in self.__slots__)
        return sum(one.nbytes for one in each if isinstance(one, np.ndarray))

    def answers(
        self,
        logits: NDArray[np.float32],
        boxes: NDArray[np.float32],
        threshold: float,
        size: tuple[int, int],
    ) -> Found:
        """The post-processing of torchvision: NMS within each class, and the best of the rest.

        Args:
            logits: (K, 1) of sigmoids. boxes: (K, 4) cxcywh in 0..1. size: (W, H) of the picture.

        Returns:
            (N, 4) boxes clipped to the picture, (N,) scores descending, (N,) class indices.
        """
        from torchvision.ops import batched_nms

        scores = 1 / (1 + np.exp(-logits[:, 0]))
        above = scores > threshold  # a box is never dropped for one with a lower score
        found, scores, classes = corners(boxes[above], size), scores[above], self.classes[above]
        tensors = (torch.from_numpy(x) for x in (found, scores, classes))
        keep = batched_nms(*tensors, self.iou).numpy()[: self.most]
        return found[keep], scores[keep], classes[keep]


class AnchoredNet(nn.Module):
    """A detector of torchvision up to its last NMS; `net` is a FasterRCNN, RetinaNet or SSD."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Predictions for pictures (B, 3, h, w) from `transforms.rcnn_transform`.

        Returns:
            (B, 1, K, 1) logits and (B, 1, K, 4) boxes cxcywh in 0..1, where unused rows have the
            logit -100, and the tensors that `read` takes.
        """
        from torchvision.models.detection.image_list import ImageList

        h, w = x.shape[-2:]
        step = self.net.transform.size_divisible
        padded = F.pad(x, (0, -w % step, 0, -h % step))
        shown = ImageList(padded, [(h, w)] * len(x))
        maps = {name: map_.float() for name, map_ in self.net.backbone(padded).items()}
        each = _steps(self.net)(self.net, shown, maps)
        return tuple(torch.stack(parts) for parts in zip(*each, strict=True))


def build(arch: str, state: dict[str, torch.Tensor], name: str) -> AnchoredNet:
    """torchvision's network of that name, for COCO, with the weights of `state`.

    Raises:
        CheckpointError: they do not fit.
    """
    from torchvision import models
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    from core.sources import state_dicts

    with torch.device("meta"):
        net = models.get_model(arch, weights=None, weights_backbone=None)
    state_dicts.assign(net, state, name)
    owner = _owner(net)
    old = owner.anchor_generator
    if isinstance(old, AnchorGenerator):
        # It holds plain tensors, which would stay on `meta`; SSD's are made on the processor.
        owner.anchor_generator = AnchorGenerator(old.sizes, old.aspect_ratios)
    return AnchoredNet(net).eval()


def labels(arch: str) -> dict[int, str]:
    """The names of COCO's numbers 1 to 90 as torchvision has them; the gaps are called N/A."""
    from torchvision import models

    names = models.get_model_weights(arch).DEFAULT.meta["categories"]
    return {number: name for number, name in enumerate(names) if number}


def _has_one_stage(net: Any) -> bool:
    return hasattr(net, "head")


def _owner(net: Any) -> Any:
    """The part with the anchors."""
    return net if _has_one_stage(net) else net.rpn


def _steps(net: Any) -> Callable[[Any, Any, dict[str, torch.Tensor]], list[steps.Tensors]]:
    from torchvision.models.detection.ssd import SSD

    if isinstance(net, SSD):
        return steps.single_shot
    return steps.one_stage if _has_one_stage(net) else steps.two_stages


def read(
    logits: NDArray[np.float32], boxes: NDArray[np.float32], more: Sequence[Any], net: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32], Anchored]:
    """Logits (1, K, 1), boxes (1, K, 4) and `Anchored` of one picture, without unused rows.

    Pairs below the score at which torchvision stops, and empty boxes, are left out.
    """
    classes, levels, rows, proposals, objectness, of, crops, fired, shapes = more
    end = net if _has_one_stage(net) else net.roi_heads
    enough = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -60, 60))) > end.score_thresh
    kept = enough & np.all(boxes[0, :, 2:] > 0, -1)
    real = of >= 0
    found = Anchored(
        classes[kept], levels[kept], rows[kept], proposals[real], objectness[real], of[real],
        crops[real], fired, tuple((int(r), int(c)) for r, c in shapes),
        _owner(net).anchor_generator.num_anchors_per_location()[0],
        end.nms_thresh, end.detections_per_img,
    )  # fmt: skip
    return logits[:, kept], boxes[:, kept], found
