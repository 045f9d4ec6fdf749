"""From prompts to low-resolution logits, stored so that the same prompt is decoded only once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks
from core.imaging import regions
from core.sam import masks
from core.sam.engines import Embedding, Engine, Segmenter, Size
from core.serving import runtime
from core.types import PointPrompts

Logits = NDArray[np.float32]  # (K, h, w), low resolution
Answer = tuple[Logits, NDArray[np.float32]]  # and predicted IoU (K,), descending


@dataclass(frozen=True, slots=True, eq=False)
class Clicks:
    """The prompts of one request; `box` is (4,) xyxy pixels or None, `embedding` encodes if needed.

    `multimask` asks for three masks while the prompt is a single point (the rule of micro-sam,
    issue 42: any further prompt disambiguates).
    """

    run: runtime.Run[Segmenter]
    digest: str
    size: Size
    box: NDArray[np.float32] | None
    multimask: bool
    embedding: Callable[[], Embedding]

    @property
    def engine(self) -> Engine:
        return self.run.extra.engine

    def answer(self, prompts: PointPrompts, mask_input: Logits | None = None) -> Answer:
        """All prompts at once, and a mask to refine, (1, h, w) logits or None."""
        key = ("all", _digest(mask_input), *self._key(prompts))
        return self._kept(key, lambda: self._decode(prompts, mask_input))

    def refined(self, prompts: PointPrompts, first: int) -> Answer:
        """Each point refines the mask of the earlier prompts; `first` picks one of three masks.

        The chain is followed back only to the last stored result.
        """
        count = len(prompts.points)
        if count == 0 or (count == 1 and self.box is None):
            return self.answer(prompts)

        def compute() -> Answer:
            before = PointPrompts(prompts.points[:-1], prompts.labels[:-1])
            low_res, _ = self.refined(before, first)
            meant = min(first, len(low_res) - 1)  # only the first result may have three
            return self._decode(prompts, low_res[meant : meant + 1])

        return self._kept(("refined", first, *self._key(prompts)), compute)

    def _kept(self, key: tuple[object, ...], compute: Callable[[], Answer]) -> Answer:
        return self.run.output(key, compute, "decode", runtime.decoded())

    def _key(self, prompts: PointPrompts) -> tuple[object, ...]:
        box = None if self.box is None else self.box.tobytes()
        named = prompts.points.tobytes(), prompts.labels.tobytes()
        return self.digest, *named, box, self.multimask

    def _decode(self, prompts: PointPrompts, mask_input: Logits | None) -> Answer:
        embedding = self.embedding()
        with self.run.watch.stage("decode"):
            low_res, scores = runtime.forward(
                lambda: self.forward(embedding, prompts, mask_input),
                full_precision=True,  # cheap, and masks are cut off at exactly 0
            )
        if not (np.all(np.isfinite(scores)) and np.all(np.isfinite(low_res))):
            raise checks.not_numbers()
        order = np.argsort(-scores, kind="stable")
        low_res, scores = low_res[order], scores[order]
        low_res.setflags(write=False)  # stored and shared between requests
        scores.setflags(write=False)
        return low_res, scores

    def forward(
        self, embedding: Embedding, prompts: PointPrompts, mask_input: Logits | None
    ) -> Answer:
        """Run prompt encoder and decoder; call it on the device queue. Nothing is stored.

        In float32 from the first step, like `SamPredictor.predict`.
        """
        single = len(prompts.points) == 1 and self.box is None and mask_input is None
        device = embedding.features[-1].device

        def in_frame(coords: NDArray[np.float32]) -> torch.Tensor:
            framed = self.engine.to_frame(coords, self.size)
            return torch.as_tensor(framed, dtype=torch.float, device=device)[None]

        points, labels, boxes, mask = None, None, None, None
        if len(prompts.points):
            points = in_frame(prompts.points)
            labels = torch.as_tensor(prompts.labels, dtype=torch.int, device=device)[None]
        if self.box is not None:
            boxes = in_frame(self.box.reshape(2, 2)).reshape(1, 4)
        if mask_input is not None:
            mask = torch.as_tensor(mask_input.copy(), dtype=torch.float, device=device)[None]
        low_res, scores = self.engine.decode(
            embedding, points, labels, boxes, mask, self.multimask and single
        )
        return low_res[0].float().cpu().numpy(), scores[0].float().cpu().numpy()


def _digest(logits: Logits | None) -> str:
    if logits is None:
        return ""
    content = np.ascontiguousarray(logits, dtype=np.float32)
    return hashlib.sha256(content.data).hexdigest()


def enlarged(
    engine: Engine, low_res: Logits, size: Size, view: Size, min_area: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Masks (K, H, W) at the size `view` of a picture of `size`, and their stability (K,).

    `min_area` is in pixels of `size`.
    """

    found = np.empty((len(low_res), *view), bool)

    def compute() -> list[np.float32]:
        batch = torch.as_tensor(low_res.copy(), device=runtime.device())[None]
        logits = engine.on_picture(batch, size)[0]  # (K, h', w')
        threshold = engine.mask_threshold
        return [masks.draw(*both, threshold) for both in zip(logits, found, strict=True)]

    stability = np.array(runtime.forward(compute, full_precision=True), np.float32)
    if min_area > 0:
        share = view[0] * view[1] / (size[0] * size[1])
        for mask in found:
            mask[:] = regions.remove_small(mask, min_area * share)
    return found, stability
