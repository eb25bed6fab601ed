"""Bodies of any size, made as they are sent and checked as they come: what is lost, doubled or moved is seen."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

LARGE = 50 << 20
SMALL = 256 << 10
PART = 64 << 10
"""Bytes; sizes are a multiple of two parts, so that a body has a middle."""


@dataclass
class Sum:
    """The length of what has come, and a checksum of it in its order."""

    length: int = 0
    checksum: int = 0

    def add(self, part: bytes) -> None:
        """Count the next part."""
        self.length += len(part)
        self.checksum = zlib.crc32(part, self.checksum)

    @property
    def text(self) -> str:
        """Both, as a replica answers them."""
        return f"{self.length} {self.checksum:08x}"


def parts(begin: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from one place of a body to another, which are parts' ends; no two parts are alike."""
    for place in range(begin, end, PART):
        yield place.to_bytes(8, "big") * (PART // 8)


def sum_of(size: int) -> Sum:
    """Return the sum of a whole body."""
    total = Sum()
    for part in parts(0, size):
        total.add(part)
    return total
