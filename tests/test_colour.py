"""Colours beside libvips and stored values of Chromium; test_colour_browser.py asks it directly."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from core import images
from core.errors import BadImage
from core.imaging.colour import conversion, icc
from core.imaging.colour import tags as colour_tags
from core.imaging.decoding import bit_depth, decoder
from tests import colour_files as files
from tests import odd_files, profiles

FAULTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "faults"
decoder._register_heif()  # so that the tests can write HEIC
P3, ADOBE = profiles.rgb("p3", "srgb"), profiles.rgb("adobe", 2.19921875)
# What Chromium 156 shows of the first four patches.
SHOWN = {
    "plain": [(200, 60, 50), (60, 180, 70), (60, 80, 190), (220, 150, 60)],
    "p3": [(217, 42, 39), (0, 183, 49), (54, 81, 197), (232, 146, 28)],
    "adobe": [(231, 57, 46), (0, 181, 57), (46, 79, 194), (242, 151, 48)],
    "rec2020": [(244, 0, 24), (0, 185, 18), (0, 71, 195), (255, 132, 0)],
    "prophoto": [(255, 0, 60), (0, 209, 49), (0, 102, 213), (255, 148, 39)],
    "bt2020, sRGB curve": [(247, 0, 39), (0, 189, 41), (0, 80, 198), (255, 138, 20)],
    "hlg": [(230, 0, 26), (0, 170, 27), (0, 58, 165), (255, 95, 0)],
    "linear": [(229, 133, 122), (133, 219, 143), (133, 152, 224), (239, 202, 133)],
}


def off(data: bytes, name: str) -> int:
    """How far the first four patches are from what they should be."""
    return int(np.abs(files.cells(images.decode(data))[:4] - SHOWN[name]).max())


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(images.decode(data)).astype(int)


# ---- the inputs that went wrong ---------------------------------------------------------------

NOTED = {
    "p3.png": SHOWN["p3"],
    "adobe.png": SHOWN["adobe"],
    "cmyk-profile-in-rgb.png": SHOWN["plain"],
    "pq.png": [(146, 41, 34), (41, 131, 49), (42, 56, 139), (161, 109, 41)],
    "u16.tif": [(32,) * 3, (97,) * 3, (162,) * 3, (227,) * 3],
}


@pytest.mark.parametrize("name", NOTED)
def test_noted_inputs(name: str) -> None:
    if not (FAULTS / name).is_file():
        pytest.skip("the shared inputs are not here")
    rgb = images.from_any(FAULTS / name).astype(int)
    assert np.abs(rgb[8, 8::16] - NOTED[name]).max() <= 1


def test_the_same_ramp_with_8_and_16_bits() -> None:
    if not FAULTS.is_dir():
        pytest.skip("the shared inputs are not here")
    deep = images.from_any(FAULTS / "g16.png")
    np.testing.assert_array_equal(deep, images.from_any(FAULTS / "g8.png"))
    assert (deep.min(), deep.max()) == (40, 180)


# ---- containers -------------------------------------------------------------------------------

PATCHES = files.patches()
EXACT = {"quality": 100, "subsampling": 0}
CONTAINERS = {
    "JPEG": lambda profile: odd_files.file_of(PATCHES, "JPEG", icc_profile=profile, **EXACT),
    "PNG": lambda profile: files.png(PATCHES, files.iccp(profile)),
    "PNG, 16 bits": lambda profile: files.png(files.patches(257), files.iccp(profile)),
    "PNG, palette": lambda profile: odd_files.file_of(
        Image.fromarray(PATCHES).quantize(16), "PNG", icc_profile=profile
    ),
    "PNG, opaque alpha": lambda profile: files.png(
        np.dstack([PATCHES, np.full(PATCHES.shape[:2], 255, np.uint8)]), files.iccp(profile)
    ),
    "WebP": lambda profile: odd_files.file_of(PATCHES, "WEBP", lossless=True, icc_profile=profile),
    "TIFF": lambda profile: odd_files.file_of(PATCHES, "TIFF", icc_profile=profile),
    "TIFF, deflate": lambda profile: odd_files.file_of(
        PATCHES, "TIFF", compression="tiff_deflate", icc_profile=profile
    ),
    "BMP": lambda profile: files.bmp5(PATCHES, profile),
    "AVIF": lambda profile: odd_files.file_of(
        PATCHES, "AVIF", quality=100, subsampling="4:4:4", icc_profile=profile
    ),
    "HEIC": lambda profile: odd_files.file_of(
        PATCHES, "HEIF", quality=100, chroma=444, icc_profile=profile
    ),
    "MPO": lambda profile: odd_files.file_of(
        PATCHES,
        "MPO",
        save_all=True,
        append_images=[Image.fromarray(PATCHES)],
        icc_profile=profile,
        **EXACT,
    ),
}
PROFILES = {
    "p3": P3,
    "adobe": ADOBE,
    "rec2020": profiles.rgb("rec2020", 2.4),
    "prophoto": profiles.rgb("prophoto", 1.8),
    "plain": profiles.rgb("srgb", "srgb table"),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("container", CONTAINERS)
def test_profiles_in_every_container(container: str, name: str) -> None:
    lossy = container in ("JPEG", "MPO", "AVIF", "HEIC")
    assert off(CONTAINERS[container](PROFILES[name]), name) <= (4 if lossy else 1)


@pytest.mark.parametrize("name", ["p3", "adobe"])
def test_pillow_images_are_converted_too(name: str) -> None:
    opened = Image.open(io.BytesIO(files.png(PATCHES, files.iccp(PROFILES[name]))))
    assert np.abs(files.cells(images.from_any(opened))[:4] - SHOWN[name]).max() <= 1
    opened = Image.open(io.BytesIO(files.png(PATCHES, files.cicp(12, 13))))
    assert np.abs(files.cells(images.from_any(opened))[:4] - SHOWN["p3"]).max() <= 1


NCLX = {
    "plain": (1, 13),
    "p3": (12, 13),
    "bt2020, sRGB curve": (9, 13),
    "hlg": (9, 18),
    "linear": (1, 8),
}


@pytest.mark.parametrize("name", NCLX)
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_nclx(kind: str, name: str) -> None:
    options = {"subsampling": "4:4:4"} if kind == "AVIF" else {"chroma": 444}
    data = odd_files.file_of(PATCHES, kind, quality=100, **options)
    assert off(files.with_nclx(data, *NCLX[name]), name) <= 8
    assert off(data, "plain") <= 3


def test_nclx_of_another_item_does_not_count() -> None:
    """A picture of two colr boxes, of which the primary item has the second only."""

    def box(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + name + content

    nclx = [box(b"colr", b"nclx" + struct.pack(">HHHB", p, 13, 6, 128)) for p in (9, 12)]
    for long in (0, 1):
        entry = [struct.pack(">H", 0x8000 | n) if long else bytes([0x80 | n]) for n in (1, 2)]
        items = struct.pack(">HB", 1, 1) + entry[0] + struct.pack(">HB", 7, 1) + entry[1]
        ipma = box(b"ipma", bytes([0, 0, 0, long]) + struct.pack(">I", 2) + items)
        iprp = box(b"iprp", box(b"ipco", b"".join(nclx)) + ipma)
        meta = box(b"meta", bytes(4) + box(b"pitm", struct.pack(">IH", 0, 7)) + iprp)
        space = colour_tags.heif_space(box(b"ftyp", b"avif0000") + meta)
        assert space is not None
        np.testing.assert_allclose(space.xyz, profiles.colorants("p3"), atol=2e-4)


# ---- what is passed over ----------------------------------------------------------------------

UNFIT = {
    "cut": P3[:300],
    "no profile at all": b"x" * 500,
    "CMYK": profiles.table(b"CMYK", profiles.ink, 3),
    "grey": profiles.grey(1.0),
    "Lab": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    "sizes that lie": P3[:128] + b"\xff" * 4 + P3[132:],
}


@pytest.mark.parametrize("container", ["PNG", "JPEG", "TIFF", "WebP"])
@pytest.mark.parametrize("name", UNFIT)
def test_broken_and_unfitting_profiles_change_nothing(name: str, container: str) -> None:
    plain = {"PNG": files.png(PATCHES)}.get(container) or CONTAINERS[container](b"")
    with_profile = CONTAINERS[container](UNFIT[name])
    np.testing.assert_array_equal(decoded(with_profile), decoded(plain))


@pytest.mark.parametrize(
    "profile", [profiles.rgb("srgb", "srgb"), profiles.rgb("srgb", "srgb", 4), icc.srgb()]
)
def test_srgb_by_whatever_name_changes_nothing(profile: bytes) -> None:
    pixels = files.noise()
    for data in (files.png(pixels, files.iccp(profile)), files.png(pixels, files.cicp(1, 13))):
        np.testing.assert_array_equal(decoded(data), pixels)


def test_a_profile_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = ImageCms.buildTransform

    def counted(*args: object, **options: object) -> object:
        built.append(args)
        return build(*args, **options)

    monkeypatch.setattr(ImageCms, "buildTransform", counted)
    profile = profiles.rgb("p3", 2.1)
    for _ in range(3):
        images.decode(files.png(PATCHES, files.iccp(profile)))
    assert len(built) == 1


def test_many_profiles_at_once() -> None:
    wrong: list[str] = []

    def work() -> None:
        for name, profile in PROFILES.items():
            if off(files.png(PATCHES, files.iccp(profile)), name) > 1:
                wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([P3, profiles.grey(1.8), profiles.named(9, 16), UNFIT["CMYK"]]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
)
def test_fuzz_profiles(profile: bytes, changes: list[tuple[float, int]]) -> None:
    content = bytearray(profile)
    for place, value in changes:
        content[int(place * (len(content) - 1))] = value
    for pixels in (PATCHES[:, :16], files.patches(257)[:, :16]):
        images.decode(files.png(np.ascontiguousarray(pixels), files.iccp(bytes(content))))
    grey = np.ascontiguousarray(files.patches(257)[:, :16, 0])
    images.decode(files.png(grey, files.iccp(bytes(content))))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12), st.floats(0, 1))
def test_fuzz_boxes(changes: list[tuple[float, int]], keep: float) -> None:
    content = bytearray(_AVIF[: int(len(_AVIF) * keep)] if keep < 0.3 else _AVIF)
    for place, value in changes if content else ():
        content[int(place * min(400, len(content) - 1))] = value
    colour_tags.heif_space(bytes(content))


_AVIF = odd_files.file_of(PATCHES, "AVIF")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([b"cICP", b"gAMA", b"cHRM", b"mDCV", b"cLLI", b"iCCP", b"sRGB"]),
    st.binary(max_size=40),
)
def test_fuzz_chunks(name: bytes, content: bytes) -> None:
    data = files.png(PATCHES, (name, content), files.cicp(9, 16))
    try:
        assert images.decode(data).size == (128, 16)
    except BadImage as error:  # Pillow refuses the whole picture for some
        assert "not a picture" in str(error)


def test_a_wrong_checksum_drops_a_chunk() -> None:
    data = files.png(PATCHES, files.gama(1.0))
    at = data.index(b"gAMA") + 8
    assert b"gAMA" in colour_tags.png_chunks(data)
    assert colour_tags.png_chunks(data[:at] + b"\0\0\0\0" + data[at + 4 :]) == {}


# ---- beside libvips ---------------------------------------------------------------------------


def vips(folder: Path, data: bytes, suffix: str, *options: str) -> np.ndarray:
    """What libvips makes of a file's embedded profile, relative colorimetric, as 8-bit sRGB."""
    if shutil.which("vips") is None:
        pytest.skip("libvips is not installed")
    source, target = folder / f"in.{suffix}", folder / "out.png"
    source.write_bytes(data)
    command = ["vips", "icc_transform", str(source), str(target), "srgb", "--embedded", *options]
    subprocess.run([*command, "--depth", "8"], check=True, timeout=120, capture_output=True)
    with Image.open(target) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


