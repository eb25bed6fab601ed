"""The addresses of a node's pods."""

from collections.abc import Iterator
from itertools import cycle
from typing import Final

_LAST: Final = 255


class NoAddressLeftError(Exception):
    """Each address of the node belongs to a pod."""


class Addresses:
    """Gives each pod an address that no other pod has; one that a pod gave back is given again after all others."""

    def __init__(self, network: str, count: int) -> None:
        """Hold the first ``count`` addresses of ``network``, the first two numbers of an address."""
        self._count: Final = count
        self._taken: Final[set[str]] = set()
        self._order: Final = cycle(_addresses(network, count))

    def take(self) -> str:
        """Return an address that belongs to the caller until ``give_back``.

        Raises:
            NoAddressLeftError: each belongs to somebody.

        """
        for _ in range(self._count):
            address = next(self._order)
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise NoAddressLeftError(f"each of {self._count} addresses belongs to a pod")

    def give_back(self, address: str) -> None:
        """Let ``address`` be given again."""
        self._taken.discard(address)


def _addresses(network: str, count: int) -> Iterator[str]:
    """Yield ``count`` addresses, without those that end in 0 or 255: some programs refuse them."""
    usable = ((third, fourth) for third in range(1, _LAST) for fourth in range(1, _LAST))
    for _, (third, fourth) in zip(range(count), usable, strict=False):
        yield f"{network}.{third}.{fourth}"
