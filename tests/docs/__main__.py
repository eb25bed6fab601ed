"""``python -m tests.docs``: write the pages of ``docs/reference`` anew, and the blocks of others, from the code."""

from tests.docs import model_servers_page, reliability_page, rollouts_page, traffic_page
from tests.docs.marked_blocks import filled
from tests.docs.pages import REFERENCE, write_pages

if __name__ == "__main__":
    write_pages(REFERENCE)
    for page in (model_servers_page, reliability_page, rollouts_page, traffic_page):
        page.PAGE.write_text(filled(page.PAGE.read_text(encoding="utf-8"), page.BLOCKS), encoding="utf-8")
