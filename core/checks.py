"""Check the type and range of arguments, in one place.

Python accepts True as 1, NumPy parses "3" as 3, and int() truncates 2.9 to 2. Here all of these
are errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CheckpointError, InputError


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number; bools and strings are not."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def number(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, unit: str = ""
) -> float:
    """Return `value` unchanged if it is a finite number within `low`..`high`.

    Raises:
        InputError: otherwise; the message starts with `name` and ends with `unit`.
    """
    if not is_number(value):
        raise InputError(f"{name} must be a number.")
    _within(value, name, low, high, unit)
    return value


def whole(
    value: Any, name: str, low: float = -math.inf, high: float = math.inf, unit: str = ""
) -> int:
    """Return a whole number within `low`..`high`; 2.0 is accepted, 2.9 is not.

    Raises:
        InputError: not a whole number, or out of range.
    """
    if not is_number(value) or value != int(value):
        raise InputError(f"{name} must be a whole number.")
    _within(value, name, low, high, unit)
    return int(value)


def _within(value: float, name: str, low: float, high: float, unit: str) -> None:
    end = f" {unit}." if unit else "."
    if low <= value <= high:
        return
    if high == math.inf:
        raise InputError(f"{name} must be {low:g} or more{end}")
    raise InputError(f"{name} must lie between {low:g} and {high:g}{end}")


def flag(value: Any, name: str) -> bool:
    """Return True or False.

    Raises:
        InputError: any other value.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} must be true or false.")
    return bool(value)


def numbers(values: Any) -> NDArray[np.float32] | None:
    """Nested sequences of finite numbers as float32; None if any item is not a finite number."""
    if isinstance(values, np.ndarray):
        fits = values.dtype.kind in "iuf"
    else:
        fits = _all_numbers(values, depth=4)
    if not fits:
        return None
    try:
        with np.errstate(over="ignore"):  # overflow gives infinity, refused below
            array = np.array(values, dtype=np.float32)
    except (OverflowError, TypeError, ValueError):  # ragged rows
        return None
    return array if np.all(np.isfinite(array)) else None


def _all_numbers(values: Any, depth: int) -> bool:
    if isinstance(values, np.ndarray):
        return values.dtype.kind in "iuf"
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes)):
        return depth > 0 and all(_all_numbers(value, depth - 1) for value in values)
    return is_number(values)


def not_numbers() -> CheckpointError:
    """The error for model output that contains NaN or infinity."""
    return CheckpointError("The model answered with values that are not numbers.")
