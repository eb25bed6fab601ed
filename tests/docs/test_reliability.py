"""The page about reliability says what the code says."""

from tests.docs.marked_blocks import filled
from tests.docs.reliability_page import BLOCKS, PAGE


def test_blocks_say_what_the_code_says() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == filled(page, BLOCKS), "docs/reliability.md is stale: write it anew with 'python -m tests.docs'"
