"""RGB colour spaces by primaries and transfer function, converted to sRGB; HDR is tone-mapped.

Sources: ITU-T H.273 (07/2024), tables 2 and 3, for the code points; ITU-R BT.2100-2 for PQ and HLG;
the reference white tone mapping operator of SMPTE ST 2094-50 (annex D of the draft), as Chromium
shows HDR pictures on a screen without HDR.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Curve = Callable[[Numbers], Numbers]  # codes in 0..1 to linear light

PQ, HLG = 16, 18
WHITE_NITS = 203.0  # what HDR calls white (BT.2408); sRGB's white here
HDR_NITS = 1000.0  # assumed peak if a picture names none
D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65)
# x and y of red, green, blue and white, by H.273's number
PRIMARIES: dict[int, tuple[float, ...]] = {
    1: SRGB,
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: BT2020,
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *D65),
}
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_D50 = np.array([0.9642, 1.0, 0.8249])
_STEPS = 65535


def gamma(exponent: float) -> Curve:
    """The curve of a pure power."""
    return lambda code: code**exponent


def parametric(
    g: float, a: float = 1, b: float = 0, c: float = 0, d: float = -1, e: float = 0, f: float = 0
) -> Curve:
    """(a x + b)^g + e for x >= d, and c x + f below (ICC.1:2010, 10.16)."""
    return lambda x: np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)


SRGB_CURVE = parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _pq(code: Numbers) -> Numbers:
    """BT.2100 table 4, in units of `WHITE_NITS`."""
    m1, m2 = 2610 / 16384, 2523 / 32
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    power = code ** (1 / m2)
    return 10_000 / WHITE_NITS * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def _hlg(code: Numbers) -> Numbers:
    """BT.2100 table 5, the inverse OETF: scene light in 0..1."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


# BT.709's codes (1, 6, 14, 15, 11) use the curve of screens, BT.1886, as Chromium does.
CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 11, 14, 15), gamma(2.4)),
    4: gamma(2.2),
    5: gamma(2.8),
    7: parametric(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912),
    8: gamma(1.0),
    13: SRGB_CURVE,
    PQ: _pq,
    17: lambda code: 52.37 / 48 * code**2.6,
    HLG: _hlg,
}


def _weights(primaries: Sequence[float]) -> tuple[Numbers, Numbers]:
    """(3, 3): linear RGB to CIE XYZ, and the white point.

    Raises:
        ValueError: the eight numbers are not valid primaries.
    """
    points = np.reshape(np.asarray(primaries, np.float64), (4, 2))
    if not (np.isfinite(points).all() and (points[:, 1] > 0).all()):
        raise ValueError("a primary without luminance")
    x, y = points.T
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    try:
        return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3]), columns[:, 3]
    except np.linalg.LinAlgError as error:
        raise ValueError("primaries on a line") from error


def to_xyz(primaries: Sequence[float]) -> Numbers:
    """(3, 3): linear RGB to CIE XYZ, with white adapted to D50 (Bradford).

    Raises:
        ValueError: the eight numbers are not valid primaries.
    """
    matrix, white = _weights(primaries)
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ (cones[:, None] * _BRADFORD) @ matrix


def between(source: Numbers, target: Sequence[float]) -> Floats:
    """(3, 3) from one linear RGB, given as its matrix to XYZ (D50), to other primaries."""
    return (np.linalg.inv(to_xyz(target)) @ source).astype(np.float32)


