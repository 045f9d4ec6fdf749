"""What a browser may show itself, and what the server draws for it."""

from __future__ import annotations

import io
import struct
import threading
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import images
from core.imaging import previews
from core.imaging.decoding import decoder
from demos.shell import image
from tests import odd_files as odd

decoder._register_heif()
RGB = odd.blocks()
JPEG = odd.file_of(RGB, "JPEG")
PLAIN = {
    "JPEG": JPEG,
    "grey JPEG": odd.file_of(Image.fromarray(RGB).convert("L"), "JPEG"),
    "JPEG, turned": odd.file_of(RGB, "JPEG", exif=b"Exif\0\0" + odd.exif(6)),
    "PNG": odd.png(RGB),
    "PNG that says sRGB": odd.png(
        RGB, odd.png_chunk(b"sRGB", b"\0"), odd.png_chunk(b"gAMA", struct.pack(">I", 45455))
    ),
    "WebP": odd.file_of(RGB, "WEBP"),
    "lossless WebP": odd.file_of(RGB, "WEBP", lossless=True),
}
PROFILE = b"ICC_PROFILE\0\1\1" + b"x" * 200
NOT_PLAIN = {
    "HEIC": odd.file_of(RGB, "HEIF"),
    "TIFF": odd.file_of(RGB, "TIFF"),
    "AVIF": odd.file_of(RGB, "AVIF"),
    "BMP": odd.file_of(RGB, "BMP"),
    "GIF": odd.file_of(RGB, "GIF"),
    "CMYK": odd.file_of(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "JPEG with a profile": odd.with_segments(JPEG, odd.jpeg_segment(0xE2, PROFILE)),
    "JPEG without its end": JPEG[:-2],
    "PNG with a profile": odd.png(RGB, odd.png_chunk(b"iCCP", b"x\0\0")),
    "PNG of HDR": odd.png(RGB, odd.png_chunk(b"cICP", bytes((9, 16, 0, 1)))),
    "PNG of another gamma": odd.png(RGB, odd.png_chunk(b"gAMA", struct.pack(">I", 100000))),
    "animated PNG": odd.apng(RGB, [(RGB, 0, 0)], hidden=False),
    "16-bit PNG": odd.file_of(np.arange(1536, dtype=np.uint16).reshape(32, 48), "PNG"),
    "PNG with alpha": odd.file_of(Image.fromarray(RGB).convert("RGBA"), "PNG"),
    "PNG with a clear colour": odd.png(RGB, odd.png_chunk(b"tRNS", bytes(6))),
    "animated WebP": odd.file_of(
        RGB, "WEBP", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())]
    ),
    "WebP with alpha": odd.file_of(
        Image.fromarray(np.dstack([RGB, RGB[..., 0]])), "WEBP", lossless=True
    ),
    "turned WebP": odd.file_of(RGB, "WEBP", exif=b"Exif\0\0" + odd.exif(6)),
    "nothing": b"",
    "text": b"hello",
    "cut PNG": odd.png(RGB)[:20],
    "cut JPEG": JPEG[:30],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain(name: str) -> None:
    assert previews.is_plain(PLAIN[name])


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_not_plain(name: str) -> None:
    assert not previews.is_plain(NOT_PLAIN[name])


def test_small_previews_are_exact_and_large_ones_bounded() -> None:
    content, kind = previews.encode(RGB)
    assert kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), RGB)
    content, kind = previews.encode(odd.blocks(400, 250))
    assert kind == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == (1600, 1000)
    assert Image.open(io.BytesIO(previews.encode(odd.blocks(100, 90))[0])).size == (800, 720)


def test_a_sentence_is_drawn_whole_and_escaped() -> None:
    text = "The file <b>a & b</b> is damaged; please choose another picture, which is whole."
    content, kind = previews.sentence(text)
    assert kind == "image/svg+xml"
    spans = [
        part.text or "" for part in ET.fromstring(content).iter() if part.tag.endswith("tspan")
    ]
    assert " ".join(spans) == text
    assert max(map(len, spans)) <= 44


def test_a_picture_is_decoded_once_for_page_and_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(NOT_PLAIN["HEIC"])
    monkeypatch.setattr(image, "upload_path", Path)
    calls, together, found = [], threading.Event(), []
    read = images.read

    def slow(source: Path) -> images.RGB:
        calls.append(source)
        together.wait(60)
        return read(source)

    monkeypatch.setattr(images, "read", slow)
    threads = [
        threading.Thread(target=lambda: found.append(image.load_upload(str(path))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    together.set()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert all(one is found[0] for one in found)
    assert not image._turns
