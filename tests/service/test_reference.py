"""The reference pages in ``docs`` are those that the code makes."""

from pathlib import Path

import pytest

from celadon.service.reference import reference_pages

DIRECTORY = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", reference_pages())
def test_a_page_is_what_the_code_makes(name: str) -> None:
    written = (DIRECTORY / name).read_text(encoding="utf-8")

    assert written == reference_pages()[name], "write it anew: python -m celadon.service.reference docs/reference"
