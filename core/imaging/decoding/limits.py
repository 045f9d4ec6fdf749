"""Limits on the size, time and memory of decoding, and the refusals."""

from __future__ import annotations

import io
import time

from core.errors import BadImage

MAX_BYTES = 25 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_SIDE = 65_535
MIN_SIDE = 8
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
# CPU seconds of the calling thread, so that a busy machine does not cause refusals.
MAX_SECONDS = 6.0


class TooSlow(Exception):
    """The time for one file ran out."""


class Clock:
    """A time limit for one file."""

    def __init__(self) -> None:
        self.deadline = time.thread_time() + MAX_SECONDS

    def check(self) -> None:
        """Raise TooSlow when the time is up."""
        if time.thread_time() > self.deadline:
            raise TooSlow


class TimedFile(io.BytesIO):
    """A byte stream that refuses to be read once the time is up.

    Readers walk over chunks, blocks and markers in Python, one read each; millions of empty ones,
    or comments joined one by one, would keep them busy for minutes.
    """

    def __init__(self, data: bytes, clock: Clock) -> None:
        super().__init__(data)
        self.clock = clock

    def read(self, size: int | None = -1, /) -> bytes:
        self.clock.check()
        return super().read(size)


def too_large(size: tuple[int, int] | None = None) -> BadImage:
    """The refusal of a picture with too many pixels."""
    is_ = f"is {size[0]} x {size[1]} pixels" if size else "is too large"
    return BadImage(
        f"The picture {is_}; please shrink it to at most {MAX_PIXELS // 10**6} megapixels."
    )


def too_heavy() -> BadImage:
    """The refusal of a file that would take minutes."""
    return BadImage(
        "The file is built in a way that takes too long to open; please save the picture again "
        "as a plain JPEG or PNG."
    )


def damaged() -> BadImage:
    """The refusal of a file that lacks part of its pixels."""
    return BadImage("The picture is damaged or cut off; please save or upload it again.")


def not_a_picture() -> BadImage:
    """The refusal of a file that is not a supported picture."""
    return BadImage(
        f"This file is not a picture that can be read here; please choose a {READABLE} file."
    )


def unsupported(what: str) -> BadImage:
    """The refusal of a picture stored in an unsupported way."""
    return BadImage(f"{what} cannot be read here; please save it again as a plain JPEG or PNG.")


def check_size(width: int, height: int) -> None:
    """Raise BadImage for a picture over 50 megapixels or with a side under 8 or over 65,535 px."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise too_large((width, height))
    if min(width, height) < MIN_SIDE:
        raise BadImage(
            f"The picture is only {width} x {height} pixels; please choose one of at least "
            f"{MIN_SIDE} x {MIN_SIDE}."
        )