INK = profiles.table(b"CMYK", profiles.ink, 7)
CMYK = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (4, 16, 4), np.uint8).repeat(8, 0).repeat(8, 1),
    "CMYK",
)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str, tmp_path: Path) -> None:
    options = EXACT if kind == "JPEG" else {}
    data = odd_files.file_of(CMYK, kind, icc_profile=INK, **options)
    difference = np.abs(decoded(data) - vips(tmp_path, data, "jpg" if kind == "JPEG" else "tif"))
    assert difference.max() <= 2
    assert off_by_profile(CMYK, data) > 10, "the profile changes nothing"


def off_by_profile(image: Image.Image, data: bytes) -> float:
    return float(np.abs(decoded(data) - np.asarray(image.convert("RGB"))).mean())


@pytest.mark.parametrize("name", ["p3", "adobe", "rec2020", "prophoto"])
@pytest.mark.parametrize("compression", ["none", "zip"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_16_bit_tiff(name: str, compression: str, big_endian: bool, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        files.noise(np.uint16),
        photometric="rgb",
        byteorder=">" if big_endian else "<",
        compression="zlib" if compression == "zip" else None,
        iccprofile=PROFILES[name],
    )
    result = decoded(buffer.getvalue())
    assert np.abs(result - truth(files.noise(np.uint16) / 65535, name)).max() <= 1
    # littleCMS takes a coarse table for 16 bits, which is far off where a colour is cut off
    difference = np.abs(result - vips(tmp_path, buffer.getvalue(), "tif"))
    assert difference.mean() < 0.5
    assert (difference > 1).mean() < 0.06


GAMMAS = {"adobe": 2.19921875, "rec2020": 2.3984375, "prophoto": 1.80078125}


def truth(codes: np.ndarray, name: str) -> np.ndarray:
    """sRGB 0..255 of RGB codes 0..1 by the formulas, in double precision."""
    srgb = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    light = codes ** GAMMAS[name] if name in GAMMAS else srgb
    light = light @ profiles.colorants(name).T @ np.linalg.inv(profiles.colorants("srgb")).T
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("shape", [1.0, 1.8, 2.4])
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_grey_profiles(shape: float, kind: str, tmp_path: Path) -> None:
    full = np.iinfo(kind).max
    pixels = np.linspace(0, full, 64).astype(kind)[None].repeat(16, 0)
    data = files.png(pixels, files.iccp(profiles.grey(shape)))
    light = (pixels / full) ** (round(shape * 256) / 256)
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(decoded(data) - expected[..., None] * 255).max() <= 1
    assert np.abs(decoded(data) - vips(tmp_path, data, "png")).max() <= 9  # coarse when dark


def test_lab_tiff() -> None:
    """Against the formulas of CIE Lab (D50)."""
    lab = Image.fromarray(PATCHES).convert("LAB")
    lab.info = {}
    lightness, a, b = np.moveaxis(np.asarray(lab).astype(np.uint8), -1, 0).astype(float)
    f = (lightness / 2.55 + 16) / 116
    steps = [f + a.astype(np.int8) / 500, f, f - b.astype(np.int8) / 200]
    xyz = [np.where(t > 6 / 29, t**3, 3 * (6 / 29) ** 2 * (t - 4 / 29)) for t in steps]
    light = (np.stack(xyz, -1) * profiles.D50) @ np.linalg.inv(profiles.colorants("srgb")).T
    light = np.clip(light, 0, 1)
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    for options in ({}, {"icc_profile": UNFIT["Lab"]}):
        assert (
            np.abs(decoded(odd_files.file_of(lab, "TIFF", **options)) - expected * 255).max() <= 2
        )


# ---- depth ------------------------------------------------------------------------------------

VALUES = np.linspace(0, 1, 64)[None].repeat(16, 0)
KINDS = {"u1": 255, "u2": 65535, "f4": 1.0, "i4": 2**31 - 1, "u4": 2**32 - 1}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_grey_tiff_and_negatives(
    kind: str, negative: bool, big_endian: bool, compression: str | None
) -> None:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        (VALUES * KINDS[kind]).astype(kind),
        photometric="miniswhite" if negative else "minisblack",
        byteorder=">" if big_endian else "<",
        compression=compression,
    )
    expected = (1 - VALUES if negative else VALUES) * 255
    assert np.abs(decoded(buffer.getvalue()) - expected[..., None]).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("top", "white"), [(65535, 65535), (30000, 65535), (4095, 4095), (900, 1023), (200, 255)]
)
def test_one_rule_for_16_bits(channels: int, top: int, white: int) -> None:
    values = np.rint(VALUES * top).astype(np.uint16)[..., None].repeat(channels, axis=2)
    if channels in (2, 4):
        values[..., -1] = 65535
    data = files.png(values[..., 0] if channels == 1 else values)
    expected = values[..., :1] * (255.0 / white)
    assert np.abs(decoded(data) - expected).max() <= 0.51
    array = values[..., 0] if channels == 1 else values
    if channels != 2:
        assert np.abs(images.from_any(array) - expected).max() <= 0.51


