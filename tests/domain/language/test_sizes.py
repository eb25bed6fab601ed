"""Sizes as people write them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from celadon.domain.language.sizes import LARGEST, Size, bytes_of, size_of

_size: TypeAdapter[str] = TypeAdapter(Size)


@pytest.mark.parametrize(
    ("written", "size", "again"),
    [
        ("64KiB", 65536, "64KiB"),
        ("64 MiB", 64 << 20, "64MiB"),
        ("1GiB", 1 << 30, "1GiB"),
        ("1024MiB", 1 << 30, "1GiB"),
        ("1500", 1500, "1500B"),
        ("1500B", 1500, "1500B"),
        (1, 1, "1B"),
        (65536, 65536, "64KiB"),
        ("1TiB", LARGEST, "1TiB"),
    ],
)
def test_a_size_is_read_as_people_write_it_and_written_in_one_way(written: object, size: int, again: str) -> None:
    assert bytes_of(written) == size
    assert _size.validate_python(written) == again == size_of(size)


@pytest.mark.parametrize("written", ["", 0, -1, True, None, 1.5, "64MB", "64mib", "-1KiB", "KiB", "0B", "2TiB"])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        bytes_of(written)
    with pytest.raises(ValidationError):
        _size.validate_python(written)
