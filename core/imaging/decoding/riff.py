"""Strip a WebP to its picture: other data may be damaged, truncated or miscounted.

Source: RFC 9649.
"""

from __future__ import annotations

import struct

from core.imaging.decoding.limits import Clock

# In this order; for an animation the first frame (ANMF).
_KEPT = (b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L", b"EXIF")
_ALPHA = 0x10  # a flag of VP8X
_PIXELS = (b"ANMF", b"VP8 ", b"VP8L")


def clean(data: bytes, clock: Clock) -> bytes:
    """The picture of a WebP file, or an animation's first frame; other files unchanged."""
    if data[8:12] != b"WEBP":
        return data
    view, found = memoryview(data), dict.fromkeys(_KEPT, memoryview(b""))
    at, seen = 12, 0
    while at + 8 <= len(data):
        seen += 1
        if seen % 1024 == 0:
            clock.check()
        name, length = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8], "little")
        whole = view[at : at + 8 + length]
        # Skip a truncated chunk, unless it is the picture itself.
        if name in found and not found[name] and (len(whole) == 8 + length or name in _PIXELS):
            found[name] = whole
        at += 8 + length + length % 2
    if found[b"ANMF"] and len(found[b"VP8X"]) == 18:
        # A frame smaller than the canvas leaves empty margins, whatever the alpha flag says.
        head = found[b"VP8X"]
        found[b"VP8X"] = memoryview(b"".join((head[:8], bytes((head[8] | _ALPHA,)), head[9:])))
    parts = [b"".join((part, bytes(len(part) % 2))) for part in found.values() if part]
    return b"".join((b"RIFF", struct.pack("<I", 4 + sum(map(len, parts))), b"WEBP", *parts))
