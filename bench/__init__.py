"""Benches: each prints a table and, with ``--json``, JSON; ratios are taken in one run."""

from typing import Final

BENCHES: Final = (
    "switch",
    "kill",
    "failover",
    "soak",
    "drain",
    "swap",
    "engine",
    "events",
    "waiting",
    "viewers",
    "path",
    "addresses",
    "cli",
)
"""In the order of ``docs/performance.md``."""
