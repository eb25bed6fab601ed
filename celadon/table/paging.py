"""How long a page of a list may be, through whichever door it is asked for."""

from typing import Final

LONGEST_PAGE: Final = 200
"""What is longer is asked for page after page, each from where the one before ended."""
