"""Texts are cut to bytes, never inside a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celadon.domain.language.text_bounds import first_bytes, last_bytes


def test_a_text_that_fits_stays_as_it_is() -> None:
    assert first_bytes("grün", 5) == last_bytes("grün", 5) == "grün"


def test_a_longer_text_keeps_its_begin_or_its_end() -> None:
    assert first_bytes("0123456789", 8) == "01234…"
    assert last_bytes("0123456789", 8) == "…56789"


@pytest.mark.parametrize("cut", [first_bytes, last_bytes])
@given(text=st.text(), most=st.integers(3, 40))
def test_no_text_is_longer_than_it_may_be(cut: object, text: str, most: int) -> None:
    assert callable(cut)
    assert len(cut(text, most).encode()) <= most
