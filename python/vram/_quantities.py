# SPDX-License-Identifier: MIT
"""Sizes, margins and durations as callers write them."""

from __future__ import annotations

import ctypes
import math
import re
from typing import Optional, Tuple, Union

from . import _lib

Size = Union[int, str]
"""An int is bytes; a text has a unit, all of them binary: "12GiB", "12G", "1.5g", "512M"."""

_MOST_BYTES = (1 << 63) - 1
_MOST_MS = 1 << 40  # 34 years: for ever
_PERCENTAGE = r"(\d{1,3}(?:\.\d{1,3})?)%"


def _parse(text: str, what: str) -> int:
    number = ctypes.c_uint64()
    if text[-1:].isdigit():
        raise ValueError(f"{what} {text!r} has no unit: write '{text}M' or '{text}G', or an int for bytes")
    if _lib.lib().vram_size_parse(_lib.raw(text, what), ctypes.byref(number)) < 0:
        raise ValueError(f"{what} {text!r} is not a size: write '12GiB', '12G', '512M', or an int for bytes")
    return number.value


def size_bytes(size: Size, what: str = "size", least: int = 1) -> int:
    """A size in bytes."""
    if isinstance(size, bool) or not isinstance(size, (int, str)):
        raise TypeError(f"{what} is an int (bytes) or a text such as '12GiB', not {size!r}")
    number = _parse(size, what) if isinstance(size, str) else size
    if not least <= number <= _MOST_BYTES:
        raise ValueError(f"{what} {size!r} is no amount of memory")
    return number


def margin(value: Optional[Size], default: int) -> Tuple[int, int]:
    """A margin, a size (0 too) or "5%" of the total, as bytes and thousandths of a percent, of which one counts."""
    if value is None:
        return default, 0
    percentage = re.fullmatch(_PERCENTAGE, value) if isinstance(value, str) else None
    if percentage is None:
        return (0 if value == "0" else size_bytes(value, "margin", 0)), 0
    thousandths = round(float(percentage.group(1)) * 1000)
    if thousandths > 100_000:
        raise ValueError(f"margin {value!r} is more than all there is")
    return 0, thousandths


def milliseconds(seconds: Optional[float], what: str) -> int:
    """A duration for the library; None and infinity are for ever."""
    if seconds is None or seconds == math.inf:
        return _lib.UNKNOWN
    if not seconds >= 0:  # NaN too
        raise ValueError(f"{what} {seconds!r} is no duration in seconds")
    return min(math.ceil(seconds * 1000), _MOST_MS)


def in_words(number: int) -> str:
    """An amount for people, exact where it is a round one: "12 GiB", "20000 MiB", "1.3 GiB"."""
    if number % (1 << 30) == 0:
        return f"{number >> 30} GiB"
    if number % (1 << 20) == 0 and number < 100_000 << 20:
        return f"{number >> 20} MiB"
    return f"{number / (1 << 30):.1f} GiB" if abs(number) >= 1 << 30 else f"{number / (1 << 20):.1f} MiB"
