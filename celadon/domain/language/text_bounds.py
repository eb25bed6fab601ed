"""Text of programs cut to a number of bytes in UTF-8, never inside a character."""

from typing import Final

_CUT: Final = "…"


def first_bytes(text: str, most: int) -> str:
    """Return a text of at most ``most`` bytes; of a longer one the begin, with a mark that it goes on."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most:
        return encoded.decode()
    return encoded[: max(0, most - len(_CUT.encode()))].decode("utf-8", "ignore") + _CUT


def last_bytes(text: str, most: int) -> str:
    """Return a text of at most ``most`` bytes; of a longer one the end, with a mark that something stands before."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most:
        return encoded.decode()
    kept = max(0, most - len(_CUT.encode()))
    return _CUT + encoded[len(encoded) - kept :].decode("utf-8", "ignore")
