"""Sizes as people write them: ``64KiB``, ``16MiB``, ``1GiB`` or a number of bytes."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, WithJsonSchema

from celadon.domain.language.limits import quoted

_UNITS: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,16}) ?(|B|KiB|MiB|GiB|TiB)")
LARGEST: Final = 1 << 40
"""The largest size that is taken, in bytes."""


def bytes_of(value: object) -> int:
    """Return how many bytes a size has.

    Raises:
        ValueError: the value is no size, or is out of range; the text says what is possible.

    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"{quoted(value)} is no size: write 64KiB, 16MiB, 1GiB or a number of bytes")
        size = int(match[1]) * _UNITS[match[2]]
    if not 0 < size <= LARGEST:
        raise ValueError(f"{quoted(value)} is no size from 1B to {size_of(LARGEST)}")
    return size


def size_of(size: int) -> str:
    """Write so many bytes by the largest unit that leaves the number whole: ``1MiB``, ``1500B``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


def _written(value: object) -> str:
    return size_of(bytes_of(value))


Size = Annotated[
    str,
    BeforeValidator(_written),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{1,16} ?(B|KiB|MiB|GiB|TiB)?$"},
                {"type": "integer", "minimum": 1, "maximum": LARGEST},
            ],
            "examples": ["64MiB", "1GiB", 65536],
        },
        mode="validation",
    ),
    WithJsonSchema({"type": "string", "examples": ["64MiB", "1GiB"]}, mode="serialization"),
]
"""From one byte to 1 TiB; the same size is always written alike, by the largest unit that leaves it whole."""
