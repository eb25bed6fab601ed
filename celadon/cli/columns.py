"""Tables for people: columns under headings, without lines."""

from celadon.terminal import Table


def table_of(*headings: str) -> Table:
    """Return an empty table; what does not fit into a column goes on below."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
