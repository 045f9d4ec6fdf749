"""Whatever file comes in: the right upright RGB picture, or BadImage with one plain sentence."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from core import images
from core.errors import BadImage, HubError, InputError, ResourceError
from core.imaging import png
from core.imaging.decoding import decoder, limits
from core.imaging.decoding import jpeg as decoding_jpeg
from tests.odd_files import file_of

WIDTH, HEIGHT = 48, 32
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "PPM")
pytestmark = pytest.mark.filterwarnings(  # what Pillow says of damaged files
    "ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning"
)
decoder._register_heif()  # so that the tests can write HEIC


def corners() -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    picture[:16, :24] = (255, 0, 0)
    picture[:16, 24:] = (0, 255, 0)
    picture[16:, :24] = (0, 0, 255)
    return picture


def sample(kind: str) -> bytes:
    """A textured picture, so that no part of the file can go missing unnoticed."""
    rng = np.random.default_rng(0)
    return file_of(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), kind)


def quadrants(picture: Image.Image | np.ndarray) -> list[tuple[int, ...]]:
    array = np.asarray(picture)
    height, width = array.shape[:2]
    spots = [(1, 1), (1, 3), (3, 1), (3, 3)]
    return [tuple(int(v) for v in array[y * height // 4, x * width // 4]) for y, x in spots]


def close(picture: Image.Image | np.ndarray, expected: np.ndarray, tolerance: int = 0) -> bool:
    a, b = np.asarray(picture).astype(int), expected.astype(int)
    return a.shape == b.shape and int(np.abs(a - b).max()) <= tolerance


def refusal(source: Path | bytes) -> str:
    """The sentence with which a picture is refused, checked for form."""
    with pytest.raises(BadImage) as caught:
        images.decode(source)
    message = str(caught.value)
    assert "please" in message
    assert message.endswith(".")
    assert message.count(".") == 1
    assert "\n" not in message
    return message


# ---- nothing, and what is not a picture -------------------------------------------------------


def test_empty() -> None:
    assert "empty" in refusal(b"")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    assert "empty" in refusal(path)


NOT_PICTURES = {
    "text": b"hello, this is not a picture\n" * 20,
    "zeros": bytes(1000),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>',
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n",
    "pdf": b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n",
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 64, 64, 8, 3) + bytes(200),
    "html": b"<!doctype html><script>alert(1)</script>",
    "zip": b"PK\3\4" + bytes(100),
    "ftyp": b"\0\0\0\x18ftypheic" + bytes(100),
    "magic only": b"\x89PNG\r\n\x1a\n",
    "jpeg magic only": b"\xff\xd8\xff",
    "riff": b"RIFF\x10\0\0\0WEBP" + bytes(8),
}


@pytest.mark.parametrize("name", NOT_PICTURES)
def test_not_a_picture_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    path = tmp_path / "picture.png"
    path.write_bytes(NOT_PICTURES[name])
    assert "not a picture" in refusal(path)
    assert str(tmp_path) not in refusal(path)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path, Path("a\0b")):
        message = refusal(path)
        assert "again" in message
        assert str(tmp_path) not in message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refusal(tmp_path / "pipe")  # would wait for ever
    refusal(Path("/dev/zero"))


def test_too_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    os.truncate(path, images.MAX_BYTES + 1)
    assert "25 MB" in refusal(path)
    assert "25 MB" in refusal(bytes(images.MAX_BYTES + 1))
    assert "25 MB" not in refusal(bytes(images.MAX_BYTES))


@pytest.mark.parametrize("size", [(1, 1), (7, 100), (100, 7)])
def test_too_small(size: tuple[int, int]) -> None:
    assert "8 x 8" in refusal(file_of(Image.new("RGB", size), "PNG"))


def test_smallest() -> None:
    assert images.decode(file_of(Image.new("RGB", (8, 8)), "PNG")).size == (8, 8)


# ---- formats and turns ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_formats_from_bytes_and_from_a_file(kind: str, tmp_path: Path) -> None:
    data = file_of(corners(), kind)
    path = tmp_path / "no suffix"
    path.write_bytes(data)
    for source in (data, path):
        picture = images.decode(source)
        assert picture.mode == "RGB"
        assert picture.size == (WIDTH, HEIGHT)
        for got, expected in zip(quadrants(picture), quadrants(corners()), strict=True):
            assert np.abs(np.subtract(got, expected)).max() <= 12


def test_formats_do_not_depend_on_an_earlier_heic() -> None:
    """The HEIC reader is registered when the first HEIC comes; before it, all else works."""
    code = (
        "import io; from PIL import Image; from core import images\n"
        "b = io.BytesIO(); Image.new('RGB', (9, 9)).save(b, 'PPM'); images.decode(b.getvalue())"
    )
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=60)


def turned(picture: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores for `picture` under an EXIF orientation (EXIF 2.3, tag 0x0112)."""
    return {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture),
        7: np.rot90(picture, 2).transpose(1, 0, 2),
        8: np.rot90(picture, -1),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_exif_upright(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turned(corners(), orientation))
    # given bytes, the HEIC writer notes the turn where HEIC wants it, in a box beside the EXIF
    picture = images.decode(file_of(stored, kind, exif=exif.tobytes()))
    assert picture.size == (WIDTH, HEIGHT)
    for got, expected in zip(quadrants(picture), quadrants(corners()), strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= 12


@pytest.mark.parametrize("tag", [0, 9, 65535])
def test_exif_of_no_meaning_turns_nothing(tag: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = tag
    assert close(images.decode(file_of(corners(), "PNG", exif=exif)), corners())


def test_damaged_exif_does_not_spoil_the_picture() -> None:
    data = file_of(corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    assert images.decode(data).size == (WIDTH, HEIGHT)


def test_metadata_is_gone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)  # GPS latitude
    data = file_of(corners(), "JPEG", exif=exif, comment=b"secret", icc_profile=b"x" * 200)
    assert b"Camera" in data
    picture = images.decode(data)
    assert picture.info == {}
    assert dict(picture.getexif()) == {}
    for path in (
        images.save_png(np.array(picture), tmp_path / "a.png"),
        images.save_jpeg(np.array(picture), tmp_path / "a.jpg"),
    ):
        assert not any(word in path.read_bytes() for word in (b"Camera", b"secret", b"Exif"))


# ---- modes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    cmyk = Image.fromarray(corners()).convert("CMYK")
    picture = images.decode(file_of(cmyk, kind))
    for got, expected in zip(quadrants(picture), quadrants(corners()), strict=True):
        assert np.abs(np.subtract(got, expected)).max() <= 12


def ramp(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, WIDTH)[None].repeat(HEIGHT, axis=0)


FULL = 65535
DEEP = {  # the numbers, the file, and the number that is black and the one that is white
    "16-bit PNG": (ramp(1000, 60000).astype(np.uint16), "PNG", {}, (0, FULL)),
    "12 bits of a 16-bit PNG": (ramp(0, 4095).astype(np.uint16), "PNG", {}, (0, 4095)),
    "10 bits of a 16-bit TIFF": (ramp(100, 1000).astype(np.uint16), "TIFF", {}, (0, 1023)),
    "16-bit TIFF": (ramp(100, 13000).astype(np.uint16), "TIFF", {}, (0, FULL)),
    "16-bit TIFF, deflate": (
        ramp(0, 65535).astype(np.uint16),
        "TIFF",
        {"compression": "zip"},
        (0, FULL),
    ),
    "32-bit TIFF": (ramp(-70000, 70000).astype(np.int32), "TIFF", {}, (-70000, 70000)),
    "float TIFF": (ramp(0, 1).astype(np.float32), "TIFF", {}, (0, 1)),
    "float TIFF, part of 0..1": (ramp(0.2, 0.7).astype(np.float32), "TIFF", {}, (0, 1)),
    "float TIFF, beyond": (ramp(-1, 255).astype(np.float32), "TIFF", {}, (-1, 255)),
    "float TIFF, wide": (ramp(-3e38, 3e38).astype(np.float32), "TIFF", {}, (-3e38, 3e38)),
    "float TIFF, narrow": (ramp(0, 1e-40).astype(np.float32), "TIFF", {}, (0, 1e-40)),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_grey_is_scaled_not_clipped(name: str) -> None:
    values, kind, options, (black, white) = DEEP[name]
    picture = np.asarray(images.decode(file_of(values, kind, **options)))
    expected = np.rint((values.astype(np.float64) - black) / (white - black) * 255)
    assert close(picture, expected[..., None].repeat(3, axis=2), tolerance=1)


@pytest.mark.parametrize(("top", "white"), [(500, 511), (50_000, FULL)])
def test_big_endian_16_bit(top: int, white: int) -> None:
    values = ramp(5, top).astype(">u2")
    expected = np.rint(values.astype(float) / white * 255)
    data = b"P5 48 32 65535\n" + values.tobytes()
    assert close(images.decode(data), expected[..., None].repeat(3, axis=2), 1)


def test_float_with_gaps_and_even_tones() -> None:
    values = ramp(0, 10).astype(np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    row = np.asarray(images.decode(file_of(values, "TIFF")))[0, :, 0]
    assert (row[0], row[1], row[2], row[-1]) == (0, 255, 0, 255)
    even = file_of(np.full((9, 9), 7.0, np.float32), "TIFF")
    assert set(np.asarray(images.decode(even)).ravel()) == {128}
    nothing = file_of(np.full((9, 9), np.nan, np.float32), "TIFF")
    assert "no numbers" in refusal(nothing)


def png_chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def test_16_bit_rgb_png() -> None:
    """Pillow cannot write it; its values must come scaled, not clipped."""
    values = (corners().astype(">u2") * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    data += png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert close(images.decode(data), corners())


def alpha_picture(mode: str) -> tuple[Image.Image, dict[str, object]]:
    """Left half opaque black, right half fully transparent black."""
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, : WIDTH // 2] = 255
    black = np.zeros_like(alpha)
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(black), Image.fromarray(alpha)]), {}
    if mode == "RGBA":
        return Image.merge("RGBA", [Image.fromarray(black)] * 3 + [Image.fromarray(alpha)]), {}
    index = Image.fromarray((alpha == 0).astype(np.uint8))  # 1 where transparent
    if mode == "P":
        index = index.convert("P")
        index.putpalette([0] * 768)
        return index, {"transparency": 1}
    if mode == "P bytes":
        index = index.convert("P")
        index.putpalette([0] * 768)
        return index, {"transparency": bytes([255, 0])}
    if mode == "L":
        return index, {"transparency": 1}
    rgb = Image.merge("RGB", [index] * 3)
    return rgb, {"transparency": (1, 1, 1)}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "P bytes", "L", "RGB"])
def test_alpha_lies_over_white(mode: str) -> None:
    image, options = alpha_picture(mode)
    left_right = quadrants(images.decode(file_of(image, "PNG", **options)))
    assert set(left_right[0::2]) == {(0, 0, 0)}
    assert set(left_right[1::2]) == {(255, 255, 255)}


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF", "HEIF", "GIF"])
def test_alpha_of_other_formats(kind: str) -> None:
    image, _ = alpha_picture("RGBA")
    picture = quadrants(images.decode(file_of(image, kind)))
    assert min(picture[1] + picture[3]) >= 250
    assert max(picture[0] + picture[2]) <= 5


def test_half_alpha_is_mixed() -> None:
    picture = images.decode(file_of(Image.new("RGBA", (9, 9), (255, 0, 0, 128)), "PNG"))
    assert np.abs(np.subtract(picture.getpixel((4, 4)), (255, 127, 127))).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette_and_few_bits(mode: str, kind: str) -> None:
    image = Image.fromarray(corners()).convert(mode)
    picture = images.decode(file_of(image, kind))
    assert close(picture, np.asarray(image.convert("RGB")))


def test_modes_of_pillow_images() -> None:
    """Modes that come from Pillow but from no file of ours; those it cannot convert are refused."""
    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"):
        rgb = images.from_any(Image.new(mode, (9, 10)))
        assert rgb.shape == (10, 9, 3)
        assert rgb.dtype == np.uint8
    for mode in ("HSV", "LAB", "I", "F", "I;16", "I;16B"):
        assert images.from_any(Image.new(mode, (9, 10))).shape == (10, 9, 3)
    with pytest.raises(BadImage, match="RGB"):
        images.from_any(Image.new("La", (9, 10)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "lime", "blue")]
    options = {} if kind == "TIFF" else {"duration": 100}
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    picture = images.decode(data)
    assert np.abs(np.subtract(picture.getpixel((20, 20)), (255, 0, 0))).max() <= 12


# ---- damaged ----------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("kind", FORMATS)
def test_truncated(kind: str, share: float) -> None:
    data = sample(kind)
    message = refusal(data[: int(len(data) * share)])
    assert "not a picture" in message or "damaged or cut off" in message


def test_flipped_byte_in_png() -> None:
    data = bytearray(sample("PNG"))
    data[len(data) // 2] ^= 0xFF
    assert "damaged" in refusal(bytes(data))


def test_the_next_picture_is_read_after_a_bad_one() -> None:
    refusal(sample("JPEG")[:300])
    assert images.decode(sample("JPEG")).size == (WIDTH, HEIGHT)


# ---- bombs ------------------------------------------------------------------------------------


def with_size(kind: str, width: int, height: int) -> bytes:
    """A small file whose header claims another size."""
    data = file_of(Image.new("RGB", (64, 128)), kind)
    if kind == "PNG":
        header = struct.pack(">II", width, height) + data[24:29]
        return data[:8] + png_chunk(b"IHDR", header) + data[33:]
    packing, old, new = {
        "JPEG": (">HH", (128, 64), (height, width)),
        "GIF": ("<HH", (64, 128), (width, height)),
        "BMP": ("<ii", (64, 128), (width, height)),
        "AVIF": (">II", (64, 128), (width, height)),
        "HEIF": (">II", (64, 128), (width, height)),
    }[kind]
    assert struct.pack(packing, *old) in data
    return data.replace(struct.pack(packing, *old), struct.pack(packing, *new))


def tiff_with_size(width: int, height: int, tile: int = 0) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, tile), (323, tile), (324, 8), (325, 4)] if tile else [(273, 8), (279, 4)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4)


