"""Files whose pixels are whole but whose other parts are odd, as they come from cameras, editors
and disks; and files of kinds that are not read. What is right is known from how each was made."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from core import images
from core.errors import BadImage
from core.imaging.decoding import data_urls, jpeg, limits
from tests import odd_files as odd
from tests.test_images import close, refusal

FAULTS = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "faults"
RGB = odd.blocks()
OTHER = odd.blocks(seed=1)
JPEG = odd.file_of(RGB, "JPEG", quality=95, subsampling=0)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(images.decode(data))


def fault(name: str) -> Path:
    if not FAULTS.is_dir():
        pytest.skip("the files are not here")
    return FAULTS / name


# ---- PNG ----------------------------------------------------------------------------------------

ANCILLARY = {
    "pHYs": struct.pack(">IIB", 1, 1, 1),
    "tEXt": b"a\0b",
    "iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + odd.XMP,
    "iCCP": b"x\0\0" + zlib.compress(b"no profile"),
    "gAMA": struct.pack(">I", 45455),
    "tIME": bytes(7),
    "eXIf": odd.exif(6),
    "tRNS": struct.pack(">HHH", *(int(v) for v in RGB[0, 0])),
    "unKn": b"?",
}


@pytest.mark.parametrize("name", ANCILLARY)
def test_a_wrong_checksum_beside_the_pixels_does_no_harm(name: str) -> None:
    """The chunk is left out, as browsers do: nothing is turned or transparent by it."""
    bad = odd.png_chunk(name.encode(), ANCILLARY[name], crc=5)
    assert close(decoded(odd.png(RGB, bad)), RGB)
    assert close(decoded(odd.png(RGB, after=bad)), RGB)


@pytest.mark.parametrize("name", ["tRNS", "gAMA", "sRGB", "cHRM", "eXIf", "iCCP", "acTL"])
@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 40])
def test_chunks_of_a_wrong_length_do_no_harm(name: str, content: bytes) -> None:
    assert close(decoded(odd.png(RGB, odd.png_chunk(name.encode(), content))), RGB)


def test_megabytes_of_text_and_profile() -> None:
    text = zlib.compress(b"a" * 3_000_000)
    chunks = [odd.png_chunk(b"zTXt", b"k\0\0" + text)] * 30
    chunks.append(odd.png_chunk(b"iTXt", b"k\0\1\0\0\0" + text))
    chunks.append(odd.png_chunk(b"tEXt", b"k\0" + b"a" * 2_000_000))
    chunks.append(odd.png_chunk(b"iCCP", b"x\0\0" + text))
    assert close(decoded(odd.png(RGB, *chunks)), RGB)


def test_png_without_an_end_or_with_more_behind_it() -> None:
    whole = odd.png(RGB)
    for data in (whole[:-12], whole[:-4], whole + b"garbage" * 99, whole + JPEG):
        assert close(decoded(data), RGB)


def test_damage_in_the_pixels_of_a_png_stays_refused() -> None:
    whole = odd.png(RGB)
    place = whole.index(b"IDAT") + 4
    length = struct.unpack_from(">I", whole, place - 8)[0]
    bad_sum = whole[: place + length] + b"abcd" + whole[place + length + 4 :]
    cut = odd.png_chunk(b"IDAT", odd.png_pixels(RGB)[:-60])
    short = whole[: place - 8] + cut + odd.png_chunk(b"IEND", b"")
    for data in (bad_sum, short, whole[: place + length // 2]):
        assert "damaged" in refusal(data)
    with pytest.raises(BadImage, match=r"not a picture|damaged"):
        images.decode(whole.replace(b"IHDR", b"IHDS"))


def test_hidden_default_of_an_animation_is_not_shown() -> None:
    assert close(decoded(odd.apng(RGB, [(OTHER, 0, 0)], hidden=True)), OTHER)
    assert close(decoded(odd.apng(RGB, [(OTHER, 0, 0), (RGB, 0, 0)], hidden=True)), OTHER)
    assert close(decoded(odd.apng(RGB, [(OTHER, 0, 0)], hidden=False)), RGB)


def test_a_first_frame_smaller_than_its_canvas_lies_on_white() -> None:
    expected = np.full_like(RGB, 255)
    expected[3:19, 5:37] = OTHER[8:24, 8:40]
    part = np.ascontiguousarray(OTHER[8:24, 8:40])
    assert close(decoded(odd.apng(RGB, [(part, 5, 3), (RGB, 0, 0)], hidden=True)), expected)
    outside = odd.apng(RGB, [(part, 40, 3)], hidden=True)  # no browser plays that
    assert close(decoded(outside), RGB)


def test_an_animation_of_no_frames_is_a_picture() -> None:
    data = odd.apng(RGB, [(OTHER, 0, 0)], hidden=True)
    count = odd.png_chunk(b"acTL", struct.pack(">II", 1, 0))
    assert count in data
    assert close(decoded(data.replace(count, b"")), RGB)
    none = odd.png_chunk(b"acTL", struct.pack(">II", 0, 0))
    assert close(decoded(data.replace(count, none)), RGB)


def test_a_hidden_bomb_is_refused_by_its_header() -> None:
    data = odd.apng(RGB, [(OTHER, 0, 0)], hidden=True)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    small = data[16:29]
    data = data.replace(odd.png_chunk(b"IHDR", small), odd.png_chunk(b"IHDR", header))
    assert "50 megapixels" in refusal(data)


# ---- JPEG ---------------------------------------------------------------------------------------

JPEGS = {
    "plain": {"subsampling": 0},
    "4:2:0": {"subsampling": 2},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "optimized": {"optimize": True},
}


def jpeg_of(kind: str, mode: str = "RGB") -> bytes:
    return odd.file_of(Image.fromarray(RGB).convert(mode), "JPEG", quality=90, **JPEGS[kind])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_without_its_end_marker_is_whole(kind: str, mode: str) -> None:
    data = jpeg_of(kind, mode)
    whole = decoded(data)
    for odd_end in (data[:-2], data[:-1], data[:-2] + bytes(300), data + b"\xff\xd8garbage" * 50):
        assert close(decoded(odd_end), whole)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_that_is_cut_off_stays_refused(kind: str, mode: str) -> None:
    """Wherever it is cut: it is refused, or it is the same picture because only padding is lost."""
    data = jpeg_of(kind, mode)
    whole = decoded(data)
    start = data.index(b"\xff\xda") + 14
    for end in range(start, len(data) - 2, 5):
        try:
            assert close(decoded(data[:end]), whole, 1), end
        except BadImage as error:
            assert "damaged" in str(error) or "not a picture" in str(error)


def test_half_a_jpeg_with_an_end_marker_is_refused() -> None:
    """libjpeg fills it with grey and says nothing."""
    data = odd.file_of(odd.blocks(30, 30), "JPEG", quality=90)
    for share in (0.3, 0.5, 0.8):
        assert "damaged" in refusal(data[: int(len(data) * share)] + b"\xff\xd9")


def test_a_jpeg_that_ends_in_grey_is_whole() -> None:
    for grey in (127, 128):
        picture = RGB.copy()
        picture[8:, 8:] = grey
        for options in JPEGS.values():
            data = odd.file_of(picture, "JPEG", quality=95, **options)
            assert abs(int(decoded(data)[-1, -1, 0]) - grey) <= 2
            assert images.decode(data[:-2]).size == (48, 32)


SEGMENTS = {
    "EXIF": odd.jpeg_segment(0xE1, b"Exif\0\0" + b"\xff" * 24),
    "a second picture": odd.jpeg_segment(0xE2, b"MPF\0" + b"\xff" * 20),
    "Photoshop": odd.jpeg_segment(0xED, b"Photoshop 3.0\0008BIM" + b"\xff" * 9),
    "profile": odd.jpeg_segment(0xE2, b"ICC_PROFILE\0\7"),
    "Adobe": odd.jpeg_segment(0xEE, b"Adobe"),
    "JFIF": odd.jpeg_segment(0xE0, b"ab"),
    "comment": odd.jpeg_segment(0xFE, b"\xff\xd8\xff\xda" * 99),
    "garbage between": odd.jpeg_segment(0xFE, b"ab") + b"garbage",
    "XMP": odd.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + odd.XMP),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_damaged_segments_of_a_jpeg_do_no_harm(name: str) -> None:
    assert close(decoded(odd.with_segments(JPEG, SEGMENTS[name])), decoded(JPEG))


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xCB])
def test_kinds_of_jpeg_that_are_not_read_are_named(marker: int) -> None:
    data = JPEG.replace(b"\xff\xc0", bytes((0xFF, marker)))
    assert "lossless or hierarchical JPEG" in refusal(data)


def test_twelve_bit_jpeg_is_named() -> None:
    place = JPEG.index(b"\xff\xc0") + 4
    data = JPEG[:place] + b"\x0c" + JPEG[place + 1 :]
    assert "12 bits" in refusal(data)


def test_the_closer_look_costs_nothing_where_the_end_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode(_data: bytes) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(jpeg, "_digest", decode)
    assert images.decode(JPEG + b"garbage").size == (48, 32)


# ---- turns --------------------------------------------------------------------------------------


def with_xmp(kind: str, orientation: int) -> bytes:
    """Turned by XMP, and by EXIF where `orientation` is not 1."""
    if kind == "PNG":
        text = odd.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + odd.XMP)
        more = [odd.png_chunk(b"eXIf", odd.exif(orientation))] if orientation > 1 else []
        return odd.png(RGB, text, *more)
    if kind == "TIFF":
        tags = odd.page_tags(RGB, 8, tag274=(3, [orientation]), tag700=(1, list(odd.XMP)))
        if orientation == 1:
            del tags[274]
        return odd.tiff([tags], blob=RGB.tobytes())
    # Some writers make a box of the container of what XMP says.
    harmless = odd.XMP.replace(b'"6"', b'"1"')
    options: dict[str, object] = {"xmp": harmless, "quality": 95}
    if orientation > 1:
        options["exif"] = b"Exif\0\0" + odd.exif(orientation)
    return odd.file_of(RGB, kind, **options).replace(harmless, odd.XMP)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_orientation_is_never_that_of_xmp(kind: str) -> None:
    data = with_xmp(kind, 1)
    assert b'tiff:Orientation="6"' in data
    upright = decoded(data)
    assert upright.shape == RGB.shape
    assert np.abs(upright.astype(int) - RGB).mean() < 12
    by_exif = decoded(with_xmp(kind, 8))
    turned = np.rot90(RGB)  # orientation 8 is turned by 90 degrees against the clock
    assert by_exif.shape == turned.shape
    assert np.abs(by_exif.astype(int) - turned).mean() < 12


def test_exif_behind_the_pixels_of_a_png_turns_nothing() -> None:
    """As in Chromium and libvips."""
    assert close(decoded(odd.png(RGB, after=odd.png_chunk(b"eXIf", odd.exif(6)))), RGB)


def test_damaged_exif_of_an_avif_does_no_harm() -> None:
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "Camera"
    data = odd.file_of(RGB, "AVIF", exif=tags.tobytes())
    place = data.rindex(b"MM\0*", 0, data.index(b"Camera"))
    damaged = data[:place] + b"\xff" * 8 + data[place + 8 :]
    assert close(decoded(damaged), decoded(data))


# ---- RAW, and which page of a TIFF --------------------------------------------------------------

SMALL = np.ascontiguousarray(OTHER[:16, :24])
PIXELS = RGB.tobytes() + SMALL.tobytes()
BEHIND = 8 + RGB.nbytes
CFA = {262: (3, [32803]), 277: (3, [1]), 258: (3, [16])}
RAW = {
    "DNG": odd.tiff([odd.page_tags(SMALL, BEHIND, 1, tag50706=(4, [0x00040401]))], blob=PIXELS),
    "NEF, sensor below the preview": odd.tiff(
        [odd.page_tags(SMALL, BEHIND, 1, tag330=(4, [-1])), odd.page_tags(RGB, 8) | CFA],
        blob=PIXELS,
    ),
    "sensor on the second page": odd.tiff(
        [odd.page_tags(SMALL, BEHIND, 1), odd.page_tags(RGB, 8) | CFA], ">", PIXELS
    ),
    "ARW": odd.tiff(
        [odd.page_tags(SMALL, BEHIND, 1), odd.page_tags(RGB, 8, tag259=(3, [32767]))], blob=PIXELS
    ),
    "PEF": odd.tiff([odd.page_tags(RGB, 8, tag259=(3, [65535]))], ">", PIXELS),
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200),
    "ORF": b"IIRO\x08\0\0\0" + bytes(200),
    "RW2": b"IIU\0\x08\0\0\0" + bytes(200),
    "RAF": b"FUJIFILMCCD-RAW 0201" + bytes(200),
    "X3F": b"FOVb" + bytes(200),
    "MRW": b"\0MRM" + bytes(200),
}


@pytest.mark.parametrize("name", RAW)
def test_camera_raw_is_told_by_its_content(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(RAW[name])
    message = refusal(path)
    assert "camera RAW" in message
    assert "JPEG" in message


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("subfile", [1, 4, 5])
def test_the_page_that_is_no_preview_is_taken(order: str, subfile: int) -> None:
    preview, full = odd.page_tags(SMALL, BEHIND, subfile), odd.page_tags(RGB, 8)
    assert close(decoded(odd.tiff([preview, full], order, PIXELS)), RGB)
    assert close(decoded(odd.tiff([full, preview], order, PIXELS)), RGB)
    below = odd.tiff([preview | {330: (4, [-1])}, full], order, PIXELS)
    assert close(decoded(below), RGB)
    assert close(decoded(odd.tiff([preview], order, PIXELS)), SMALL)  # better than nothing


def test_the_old_tag_for_a_preview() -> None:
    preview = odd.page_tags(SMALL, BEHIND, tag255=(3, [2]))
    assert close(decoded(odd.tiff([preview, odd.page_tags(RGB, 8)], blob=PIXELS)), RGB)


def test_first_of_several_pages_and_loops_of_pages() -> None:
    data = odd.tiff([odd.page_tags(RGB, 8), odd.page_tags(SMALL, BEHIND)], blob=PIXELS)
    assert close(decoded(data), RGB)
    looped = odd.page_tags(SMALL, BEHIND, 1, tag330=(4, [8 + len(PIXELS)]))
    assert close(decoded(odd.tiff([looped], blob=PIXELS)), SMALL)


# ---- TIFF that Pillow cannot read by itself -----------------------------------------------------


def written(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **options)
    return buffer.getvalue()


def stretched(values: np.ndarray) -> np.ndarray:
    """From the lowest number to the highest; floats that lie in 0..1 are left where they are."""
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return np.rint((values.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u4", "i2", "i4"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_deep_colour_is_stretched(dtype: str, byteorder: str, tile: object) -> None:
    values = (RGB / 255 if dtype[0] == "f" else RGB.astype(int) * 100).astype(dtype)
    for options in ({"planarconfig": "contig"}, {"planarconfig": "separate"}):
        pixels = np.moveaxis(values, 2, 0) if options["planarconfig"] == "separate" else values
        data = written(pixels, photometric="rgb", byteorder=byteorder, tile=tile, **options)
        assert close(decoded(data), stretched(values), 1)


@pytest.mark.parametrize("predictor", [1, 2])  # libvips writes the third, below
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_deep_colour_compressed_by_differences(predictor: int, tile: object) -> None:
    values = (RGB / 255).astype(np.float32)
    if predictor == 2:
        values = RGB.astype(np.uint32) * 10000
    data = written(
        values,
        photometric="rgb",
        compression="zlib",
        predictor=predictor,
        tile=tile,
        rowsperstrip=7,
    )
    assert close(decoded(data), stretched(values), 1)


@pytest.mark.skipif(not shutil.which("vips"), reason="libvips is not here")
@pytest.mark.parametrize("how", ["none", "lzw", "deflate", "zstd", "packbits"])
@pytest.mark.parametrize("predictor", ["none", "horizontal", "float"])
def test_deep_colour_as_libvips_writes_it(how: str, predictor: str, tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    floats, out = tmp_path / "a.v", tmp_path / "a.tif"
    subprocess.run(["vips", "cast", tmp_path / "a.png", floats, "float"], check=True)
    options = ["--compression", how, "--predictor", predictor]
    subprocess.run(["vips", "tiffsave", floats, out, *options], check=True)
    assert close(decoded(out.read_bytes()), stretched(RGB), 1)


def test_deep_colour_with_alpha_and_turned() -> None:
    values = np.dstack([RGB / 255, np.zeros((32, 48))]).astype(np.float32)
    values[:, :24, 3] = 1
    data = written(values, photometric="rgb", extrasamples=["unassalpha"])
    rgb = decoded(data)
    assert close(rgb[:, :24], RGB[:, :24], 1)
    assert set(rgb[:, 24:].ravel()) == {255}
    turned = written(values[..., :3], photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    assert images.decode(turned).size == (32, 48)


def test_grey_of_other_depths() -> None:
    grey = RGB[..., 0]
    for values in ((grey / 255).astype(np.float16), grey / 255):
        assert close(decoded(written(values))[..., 0], stretched(values), 1)
    both = np.dstack([grey.astype(np.uint16) * 257, np.full((32, 48), 65535, np.uint16)])
    for order in "<>":
        data = written(both, photometric="minisblack", extrasamples=["unassalpha"], byteorder=order)
        assert close(decoded(data)[..., 0], grey, 1)


def test_deep_bombs_are_refused_by_their_header() -> None:
    tags = odd.page_tags(RGB, 8) | {258: (3, [32] * 3), 339: (3, [3] * 3)}
    assert "50 megapixels" in refusal(odd.tiff([tags | {256: (4, [60000]), 257: (4, [60000])}]))
    large = odd.tiff([tags | {256: (4, [6000]), 257: (4, [6000])}])
    assert "6000 x 6000" in refusal(large)
    assert "damaged" in refusal(odd.tiff([tags], blob=RGB.tobytes()))  # too few bytes


@pytest.mark.skipif(not shutil.which("vips"), reason="libvips is not here")
@pytest.mark.parametrize("tile", [[], ["--tile", "--tile-width", "16", "--tile-height", "16"]])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_in_a_tiff(tile: list[str], mode: str, tmp_path: Path) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    out = tmp_path / "a.tif"
    options = ["--compression", "webp", "--lossless", *tile]
    subprocess.run(["vips", "tiffsave", tmp_path / "a.png", out, *options], check=True)
    data = out.read_bytes()
    assert close(decoded(data), RGB)
    place = data.index(b"VP8L") + 30
    assert "damaged" in refusal(data[:place] + b"\xff" * 40 + data[place + 40 :])


def test_compressions_that_are_not_read_are_named() -> None:
    for number, name in {33003: "JPEG 2000", 50002: "JPEG XL", 34887: "LERC", 999: "999"}.items():
        data = odd.tiff([odd.page_tags(RGB, 8, tag259=(3, [number]))], blob=PIXELS)
        assert name in refusal(data)


# ---- BMP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_run_length_bmp(packed: bool, seed: int) -> None:
    """Runs and literal stretches, odd and even, of every length."""
    rng = np.random.default_rng(seed)
    colours = 16 if packed else 256
    index = rng.integers(0, colours, (9 + seed, 13)).repeat(1 + seed % 3, 1)
    palette = rng.integers(0, 256, (colours, 4), dtype=np.uint8)
    body = odd.runs(index[::-1].tolist(), packed, seed)
    size = index.shape[1], index.shape[0]
    data = odd.bmp(size, 4 if packed else 8, 2 if packed else 1, body, palette.tobytes())
    assert close(decoded(data), palette[index][..., 2::-1])
    assert close(decoded(data[:-2]), palette[index][..., 2::-1])  # without the end mark


PALETTE = bytes(v for i in range(256) for v in (i, 255 - i, i // 2, 0))


def test_run_length_bmp_with_jumps_and_empty_lines() -> None:
    """As ImageMagick and libvips show them: what no run reaches has colour 0."""
    body = b"\5\3\0\2\3\2\7\x09\0\0" + b"\0\0" + b"\x14\4" + b"\0\1"
    index = np.zeros((12, 20), int)
    index[0, :5], index[2, 8:15], index[4, :] = 3, 9, 4
    palette = np.frombuffer(PALETTE, np.uint8).reshape(-1, 4)
    expected = palette[index[::-1]][..., 2::-1]
    assert close(decoded(odd.bmp((20, 12), 8, 1, body, PALETTE)), expected)
    top_down = decoded(odd.bmp((20, -12), 8, 1, body, PALETTE))
    assert close(top_down, expected[::-1])


def test_run_length_bmp_that_is_cut_off_or_runs_over() -> None:
    body = b"\x14\5\0\0" * 12 + b"\0\1"
    for end in (1, 2, 17, 30, len(body) - 8):
        assert "damaged" in refusal(odd.bmp((20, 12), 8, 1, body[:end], PALETTE))
    over = odd.bmp((16, 12), 8, 1, body, PALETTE)
    assert len(set(map(tuple, decoded(over).reshape(-1, 3)))) == 1
    assert "damaged" in refusal(odd.bmp((20, 12), 4, 2, b"\0\x09\x12", PALETTE[:64]))


def test_run_length_bomb_and_slow_bmp(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "50 megapixels" in refusal(odd.bmp((60000, 60000), 8, 1, b"\0\1", PALETTE))
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.02)
    assert "too long" in refusal(odd.bmp((4000, 4000), 8, 1, b"\1\1" * 900_000, PALETTE))


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, (0xF00, 0xF0, 0xF)),
        (16, (0xF800, 0x7E0, 0x1F)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF)),
        (32, (0xFF, 0xFF00, 0xFF0000)),
    ],
)
def test_bmp_of_any_masks(bits: int, masks: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (9, 16), dtype=np.uint64)
    data = odd.bmp((16, 9), bits, 3, values[::-1].astype(f"<u{bits // 8}").tobytes(), masks=masks)
    parts = []
    for mask in masks:
        shift = (mask & -mask).bit_length() - 1
        parts.append((values & np.uint64(mask)) / 2**shift / (mask >> shift) * 255)
    assert close(decoded(data), np.rint(np.dstack(parts)), 4)  # Pillow scales 5 bits otherwise
    assert "damaged" in refusal(data[:-9])


# ---- GIF and WebP -------------------------------------------------------------------------------

GIF_COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)], np.uint8)


@pytest.mark.parametrize("clear", [None, 0, 2])
@pytest.mark.parametrize("frame", [(0, 0, 48, 32), (10, 6, 20, 16), (28, 16, 20, 16)])
def test_a_gif_lies_on_an_empty_canvas(clear: int | None, frame: tuple[int, ...]) -> None:
    """Not on one of the background colour: no browser paints that."""
    x, y, width, height = frame
    rows, columns = np.mgrid[:height, :width]
    index = (rows + columns) % 4
    shown = GIF_COLOURS[index]
    if clear is not None:
        shown[index == clear] = 255
    expected = np.full((32, 48, 3), 255, np.uint8)
    expected[y : y + height, x : x + width] = shown
    data = odd.gif((48, 32), frame, clear)
    assert close(decoded(data), expected)
    assert close(decoded(data[:-1]), expected)  # without the end mark
    assert close(decoded(data + b"garbage"), expected)


def test_webp_whose_other_parts_are_damaged() -> None:
    data = odd.file_of(
        RGB, "WEBP", lossless=True, exif=b"Exif\0\0" + odd.exif(1), xmp=odd.XMP + b" "
    )
    chunks = odd.riff_chunks(data)
    size = len(data) - 8
    junk = [(name, b"\xff" * len(part) if name == b"EXIF" else part) for name, part in chunks]
    no_xmp = [(name, part) for name, part in chunks if name != b"XMP "]
    for odd_one in (
        odd.riff(chunks, size + 1000),
        odd.riff(chunks, 40),
        odd.riff(chunks, 0),
        odd.riff(junk),
        odd.riff(no_xmp),
        odd.riff([chunks[0], (b"abcd", b"xyz"), *chunks[1:]]),
        data[:-40],
        data + b"garbage" * 30,
    ):
        assert close(decoded(odd_one), RGB)
    pixels = dict(chunks)[b"VP8L"]
    cut = [(name, part) for name, part in chunks if name == b"VP8X"] + [(b"VP8L", pixels[:-40])]
    with pytest.raises(BadImage):
        images.decode(odd.riff(cut))


def test_first_frame_of_a_webp_lies_on_an_empty_canvas() -> None:
    small = Image.new("RGBA", (48, 32))
    small.paste(Image.fromarray(RGB[:16, :16]), (10, 6))
    expected = np.full_like(RGB, 255)
    expected[6:22, 10:26] = RGB[:16, :16]
    more = [Image.fromarray(OTHER).convert("RGBA")]
    data = odd.file_of(small, "WEBP", save_all=True, append_images=more, duration=9, lossless=True)
    assert close(decoded(data), expected)
    assert close(decoded(data[:-60]), expected)  # of the second frame


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "PPM"]
)
def test_more_behind_the_picture(kind: str) -> None:
    data = odd.file_of(RGB, kind)
    for tail in (b"garbage" * 100, bytes(5000), JPEG, b"\xff" * 33):
        assert close(decoded(data + tail), decoded(data))


# ---- anything at all -----------------------------------------------------------------------------

ODD = {
    "hidden": odd.apng(RGB, [(OTHER, 0, 0)], hidden=True),
    "runs": odd.bmp((20, 12), 8, 1, b"\x14\5\0\0" * 12 + b"\0\1", PALETTE),
    "masks": odd.bmp((16, 9), 16, 3, bytes(288), masks=(0xF00, 0xF0, 0xF)),
    "floats": written((RGB / 255).astype(np.float32), photometric="rgb", compression="zlib"),
    "pages": odd.tiff(
        [odd.page_tags(SMALL, BEHIND, 1, tag330=(4, [-1])), odd.page_tags(RGB, 8)], blob=PIXELS
    ),
    "tiles": written(RGB.astype(np.float16), photometric="rgb", tile=(16, 16)),
    "gif": odd.gif((48, 32), (10, 6, 20, 16), 2),
    "webp": odd.file_of(RGB, "WEBP", lossless=True, exif=b"Exif\0\0" + odd.exif(6)),
    "restarts": jpeg_of("restarts"),
    "progressive": jpeg_of("progressive")[:-2],
}


@pytest.mark.parametrize("name", ODD)
def test_any_damage_gives_a_picture_or_a_sentence(name: str) -> None:
    rng = np.random.default_rng(len(name))
    for _ in range(150):
        data = bytearray(ODD[name])
        # half of the places lie near an end, where headers and directories are
        for _ in range(rng.integers(1, 6)):
            near = int(rng.integers(0, min(120, len(data))))
            place = rng.choice([near, len(data) - 1 - near, int(rng.integers(0, len(data)))])
            data[place] = rng.choice([0, 1, 2, 3, 127, 255, int(rng.integers(0, 256))])
        keep = len(data) if rng.random() < 0.7 else int(rng.integers(0, len(data)))
        try:
            picture = images.decode(bytes(data[:keep]) or b"x")
        except BadImage as error:
            assert str(error).endswith(".")
        else:
            assert picture.mode == "RGB"
            assert min(picture.size) >= images.MIN_SIDE


# ---- the files of the list ----------------------------------------------------------------------


def test_files_of_the_list() -> None:
    red, green, blue, sand = (200, 60, 50), (60, 180, 70), (60, 80, 190), (220, 150, 60)
    picture = np.asarray(images.decode(fault("bad-crc-of-pHYs.png")))
    assert picture.shape == (48, 192, 3)
    assert [tuple(picture[24, x]) for x in (24, 72, 120, 168)] == [red, green, blue, sand]
    whole = np.asarray(images.decode(fault("whole.jpg")))
    assert close(images.decode(fault("no-EOI.jpg")), whole)
    assert images.decode(fault("xmp6.jpg")).size == (64, 16)
    assert images.decode(fault("IMG_0001.HEIC")).size == (96, 64)
    assert "camera RAW" in refusal(fault("camera.dng"))
    y, x = np.mgrid[:8, :9]
    colours = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    assert close(images.decode(fault("stripes.bmp")), colours[(x + y) % 4])


def test_addresses_of_the_list() -> None:
    lines = fault("urls.txt").read_text("utf-8").splitlines()
    found = [decoded(data_urls.content(json.loads(line))) for line in lines]
    assert len(found) == 7
    assert {one.shape for one in found} == {(16, 64, 3)}
    assert all(np.array_equal(one, found[0]) for one in found)
