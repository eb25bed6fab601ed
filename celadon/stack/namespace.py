"""The namespace of a stack's Temporal server."""

from typing import Final

NAMESPACE: Final = "default"
"""The server has it from the start."""
