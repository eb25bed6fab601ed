"""A list that is bounded twice: by how many items it holds and by how many bytes they take as JSON."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar

from pydantic import BaseModel

from celadon.domain.language.base_models import Record

ItemT = TypeVar("ItemT", bound=BaseModel)


class BoundedList(Record, Generic[ItemT]):
    """Items in the order in which they came, with their sizes."""

    items: tuple[ItemT, ...] = ()
    sizes: tuple[int, ...] = ()
    """Of each item, in bytes as JSON."""

    @property
    def size(self) -> int:
        """The bytes of all items."""
        return sum(self.sizes)

    def with_newest(self, item: ItemT, *, count: int, size: int) -> Self:
        """Return the list with ``item`` at its end; the oldest go until both limits hold."""
        return self.with_all(item).without_oldest(count=count, size=size)

    def without_oldest(self, *, count: int, size: int) -> Self:
        """Return the list without as many of its oldest items as both limits ask for."""
        first = max(0, len(self.items) - count)
        total = sum(self.sizes[first:])
        while total > size and first < len(self.items):
            total -= self.sizes[first]
            first += 1
        return self._of(self.items[first:], self.sizes[first:])

    def with_oldest(self, shortened: Callable[[ItemT], ItemT], *, size: int, newest: int) -> Self:
        """Return the list with as many of its oldest items ``shortened`` as the limit asks for, but no ``newest``."""
        items, sizes = list(self.items), list(self.sizes)
        total = sum(sizes)
        for number, item in enumerate(self.items[: max(0, len(items) - newest)]):
            if total <= size:
                break
            items[number] = shortened(item)
            total -= sizes[number]
            sizes[number] = _size_of(items[number])
            total += sizes[number]
        return self._of(tuple(items), tuple(sizes))

    def with_fitting(self, item: ItemT, *, count: int, size: int) -> Self | None:
        """Return the list with ``item`` at its end, or ``None`` when that would be too many or too much."""
        added = _size_of(item)
        if len(self.items) >= count or self.size + added > size:
            return None
        return self._of((*self.items, item), (*self.sizes, added))

    def with_all(self, item: ItemT) -> Self:
        """Return the list with ``item`` at its end, however much that is; for what nobody from outside can repeat."""
        return self._of((*self.items, item), (*self.sizes, _size_of(item)))

    def without(self, gone: frozenset[object], key: Callable[[ItemT], object]) -> Self:
        """Return the list without the items whose ``key`` is among ``gone``."""
        stay = [number for number, item in enumerate(self.items) if key(item) not in gone]
        return self._of(tuple(self.items[n] for n in stay), tuple(self.sizes[n] for n in stay))

    def _of(self, items: tuple[ItemT, ...], sizes: tuple[int, ...]) -> Self:
        return self.model_copy(update={"items": items, "sizes": sizes})


def _size_of(item: BaseModel) -> int:
    return len(item.model_dump_json().encode())