def test_12_bits_by_the_header() -> None:
    """A dark picture of 12 bits stays dark: its header tells the depth."""
    values = (VALUES * 2000).astype(np.uint16)
    packed = bytearray()
    for a, b in values.reshape(-1, 2).tolist():
        packed += bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255])
    tags = [(256, 64), (257, 16), (258, 12), (259, 1), (262, 1), (273, 110), (277, 1)]
    tags += [(278, 16), (279, len(packed))]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + bytes(4)
    data = head.ljust(110, b"\0")[:110].replace(
        struct.pack("<HHII", 273, 4, 1, 110), struct.pack("<HHII", 273, 4, 1, len(head))
    )
    data = data.ljust(len(head), b"\0") + bytes(packed)
    expected = values[..., None] * (255 / 4095)
    assert np.abs(decoded(data) - expected).max() <= 1


@pytest.mark.parametrize("deep", [False, True])
def test_one_colour_that_is_transparent(deep: bool) -> None:
    scale = 257 if deep else 1
    key = tuple(v * scale for v in files.PATCHES[1])
    rgb = files.png(files.patches(scale), (b"tRNS", struct.pack(">3H", *key)))
    assert files.cells(decoded(rgb))[:3].tolist() == [[200, 60, 50], [255] * 3, [60, 80, 190]]
    grey = files.png(
        np.ascontiguousarray(files.patches(scale)[..., 0]),
        (b"tRNS", struct.pack(">H", 220 * scale)),
    )
    assert files.cells(decoded(grey))[:4, 0].tolist() == [200, 60, 60, 255]