BOMBS = {
    **{kind: with_size(kind, 9000, 8000) for kind in ("PNG", "JPEG", "GIF", "BMP", "AVIF", "HEIF")},
    "PNG, a gigapixel": with_size("PNG", 40000, 40000),
    "PNG, as large as can be": with_size("PNG", 2**31 - 1, 2**31 - 1),
    "PNG, one long line": with_size("PNG", 8, 2_000_000),
    "PPM": b"P6 9000 8000 255\n" + bytes(100),
    "TIFF": tiff_with_size(9000, 8000),
    "WEBP": b"RIFF\x6e\0\0\0WEBPVP8L\x62\0\0\0\x2f"
    + struct.pack("<I", 8999 | 7999 << 14)
    + bytes(93),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_by_its_header(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_self: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    tracemalloc.start()
    try:
        assert "50 megapixels" in refusal(BOMBS[name])
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_bomb_warning_turned_into_an_error_is_met() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        assert "50 megapixels" in refusal(with_size("PNG", 10000, 10000))


def test_fifty_megapixels_pass_the_check() -> None:
    claimed = Image.new("L", (8, 8))
    claimed._size = (10000, 5000)
    decoder.check_size(*claimed.size)
    claimed._size = (10000, 5001)
    with pytest.raises(BadImage, match="10000 x 5001"):
        decoder.check_size(*claimed.size)


def test_jpeg_of_a_thousand_scans() -> None:
    data = file_of(corners(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert 1 < len(decoding_jpeg.clean(data).scans) < 20
    assert images.decode(data).size == (WIDTH, HEIGHT)
    assert "too long" in refusal(data[:-2] + scan * 1000 + b"\xff\xd9")


def test_scans_are_not_counted_in_headers_or_after_the_end() -> None:
    """A thumbnail in the header and a film behind the picture (as phones append) are no scans."""
    data = file_of(corners(), "JPEG", comment=b"\xff\xda" * 5000)
    assert len(decoding_jpeg.clean(data).scans) == 1
    assert images.decode(data + b"\xff\xda\0\x08" * 20000).size == (WIDTH, HEIGHT)


def test_huge_tiff_tile() -> None:
    assert "too long" in refusal(tiff_with_size(64, 64, tile=30000))


@pytest.mark.parametrize("name", ["gif", "jpeg", "png"])
def test_time_limit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions of empty blocks: read one by one in Python, they would take minutes."""
    gif, jpeg, png = (file_of(corners(), kind) for kind in ("GIF", "JPEG", "PNG"))
    data = {
        "gif": gif[:-1].replace(b"\x2c\0\0\0\0", b"!\xfe\0" * 300_000 + b"\x2c\0\0\0\0", 1),
        "jpeg": jpeg[:2] + b"\xff\xfe\0\2" * 300_000 + jpeg[2:],
        "png": png[:33] + png_chunk(b"teSt", b"") * 300_000 + png[33:],
    }[name]
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.05)
    assert "too long" in refusal(data)


@pytest.mark.parametrize("where", ["open", "load"])
def test_out_of_memory(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise MemoryError

    owner = Image if where == "open" else ImageFile.ImageFile
    monkeypatch.setattr(owner, where, full)
    assert "memory" in refusal(sample("PNG"))


def test_many_threads_at_once() -> None:
    expected = {kind: np.array(images.decode(sample(kind))) for kind in FORMATS}
    wrong: list[str] = []

    def work() -> None:
        for kind in FORMATS:
            if not close(images.decode(sample(kind)), expected[kind]):
                wrong.append(kind)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- anything at all --------------------------------------------------------------------------

SAMPLES = [sample(kind) for kind in FORMATS] + [
    file_of(alpha_picture("P")[0], "PNG", transparency=1),
    file_of(ramp(0, 60000).astype(np.uint16), "TIFF"),
    file_of(ramp(0, 1).astype(np.float32), "TIFF"),
    file_of(Image.fromarray(corners()).convert("CMYK"), "JPEG"),
    file_of(corners(), "JPEG", progressive=True),
    tiff_with_size(64, 64, tile=64),
]


def decodes_or_refuses(data: bytes) -> None:
    try:
        picture = images.decode(data)
    except BadImage as error:
        assert str(error)
    else:
        assert picture.mode == "RGB"
        assert min(picture.size) >= images.MIN_SIDE


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_fuzz_bytes(data: bytes) -> None:
    decodes_or_refuses(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0.0, 1.0),
    st.binary(max_size=20),
)
def test_fuzz_damaged_files(
    data: bytes, changes: list[tuple[float, int]], keep: float, tail: bytes
) -> None:
    content = bytearray(data)
    for place, value in changes:
        # half of the places lie in the first 64 bytes, where the header is
        span = 64 if value % 2 else len(content)
        content[int(place * (min(span, len(content)) - 1))] = value
    end = len(content) if keep > 0.3 else int(len(content) * keep / 0.3)
    decodes_or_refuses(bytes(content[:end]) + tail)


# ---- what the Python API takes ----------------------------------------------------------------


def test_from_nothing() -> None:
    with pytest.raises(InputError, match="Please give a picture"):
        images.from_any(None)
    with pytest.raises(InputError, match="path, a Pillow image or a NumPy array"):
        images.from_any([[1, 2], [3, 4]])


@pytest.mark.parametrize("shape", [(), (0,), (5,), (0, 0, 3), (0, 9, 3), (9, 9, 2), (1, 9, 9, 3)])
def test_from_arrays_of_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="array"):
        images.from_any(np.zeros(shape, np.uint8))


def test_from_paths_and_images(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(file_of(corners(), "PNG"))
    for given_ in (path, str(path), Image.open(path), Image.fromarray(corners()), corners()):
        rgb = images.from_any(given_)
        assert close(rgb, corners())
        assert rgb.dtype == np.uint8
    assert images.from_any(path).flags.writeable  # torch warns of arrays that are not


def test_from_a_turned_pillow_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.ascontiguousarray(turned(corners(), 6))
    opened = Image.open(io.BytesIO(file_of(stored, "PNG", exif=exif)))
    assert close(images.from_any(opened), corners())


ARRAYS = {
    "grey": (corners()[..., 0], "L"),
    "one channel": (corners()[..., :1], "L"),
    "bool": (corners()[..., 0] > 0, "L"),
    "float64": (corners() / 255.0, "RGB"),
    "float32": ((corners() / 255.0).astype(np.float32), "RGB"),
    "float16": ((corners() / 255.0).astype(np.float16), "RGB"),
    "int64": (corners().astype(np.int64), "RGB"),
    "uint16": (corners().astype(np.uint16) * 257, "RGB"),
    "uint16, 12 bits": ((corners().astype(np.uint32) * 273 // 17).astype(np.uint16), "RGB"),
    "uint16, alpha": (
        np.dstack([corners(), np.full((HEIGHT, WIDTH), 255)]).astype(np.uint16) * 257,
        "RGB",
    ),
    "not contiguous": (corners()[:, ::-1][:, ::-1], "RGB"),
    "alpha": (np.dstack([corners(), np.full((HEIGHT, WIDTH), 255, np.uint8)]), "RGB"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_from_arrays(name: str) -> None:
    array, kind = ARRAYS[name]
    expected = corners() if kind == "RGB" else corners()[..., :1].repeat(3, axis=2)
    rgb = images.from_any(array)
    assert close(rgb, expected)
    assert rgb.flags.c_contiguous


def test_from_array_with_alpha() -> None:
    clear = np.zeros((9, 9, 4), np.uint8)
    assert set(images.from_any(clear).ravel()) == {255}


@pytest.mark.parametrize(
    "array",
    [
        np.full((9, 9, 3), 1.5),
        np.full((9, 9, 3), -0.1),
        np.full((9, 9, 3), np.nan),
        np.full((9, 9, 3), 256),
        np.full((9, 9, 3), -1),
        np.full((9, 9, 3), "a"),
        np.zeros((9, 9, 3), complex),
        np.zeros((4, 9, 3), np.uint8),
        np.zeros((70000, 8, 3), np.uint8),
    ],
)
def test_arrays_out_of_range_are_refused(array: np.ndarray) -> None:
    with pytest.raises(InputError):
        images.from_any(array)


# ---- out --------------------------------------------------------------------------------------


def test_digest() -> None:
    picture = corners()
    assert images.digest(picture) == images.digest(picture.copy())
    assert images.digest(picture) == images.digest(np.asfortranarray(picture))
    assert len(images.digest(picture)) == 64
    other = picture.copy()
    other[-1, -1, -1] ^= 1
    assert images.digest(picture) != images.digest(other)
    assert images.digest(picture) != images.digest(picture.reshape(WIDTH, HEIGHT, 3))


def test_save_png_is_lossless(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (31, 17, 3), dtype=np.uint8)
    path = images.save_png(rgb, tmp_path / "a.png")
    assert close(Image.open(path), rgb)
    assert Image.open(path).format == "PNG"
    assert Image.open(images.save_jpeg(rgb, tmp_path / "a.jpg")).format == "JPEG"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (256, 3), (700, 5), (90, 200)])
def test_png_files_are_lossless_and_in_order(size: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(size[0])
    noise = rng.integers(0, 256, (*size, channels), dtype=np.uint8)
    slope = np.broadcast_to(np.arange(size[1], dtype=np.uint8)[None, :, None], noise.shape)
    for pixels in (noise, np.ascontiguousarray(slope), noise[::-1, ::-1]):
        content = png.encode(pixels)
        Image.open(io.BytesIO(content)).verify()  # looks at every checksum
        found = Image.open(io.BytesIO(content))
        assert found.mode == {3: "RGB", 4: "RGBA"}[channels]
        np.testing.assert_array_equal(np.array(found), pixels)
        assert found.info == {"srgb": 0}, "metadata"
    if size == (90, 200):
        assert len(png.encode(np.ascontiguousarray(slope))) < slope.size / 20, "not packed"


def test_png_refuses_what_is_neither_rgb_nor_rgba() -> None:
    with pytest.raises(ValueError, match="2 channels"):
        png.encode(np.zeros((4, 4, 2), np.uint8))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot be written"):
        images.save_png(corners(), tmp_path / "none" / "a.png")
    assert issubclass(ResourceError, HubError)


def test_mask_png_is_one_bit() -> None:
    mask = np.zeros((13, 21), bool)
    mask[3:7, 5:11] = True
    opened = Image.open(io.BytesIO(images.mask_to_png_bytes(mask)))
    assert opened.mode == "1"
    assert np.array_equal(np.asarray(opened), mask)


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [
        ((100, 50), 200, (100, 50)),
        ((100, 50), 100, (100, 50)),
        ((100, 50), 10, (10, 5)),
        ((8, 4000), 100, (1, 100)),
    ],
)
def test_resize_max(shape: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    assert images.resize_max(np.zeros((*shape, 3), np.uint8), side).shape == (*expected, 3)
