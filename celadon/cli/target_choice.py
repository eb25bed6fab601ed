"""What a command line says of the Celadon that it means."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """Which Celadon, and which way to it; what is not said is found out."""

    data_dir: Path | None = None
    profile: str | None = None
    direct: bool = False
    """By its Postgres and its Temporal, past its API."""
    insecure: bool = False
    """A token may travel in the clear."""
