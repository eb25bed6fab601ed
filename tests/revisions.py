"""Revisions that tests roll out where nobody starts or probes a replica."""

from typing import Any, Final

TCP: Final = {"tcp": True}
"""A health check in the fewest words; a revision without one is refused."""


def serving(*arguments: str) -> dict[str, Any]:
    """Return a revision as a deployment file writes it."""
    return {"command": ["serve", *arguments], "health_check": TCP}