@pytest.mark.parametrize("channels", [3, 4])
def test_interlaced_16_bits(channels: int, tmp_path: Path) -> None:
    """Written by libvips, since neither Pillow nor our test files interlace."""
    if shutil.which("vips") is None:
        pytest.skip("libvips is not installed")
    values = files.noise(np.uint16)
    if channels == 4:
        values = np.dstack([values, np.full(values.shape[:2], 65535, np.uint16)])
    source, target = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(files.png(values))
    subprocess.run(["vips", "pngsave", source, target, "--interlace"], check=True, timeout=60)
    expected = np.rint(values[..., :3] / 257)
    assert np.abs(decoded(target.read_bytes()) - expected).max() == 0


def test_16_bits_that_are_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = files.png(files.patches(257), (b"eXIf", exif.tobytes()[6:]), files.cicp(12, 13))
    picture = np.rot90(decoded(data))
    assert np.abs(files.cells(picture)[:4] - SHOWN["p3"]).max() <= 1


def test_two_pages_of_16_bits() -> None:
    """The low bytes come from the page that the high bytes come from."""
    tifffile = pytest.importorskip("tifffile")
    first, second = files.noise(np.uint16), files.noise(np.uint16, 1)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.stack([first, second]), photometric="rgb")
    assert np.abs(decoded(buffer.getvalue()) - first / 257).max() <= 0.51
    page = Image.open(buffer)
    page.seek(1)
    raw = bit_depth.low_bytes(page)
    assert raw is not None
    low = bit_depth.with_raw_mode(Image.open(buffer), raw, page.tell())
    result = np.asarray(bit_depth.colour(page, low, None))
    assert np.abs(result - second / 257).max() <= 0.51


