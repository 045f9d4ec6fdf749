"""What a picture becomes here, beside what Chromium shows of the file (a canvas over white)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import images
from tests import colour_files as files
from tests import odd_files, profiles
from tests.browser import chromium

_SHOW = """async (url) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d', {colorSpace: 'srgb'});
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0);
  const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, Array.from(data)];
}"""
Show = Callable[[bytes, str], np.ndarray]


@pytest.fixture(scope="module")
def show() -> Iterator[Show]:
    with chromium() as browser:
        page = browser.new_page()

        def shown(data: bytes, mime: str) -> np.ndarray:
            url = f"data:{mime};base64,{base64.b64encode(data).decode()}"
            width, height, values = page.evaluate(_SHOW, url)
            return np.array(values, np.uint8).reshape(height, width, 4)[..., :3].astype(int)

        yield shown


def apart(show: Show, data: bytes, mime: str) -> np.ndarray:
    return np.abs(np.asarray(images.decode(data)).astype(int) - show(data, mime))


RGB_PROFILES = {
    "P3": profiles.rgb("p3", "srgb"),
    "P3, version 4": profiles.rgb("p3", "srgb", 4),
    "P3, curve as a table": profiles.rgb("p3", "srgb table"),
    "Adobe RGB": profiles.rgb("adobe", 2.19921875),
    "ProPhoto": profiles.rgb("prophoto", 1.8),
    "Rec2020": profiles.rgb("rec2020", 2.4),
    "linear sRGB": profiles.rgb("srgb", 1.0),
    "sRGB": profiles.rgb("srgb", "srgb"),
}


@pytest.mark.parametrize("name", RGB_PROFILES)
def test_rgb_profiles(show: Show, name: str) -> None:
    profile = RGB_PROFILES[name]
    assert apart(show, files.png(files.noise(), files.iccp(profile)), "image/png").max() <= 1
    assert apart(show, files.png(N16, files.iccp(profile)), "image/png").max() <= 1


def _tint(r: float, g: float, b: float) -> tuple[float, float, float]:
    """A screen with grey blacks and a dull white."""
    return 5 + 90 * (0.3 * r + 0.6 * g + 0.1 * b), 80 * (r - g), 60 * (0.5 * (r + g) - b)


def test_table_profile(show: Show) -> None:
    """No black point compensation, and white stays as dull as the profile says."""
    profile = profiles.table(b"RGB ", _tint, 9)
    difference = apart(show, files.png(files.noise(), files.iccp(profile)), "image/png")
    assert (difference > 1).mean() < 0.01  # littleCMS reads the table coarsely at dark edges
    assert difference.max() <= 8
    white = np.full((9, 9, 3), 255, np.uint8)
    assert apart(show, files.png(white, files.iccp(profile)), "image/png").max() <= 1
    assert np.asarray(images.decode(files.png(white, files.iccp(profile)))).max() < 250


P3, ADOBE = RGB_PROFILES["P3"], RGB_PROFILES["Adobe RGB"]
GREY = files.noise()[..., 0]
ALPHA = np.dstack([files.noise(), files.noise(seed=1)[..., 0]])
ALPHA_16 = ALPHA.astype(np.uint16) * 257
GREY_ALPHA_16 = ALPHA_16[..., [0, 3]]


def palette(**options: object) -> bytes:
    indexed = Image.fromarray(files.noise()).quantize(64)
    return odd_files.file_of(indexed, "PNG", **options)


def jpeg(profile: bytes, mode: str = "RGB") -> bytes:
    picture = Image.fromarray(files.patches()).convert(mode)
    return odd_files.file_of(picture, "JPEG", quality=100, subsampling=0, icc_profile=profile)


def avif(primaries: int = 1, transfer: int = 13, **options: object) -> bytes:
    data = odd_files.file_of(files.patches(), "AVIF", quality=100, subsampling="4:4:4", **options)
    return files.with_nclx(data, primaries, transfer) if "icc_profile" not in options else data


N = files.noise()
N16 = N.astype(np.uint16) * 257  # of 16 bits without HDR Chromium takes the high byte
FINE = files.noise(np.uint16)
FILES: dict[str, tuple[files.Maker, str]] = {
    "PNG, alpha": (lambda: files.png(ALPHA, files.iccp(ADOBE)), "png"),
    "PNG, alpha without a profile": (lambda: files.png(ALPHA), "png"),
    "PNG, 16 bits": (lambda: files.png(N16), "png"),
    "PNG, 16 bits, alpha": (lambda: files.png(ALPHA_16, files.iccp(P3)), "png"),
    "PNG, 16 bits, grey and alpha": (lambda: files.png(GREY_ALPHA_16), "png"),
    "PNG, 16 bits, linear grey": (
        lambda: files.png(N16[..., 0], files.iccp(profiles.grey(1.0))),
        "png",
    ),
    "PNG, palette": (lambda: palette(icc_profile=ADOBE), "png"),
    "PNG, palette and alpha": (
        lambda: palette(icc_profile=P3, transparency=bytes(range(0, 256, 4))),
        "png",
    ),
    "PNG, grey 1.8": (lambda: files.png(GREY, files.iccp(profiles.grey(1.8))), "png"),
    "PNG, grey with an RGB profile": (lambda: files.png(GREY, files.iccp(ADOBE)), "png"),
    "PNG, RGB with a grey profile": (lambda: files.png(N, files.iccp(profiles.grey(1.0))), "png"),
    "PNG, RGB with a CMYK profile": (
        lambda: files.png(N, files.iccp(profiles.table(b"CMYK", profiles.ink, 3))),
        "png",
    ),
    "PNG, cut profile": (lambda: files.png(N, files.iccp(P3[:200])), "png"),
    "PNG, cut profile, gamma": (
        lambda: files.png(N, files.iccp(P3[:200]), files.gama(1.0)),
        "png",
    ),
    "PNG, cICP P3": (lambda: files.png(N, files.cicp(12, 13)), "png"),
    "PNG, cICP P3, 16 bits": (lambda: files.png(N16, files.cicp(12, 13)), "png"),
    "PNG, cICP linear": (lambda: files.png(N, files.cicp(9, 8)), "png"),
    "PNG, cICP BT.709": (lambda: files.png(N, files.cicp(1, 1)), "png"),
    "PNG, cICP PAL": (lambda: files.png(N, files.cicp(5, 5)), "png"),
    "PNG, cICP NTSC 1953": (lambda: files.png(N, files.cicp(4, 4)), "png"),
    "PNG, cICP 240M": (lambda: files.png(N, files.cicp(7, 7)), "png"),
    "PNG, cICP cinema": (lambda: files.png(N, files.cicp(11, 17)), "png"),
    "PNG, cICP film": (lambda: files.png(N, files.cicp(8, 14)), "png"),
    "PNG, cICP EBU": (lambda: files.png(N, files.cicp(22, 15)), "png"),
    "PNG, cICP over a profile": (
        lambda: files.png(N, files.cicp(1, 13), files.iccp(ADOBE)),
        "png",
    ),
    "PNG, unknown cICP, profile": (
        lambda: files.png(N, files.cicp(2, 13), files.iccp(ADOBE)),
        "png",
    ),
    "PNG, narrow cICP": (lambda: files.png(N, files.cicp(12, 13, full=0)), "png"),
    "PNG, gamma 1": (lambda: files.png(N, files.gama(1.0)), "png"),
    "PNG, gamma 1, 16 bits": (lambda: files.png(N16, files.gama(1.0)), "png"),
    "PNG, gamma 1, grey": (lambda: files.png(GREY, files.gama(1.0)), "png"),
    "PNG, gamma 1 and alpha": (lambda: files.png(ALPHA, files.gama(1.0)), "png"),
    "PNG, gamma 1/1.8": (lambda: files.png(N, files.gama(1 / 1.8)), "png"),
    "PNG, gamma 1/2.2": (lambda: files.png(N, files.gama(0.45455)), "png"),
    "PNG, gamma 1/2.2 of sRGB": (
        lambda: files.png(N, files.gama(0.45455), files.chrm("srgb")),
        "png",
    ),
    "PNG, gamma and primaries": (
        lambda: files.png(N, files.gama(0.45455), files.chrm("rec2020")),
        "png",
    ),
    "PNG, primaries alone": (lambda: files.png(N, files.chrm("rec2020")), "png"),
    "PNG, no primaries": (
        lambda: files.png(N, files.gama(1.0), (b"cHRM", bytes(32))),
        "png",
    ),
    "PNG, gamma under sRGB": (
        lambda: files.png(N, files.gama(1.0), (b"sRGB", b"\0")),
        "png",
    ),
    "PNG, gamma under a profile": (
        lambda: files.png(N, files.gama(1.0), files.iccp(P3)),
        "png",
    ),
    "JPEG, P3": (lambda: jpeg(P3), "jpeg"),
    "JPEG, ProPhoto": (lambda: jpeg(RGB_PROFILES["ProPhoto"]), "jpeg"),
    "JPEG, grey 1.0": (lambda: jpeg(profiles.grey(1.0), "L"), "jpeg"),
    "JPEG, CMYK without a profile": (lambda: jpeg(b"", "CMYK"), "jpeg"),
    "WebP, P3": (lambda: odd_files.file_of(N, "WEBP", lossless=True, icc_profile=P3), "webp"),
    "WebP, alpha": (
        lambda: odd_files.file_of(ALPHA, "WEBP", lossless=True, exact=True, icc_profile=ADOBE),
        "webp",
    ),
    "GIF, which has no profile": (lambda: odd_files.file_of(N, "GIF", icc_profile=P3), "gif"),
    "BMP, Adobe RGB": (lambda: files.bmp5(N, ADOBE), "bmp"),
    "AVIF, Adobe RGB": (lambda: avif(icc_profile=ADOBE), "avif"),
    "AVIF, nclx sRGB": (lambda: avif(1, 13), "avif"),
    "AVIF, nclx P3": (lambda: avif(12, 13), "avif"),
    "AVIF, nclx BT.709": (lambda: avif(1, 1), "avif"),
    "AVIF, nclx BT.2020": (lambda: avif(9, 14), "avif"),
    "AVIF, nclx gamma 2.2": (lambda: avif(1, 4), "avif"),
    "AVIF, nclx linear": (lambda: avif(1, 8), "avif"),
    "AVIF, nclx unsaid": (lambda: avif(2, 2), "avif"),
    "AVIF, nclx P3, curve unsaid": (lambda: avif(12, 2), "avif"),
}


@pytest.mark.parametrize("name", FILES)
def test_as_in_a_browser(show: Show, name: str) -> None:
    make, kind = FILES[name]
    difference = apart(show, make(), f"image/{kind}")
    if kind in ("jpeg", "avif"):  # the decoders round differently, which curves make larger
        assert difference.max() <= 4
        assert difference.mean() < 1
    else:
        # Where alpha is nearly zero, browsers keep few bits of the colour.
        assert difference.max() <= (2 if "alpha" in name else 1)


HDR: dict[str, files.Maker] = {
    "PQ": lambda: files.png(FINE, files.cicp(9, 16)),
    "PQ, 8 bits": lambda: files.png(N, files.cicp(9, 16)),
    "PQ of P3": lambda: files.png(FINE, files.cicp(12, 16)),
    "PQ of sRGB, alpha": lambda: files.png(ALPHA_16, files.cicp(1, 16)),
    "PQ, 4000 nits": lambda: files.png(FINE, files.cicp(9, 16), files.clli(4000)),
    "PQ, 400 nits": lambda: files.png(FINE, files.cicp(9, 16), files.clli(400)),
    "PQ, 250 nits": lambda: files.png(FINE // 2, files.cicp(9, 16), files.clli(250)),
    "PQ, screen of 2000 nits": lambda: files.png(FINE, files.cicp(9, 16), files.mdcv(2000)),
    "PQ, pixels before the screen": lambda: files.png(
        FINE, files.cicp(9, 16), files.mdcv(4000), files.clli(600)
    ),
    "HLG": lambda: files.png(FINE, files.cicp(9, 18)),
    "HLG, 8 bits": lambda: files.png(N, files.cicp(9, 18)),
    "HLG of P3": lambda: files.png(FINE, files.cicp(12, 18)),
    "PQ by the profile": lambda: files.png(FINE, files.iccp(profiles.named(9, 16))),
}


@pytest.mark.parametrize("name", HDR)
def test_hdr_is_tone_mapped_as_in_a_browser(show: Show, name: str) -> None:
    difference = apart(show, HDR[name](), "image/png")
    assert difference.max() <= 4  # at the edge of the gamut; Chromium computes in half precision
    assert (difference > 1).mean() < 0.01


@pytest.mark.parametrize(("primaries", "transfer"), [(9, 16), (9, 18), (12, 18)])
def test_hdr_avif(show: Show, primaries: int, transfer: int) -> None:
    """Ten bits come to us as eight, which is coarse for PQ."""
    difference = apart(show, avif(primaries, transfer), "image/avif")
    assert difference.max() <= 8
    assert difference.mean() < 1.5


def test_what_we_write_is_shown_as_it_is(show: Show, tmp_path: Path) -> None:
    rgb = files.noise()
    content = images.save_png(rgb, tmp_path / "a.png").read_bytes()
    np.testing.assert_array_equal(show(content, "image/png"), rgb)
    content = images.save_jpeg(files.patches(), tmp_path / "a.jpg", quality=98).read_bytes()
    shown = files.cells(show(content, "image/jpeg"))
    assert np.abs(shown - np.array(files.PATCHES)).max() <= 3
