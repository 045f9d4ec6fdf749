"""Picture files with odd parts, put together byte by byte; their pixels are known."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

MAGIC = b"\x89PNG\r\n\x1a\n"
EXIF = "MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0{}\0\0\0\0\0\0"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def blocks(columns: int = 6, rows: int = 4, seed: int = 0) -> np.ndarray:
    """(8 rows, 8 columns, 3) uint8: 8x8 blocks of random colours, no two alike."""
    colours = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))


def file_of(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    return EXIF.format(chr(orientation)).encode("latin-1")


def png_chunk(name: bytes, content: bytes, crc: int | None = None) -> bytes:
    right = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc or right)


def png_pixels(rgb: np.ndarray) -> bytes:
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in rgb))


def png(rgb: np.ndarray, *chunks: bytes, after: bytes = b"") -> bytes:
    """A PNG with whole chunks before the pixels and `after` them."""
    header = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 8, 2, 0, 0, 0)
    return b"".join(
        (
            MAGIC,
            png_chunk(b"IHDR", header),
            *chunks,
            png_chunk(b"IDAT", png_pixels(rgb)),
            after,
            png_chunk(b"IEND", b""),
        )
    )


def apng(default: np.ndarray, frames: list[tuple[np.ndarray, int, int]], hidden: bool) -> bytes:
    """An animation of (pixels, x, y); the default picture is its first frame unless `hidden`."""
    sequence, control = 0, b""

    def frame(pixels: np.ndarray, x: int, y: int) -> bytes:
        nonlocal sequence
        height, width = pixels.shape[:2]
        sequence += 1
        return png_chunk(
            b"fcTL", struct.pack(">IIIIIHHBB", sequence - 1, width, height, x, y, 9, 1, 0, 0)
        )

    count = len(frames) + (not hidden)
    head = png_chunk(b"acTL", struct.pack(">II", count, 0))
    control = b"" if hidden else frame(default, 0, 0)
    rest = b""
    for pixels, x, y in frames:
        rest += frame(pixels, x, y)
        packed = png_pixels(pixels)
        for part in (packed[:20], packed[20:]):
            rest += png_chunk(b"fdAT", struct.pack(">I", sequence) + part)
            sequence += 1
    return png(default, head, control, after=rest)


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def riff(chunks: list[tuple[bytes, bytes]], size: int | None = None) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for name, part in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4 if size is None else size) + b"WEBP" + body


def riff_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 12
    while at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        found.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return found


def bmp(
    size: tuple[int, int], bits: int, method: int, body: bytes, palette: bytes = b"", masks=()
) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, method, len(body), 0, 0, 0, 0)
    between = head + struct.pack(f"<{len(masks)}I", *masks) + palette
    start = 14 + len(between)
    return struct.pack("<2sIHHI", b"BM", start + len(body), 0, 0, start) + between + body


def runs(rows: list[list[int]], packed: bool, seed: int) -> bytes:
    """Rows, the bottom one first, as runs and literal stretches of random, odd lengths."""
    rng, out = np.random.default_rng(seed), b""
    for row in rows:
        x = 0
        while x < len(row):
            count = int(min(len(row) - x, rng.integers(1, 12)))
            part = row[x : x + count]
            if count >= 3 and rng.random() < 0.5:
                both = [*part, 0]
                pairs = [both[i] << 4 | both[i + 1] for i in range(0, count, 2)]
                literal = bytes(pairs if packed else part)
                out += bytes((0, count)) + literal + bytes(len(literal) % 2)
            else:
                count = 1
                same = 2 if packed else 1
                while x + count < len(row) and (
                    row[x + count] == row[x + count % same] and count < 255
                ):
                    count += 1
                second = row[x + 1] if count > 1 else 0
                out += bytes((count, row[x] << 4 | second if packed else row[x]))
            x += count
        out += b"\0\0"
    return out + b"\0\1"


def gif(screen: tuple[int, int], frame: tuple[int, int, int, int], clear: int | None) -> bytes:
    """One frame (x, y, w, h) of diagonals of red, lime, blue and yellow; the background is lime."""
    x, y, width, height = frame
    palette = bytes((255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0))
    codes: list[int] = []
    for i in range(width * height):
        if i % 2 == 0:
            codes.append(4)  # start anew, so that every code has three bits
        codes.append((i // width + i % width) % 4)
    bits = "".join(f"{code:03b}"[::-1] for code in [*codes, 5])
    packed = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
    parts = (packed[i : i + 255] for i in range(0, len(packed), 255))
    return b"".join(
        (
            b"GIF89a" + struct.pack("<HHBBB", *screen, 0x91, 1, 0) + palette,
            b"!\xf9\4" + bytes((clear is not None, 9, 0, clear or 0, 0)),
            b"," + struct.pack("<HHHHB", x, y, width, height, 0) + b"\2",
            *(bytes((len(part),)) + part for part in parts),
            b"\0;",
        )
    )


def tiff(
    pages: list[dict[int, tuple[int, list[int]]]], order: str = "<", blob: bytes = b""
) -> bytes:
    """A TIFF of pages {tag: (type, values)}. `blob` stands at offset 8; a value of tag 330 that is
    negative, -n, stands for the n-th page, which is then not part of the chain."""
    widths = {1: "B", 3: "H", 4: "I"}
    children = {-v for page in pages for v in page.get(330, (4, []))[1] if v < 0}
    sizes = [2 + 12 * len(page) + 4 for page in pages]
    extra = [
        {tag: len(values) * struct.calcsize(widths[kind]) for tag, (kind, values) in page.items()}
        for page in pages
    ]
    starts, at = [], 8 + len(blob) + len(blob) % 2
    for size, more in zip(sizes, extra, strict=True):
        starts.append(at)
        at += size + sum(n + n % 2 for n in more.values() if n > 4)
    chain = [i for i in range(len(pages)) if i not in children]
    out = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, starts[chain[0]])
    out += blob + bytes(len(blob) % 2)
    for index, page in enumerate(pages):
        place, lists = starts[index] + sizes[index], b""
        out += struct.pack(order + "H", len(page))
        for tag, (kind, values) in sorted(page.items()):
            real = [starts[-v] if v < 0 else v for v in values]
            packed = struct.pack(f"{order}{len(real)}{widths[kind]}", *real)
            out += struct.pack(order + "HHI", tag, kind, len(real))
            if len(packed) > 4:
                out += struct.pack(order + "I", place + len(lists))
                lists += packed + bytes(len(packed) % 2)
            else:
                out += packed.ljust(4, b"\0")
        later = chain[chain.index(index) + 1 :] if index in chain else []
        out += struct.pack(order + "I", starts[later[0]] if later else 0) + lists
    return out


def page_tags(
    rgb: np.ndarray, offset: int, subfile: int = 0, **more: tuple[int, list[int]]
) -> dict[int, tuple[int, list[int]]]:
    """The tags of an uncompressed RGB page whose pixels stand at `offset`."""
    height, width = rgb.shape[:2]
    tags = {
        254: (4, [subfile]),
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8, 8, 8]),
        259: (3, [1]),
        262: (3, [2]),
        273: (4, [offset]),
        277: (3, [3]),
        278: (4, [height]),
        279: (4, [width * height * 3]),
    }
    return tags | {int(name.removeprefix("tag")): value for name, value in more.items()}