# ---- out, and cost ----------------------------------------------------------------------------


def test_what_is_written_says_srgb(tmp_path: Path) -> None:
    rgb = files.patches()
    mask = np.zeros(rgb.shape[:2], bool)
    pngs = [
        images.save_png(rgb, tmp_path / "a.png").read_bytes(),
        images.mask_to_png_bytes(mask),
        images.rgba_to_png_bytes(np.dstack([rgb, rgb[..., :1]])),
    ]
    for content in pngs:
        assert colour_tags.png_chunks(content) == {b"sRGB": b"\0"}
        Image.open(io.BytesIO(content)).verify()
    jpeg = Image.open(images.save_jpeg(rgb, tmp_path / "a.jpg"))
    profile = ImageCms.ImageCmsProfile(io.BytesIO(jpeg.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert len(jpeg.info["icc_profile"]) < 1000


@pytest.mark.parametrize("chunks", [(), (files.cicp(12, 13),), (files.iccp(P3),)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_no_copies_of_the_whole_picture(
    chunks: tuple[files.Chunk, ...], kind: type[np.unsignedinteger]
) -> None:
    """Python's own memory stays a few bands; 12 megapixels as floats would be 144 MB."""
    data = files.png(np.full((3000, 4000, 3), 99, kind), *chunks)
    tracemalloc.start()
    try:
        images.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_encoding_of_a_picture_without_a_file() -> None:
    assert conversion.encoding(Image.new("RGB", (9, 9))) == conversion.Encoding()
    assert bit_depth.low_bytes(Image.new("RGB", (9, 9))) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_the_caller_s_picture_stays_as_it_is(mode: str) -> None:
    """Its pixels, its mode and its profile, which is converted in place otherwise."""
    given = Image.fromarray(PATCHES).convert(mode)
    given.info["icc_profile"] = profiles.rgb("p3", 2.2) if mode != "L" else profiles.grey(1.8)
    pixels, info = np.array(given), dict(given.info)
    images.from_any(given)
    assert given.mode == mode and dict(given.info) == info
    assert np.array_equal(np.array(given), pixels)
