"""Pages whose text is written by hand, with blocks between marks that are made of the code.

A block stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``, as the lines of the
demonstration do in README.
"""

from collections.abc import Callable, Mapping


def filled(page: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with each of its blocks made anew.

    Raises:
        ValueError: the marks of a block do not stand in the page once each, one after the other.

    """
    for name, made in blocks.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
            raise ValueError(f"the marks of {name} stand once each in the page: {begin.strip()} and {end.strip()}")
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}{made()}{end}{after}"
    return page
