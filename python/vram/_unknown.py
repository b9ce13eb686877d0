# SPDX-License-Identifier: MIT
"""UNKNOWN: what a quantity is that the driver cannot tell. Never 0, never part of a sum."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Callable, Union

from . import _lib

_SPECIFICATION = r"(?s:(.)?([<>=^]))?[-+ ]?z?#?0?(\d{1,4})?"


class Unknown(enum.Enum):
    """The type of vram.UNKNOWN, its only value. An enumeration, so that type checkers understand `is UNKNOWN`, and
    copies and pickles of it are it."""

    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "unknown"

    def __repr__(self) -> str:
        return "vram.UNKNOWN"

    def __format__(self, spec: str) -> str:
        """ "unknown" under any specification, in the width and on the side where a number would stand."""
        parts = re.match(_SPECIFICATION, spec)
        fill, side, width = parts.groups() if parts else (None, None, None)
        return format("unknown", f"{fill or ' '}{side if side in ('<', '^') else '>'}{width or 0}")


UNKNOWN = Unknown.UNKNOWN
"""What the driver cannot tell. False, printed as "unknown", and nothing can be computed with it."""

Amount = Union[int, Unknown]
"""A number, or UNKNOWN. `if amount is vram.UNKNOWN` tells, also to type checkers."""


def _refusal(name: str) -> Callable[..., Any]:
    def refuse(self: Unknown, *others: object) -> Any:
        raise TypeError(f"vram.UNKNOWN has no {name}: the driver does not tell this figure (test: `is vram.UNKNOWN`)")

    return refuse


# Not for type checkers, which know by the lack of these that an amount must be looked at first.
if not TYPE_CHECKING:
    for _name in "add sub mul truediv floordiv mod pow divmod and or xor lshift rshift".split():
        setattr(Unknown, f"__{_name}__", _refusal(_name))
        setattr(Unknown, f"__r{_name}__", _refusal(_name))
    for _name in "lt le gt ge neg pos abs invert int float index round trunc".split():
        setattr(Unknown, f"__{_name}__", _refusal(_name))


def amount(number: int) -> Amount:
    """A quantity of the library's."""
    return UNKNOWN if number == _lib.UNKNOWN else number