@cache
def _encoded() -> NDArray[np.uint8]:
    """sRGB values 0..255 for linear light in `_STEPS` steps."""
    light = np.linspace(0, 1, _STEPS + 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(code * 255).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """An RGB space: one `curve` per channel, and `xyz`, linear RGB to XYZ (D50).

    `peak` is the peak of an HDR picture in units of its white, None otherwise. If the curve gives
    scene light (HLG), `luminance` holds the weights of the channels.
    """

    curves: tuple[Curve, Curve, Curve]
    xyz: Numbers
    peak: float | None = None
    luminance: Numbers | None = None

    def converter(self, depth: int) -> Callable[[NDArray[np.unsignedinteger]], NDArray[np.uint8]]:
        """A function from (h, w, 3) codes of `depth` bits, 8 or 16, to sRGB uint8."""
        codes = np.linspace(0, 1, 2**depth)
        # float32 limit; PNG allows a gamma of 0.0001
        tables = [np.clip(curve(codes), -1e4, 1e4).astype(np.float32) for curve in self.curves]
        first = between(self.xyz, SRGB if self.peak is None else BT2020)
        second = between(to_xyz(BT2020), SRGB)
        luminance = None if self.luminance is None else self.luminance.astype(np.float32)

        def convert(pixels: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
            light = np.stack([tables[i][pixels[..., i]] for i in range(3)], axis=-1)
            if luminance is not None:  # BT.2100's OOTF for a screen of 1000 nits
                light *= np.maximum(light @ luminance, 0)[..., None] ** 0.2
                light *= HDR_NITS / WHITE_NITS
            light = light @ first.T
            if self.peak is not None:
                light = _tone_mapped(light, self.peak) @ second.T
            np.clip(light, 0, 1, out=light)
            light *= _STEPS
            light += 0.5
            return _encoded()[light.astype(np.uint16)]

        return convert


def coded(primaries: int, transfer: int, nits: float = 0) -> Space | None:
    """The space of two code points of H.273; None for sRGB and for codes unsupported here.

    Args:
        nits: peak luminance, if an HDR picture declares it.
    """
    if (primaries, transfer) == (1, 13) or primaries not in PRIMARIES or transfer not in CURVES:
        return None
    peak = max(1.0, (nits or HDR_NITS) / WHITE_NITS) if transfer in (PQ, HLG) else None
    curve = CURVES[transfer]
    luminance = _weights(PRIMARIES[primaries])[0][1] if transfer == HLG else None
    return Space((curve,) * 3, to_xyz(PRIMARIES[primaries]), peak, luminance)


def _tone_mapped(light: Floats, peak: float) -> Floats:
    """Linear BT.2020 from 0..peak to 0..1; the gain follows the largest channel, so hues stay."""
    if peak <= 1:
        return light
    brightest = light.max(axis=-1)
    knots, gains = _gain_curve(peak)
    gain = np.full_like(brightest, gains[0])
    bright = brightest > 1
    beyond = np.maximum(brightest[bright] / peak, 1)  # clamp at the peak
    gain[bright] = np.interp(brightest[bright], knots, gains) / beyond
    return light * gain[..., None]


def _gain_curve(peak: float) -> tuple[Numbers, Numbers]:
    """Gain over light: constant up to white, then along the operator's eight knots to the peak."""
    white = 1 - 0.5 * min(np.log2(peak) / np.log2(HDR_NITS / WHITE_NITS), 1)
    middle = (0.35 + 0.65 / white, 0.35 * white + 0.65)
    t = np.linspace(0, 1, 8)

    def bezier(start: float, control: float, end: float) -> tuple[Numbers, Numbers]:
        value = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
        return value, 2 * (1 - t) * (control - start) + 2 * t * (end - control)

    x, dx = bezier(1, middle[0], peak)
    y, dy = bezier(white, middle[1], 1)
    logs, slopes = np.log2(y / x), (x * dy / dx - y) / (np.log(2) * x * y)
    # cubic Hermite pieces between the knots, sampled finely enough for linear look-up
    steps = np.linspace(0, 1, 64, endpoint=False)[None]
    width = np.diff(x)[:, None]
    low, high = logs[:-1, None], logs[1:, None]
    m_low, m_high = slopes[:-1, None] * width, slopes[1:, None] * width
    pieces = (
        (2 * low + m_low - 2 * high + m_high) * steps**3
        + (3 * high - 3 * low - 2 * m_low - m_high) * steps**2
        + m_low * steps
        + low
    )
    knots = np.append((x[:-1, None] + width * steps).ravel(), x[-1])
    return knots, 2.0 ** np.append(pieces.ravel(), logs[-1])
