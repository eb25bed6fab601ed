"""What the troubleshooting page says that Celadon says, stands in Celadon's code."""

import re

import pytest

from tests.docs.tables import REPOSITORY
from tests.docs.texts_of_code import texts_of_code

PAGE = REPOSITORY / "docs" / "troubleshooting.md"


def quotes() -> list[str]:
    """Return each text of the second column."""
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    found = [quote for row in rows for quote in re.findall(r"`([^`]+)`", row[1])]
    assert len(found) > 50
    return found


@pytest.mark.parametrize("quote", quotes())
def test_celadon_says_so(quote: str) -> None:
    assert any(quote in text for text in texts_of_code()), "no text of the code holds it any more"


def test_every_row_has_a_symptom_a_text_and_a_way_out() -> None:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and not line.startswith("| symptom"):
            symptom, says, does = line.strip("| ").split(" | ")
            assert symptom, line
            assert does, line
            assert "`" in says, line
