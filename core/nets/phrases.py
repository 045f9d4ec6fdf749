"""Detectors that find what a text names: Grounding DINO (Liu et al., 2023) through transformers.

The words become one text with a full stop after each. Each of Q queries gives one box and, for each
of the T tokens of that text, how well the box fits it. How a box gets its words is the library's
`post_process_grounded_object_detection`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.checkpoints import MOST_LETTERS, WORDS
from core.errors import CheckpointError, DamagedFile, InputError

KIND = WORDS  # as config.json names it
FILES = ("tokenizer.json", "tokenizer_config.json")
TEXT_THRESHOLD = 0.25  # the library's own: a token that scores less is not part of a box's label
Named = tuple[NDArray[np.float32], NDArray[np.float32], tuple[str, ...]]


def no_words() -> InputError:
    """The error where such a detector is asked for nothing."""
    return InputError("Type what to look for, with commas between, such as: a cat, a red cup.")


def words(text: str) -> tuple[str, ...]:
    """The words or phrases of a text with commas between them, in lower case, each once.

    Full stops and question marks separate them too, because they do so in the model.

    Raises:
        InputError: it is no text, or too long.
    """
    if not isinstance(text, str):  # callers can send anything
        raise InputError("Give the words as text, such as: a cat, a red cup.")
    if len(text) > MOST_LETTERS:
        raise InputError(f"Type at most {MOST_LETTERS} letters; leave some of the words out.")
    # Square brackets would let a text contain the tokenizer's own marks, such as [SEP].
    parts = re.split(r"[,.;:?!\n]", re.sub(r"[\[\]]", " ", text.lower()))
    return tuple(dict.fromkeys(part for part in (" ".join(p.split()) for p in parts) if part))


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """transformers' processor, which makes tokens of words and words of tokens.

    `longest` is the number of tokens that the model takes.
    """

    processor: Any
    longest: int

    def tokens(self, said: Sequence[str]) -> torch.Tensor:
        """(1, T) int64 of the words.

        Raises:
            InputError: there are none, or more than the model takes.
        """
        if not said:
            raise no_words()
        ids: torch.Tensor = self.processor(text=list(said), return_tensors="pt")["input_ids"]
        if ids.shape[1] > self.longest:
            raise InputError(
                f"These are too many words for this checkpoint, which reads {self.longest} pieces "
                "of words; leave some out."
            )
        return ids

    def answers(
        self,
        logits: NDArray[np.float32],
        boxes: NDArray[np.float32],
        said: Sequence[str],
        threshold: float,
        size: tuple[int, int],
    ) -> Named:
        """Boxes, scores and labels as the library finds them, best first.

        A box whose best token is none of a word has an empty label there; here it gets the word
        that fits it best.

        Args:
            logits: (Q, T). boxes: (Q, 4) cxcywh in 0..1. size: (W, H) of the picture.

        Returns:
            (N, 4) xyxy in pixels, clipped to the picture, (N,) scores, and N labels.
        """
        ids = self.tokens(said)
        # As wide as the model's own output: the library leaves out the last column.
        room = ((0, 0), (0, self.longest - logits.shape[1]))
        wide = torch.from_numpy(np.pad(logits, room, constant_values=-np.inf))
        order = torch.argsort(wide.amax(1), descending=True, stable=True)
        out = SimpleNamespace(
            logits=wide[order][None], pred_boxes=torch.from_numpy(boxes)[order][None]
        )
        found = self.processor.post_process_grounded_object_detection(
            out, ids, threshold, TEXT_THRESHOLD, [size[::-1]]
        )[0]
        best = self._best(wide[order][: len(found["scores"])], ids[0], said)
        labels = tuple(
            label or other for label, other in zip(found["text_labels"], best, strict=True)
        )
        limits = np.array([*size, *size], np.float32)
        corners = np.clip(found["boxes"].numpy(), 0, limits).astype(np.float32)
        return corners, found["scores"].numpy(), labels

    def _best(self, logits: torch.Tensor, ids: torch.Tensor, said: Sequence[str]) -> list[str]:
        """For each row the word whose tokens score highest."""
        stop = self.processor.tokenizer.convert_tokens_to_ids(".")
        # Words are numbered by the full stops before them; [CLS] and [SEP] belong to none.
        number = (ids == stop).cumsum(0)
        number[ids == stop] = len(said)
        number[[0, -1]] = len(said)
        scores = torch.full((len(logits), len(said) + 1), -torch.inf)
        scores.scatter_reduce_(
            1, number.expand(len(logits), -1), logits[:, : len(ids)], "amax", include_self=False
        )
        return [said[i] for i in scores[:, :-1].argmax(1).tolist()]


def read(model: Any, x: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Logits (B, 1, Q, T) and boxes (B, 1, Q, 4) cxcywh in 0..1, of pictures (B, 3, h, w) and
    tokens (B, T)."""
    out = model(pixel_values=x, input_ids=tokens)
    logits = out.logits[..., : tokens.shape[1]]  # the rest is padding
    return logits[:, None].float(), out.pred_boxes[:, None].float()


def reader(file: Path, longest: int) -> Reader:
    """The reader of a weight file, from the tokenizer's files beside it.

    Raises:
        CheckpointError: there are none.
        DamagedFile: they cannot be read.
    """
    from transformers import BertTokenizer, GroundingDinoProcessor
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    if not file.with_name(FILES[0]).is_file():
        raise CheckpointError(f"{file.name} needs its {FILES[0]} beside it.")
    try:
        tokenizer = BertTokenizer.from_pretrained(str(file.parent), local_files_only=True)
    except Exception as error:  # the library raises unspecified errors on bad files
        raise DamagedFile(f"The {FILES[0]} beside {file.name} cannot be read.") from error
    return Reader(GroundingDinoProcessor(GroundingDinoImageProcessorPil(), tokenizer), longest)
