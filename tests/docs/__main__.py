"""``python -m tests.docs``: write the pages of ``docs/reference`` anew, from the code as it is."""

from tests.docs.pages import REFERENCE, write_pages

if __name__ == "__main__":
    write_pages(REFERENCE)
