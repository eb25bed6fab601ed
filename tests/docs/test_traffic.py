"""The page about traffic says what the code says."""

from tests.docs.marked_blocks import filled
from tests.docs.traffic_page import BLOCKS, PAGE


def test_blocks_say_what_the_code_says() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page == filled(page, BLOCKS), "docs/traffic.md is stale: write it anew with 'python -m tests.docs'"
