"""What a node is."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class NodeSettings:
    """A node, as the command line of its kubelet says it."""

    name: str
    network: str
    """The first two numbers of the addresses of the node's pods, such as ``127.20``."""
    work: Path
    """Where the output of containers is kept; also their working directory."""
    gpus: int = 0
    zone: str = "zone-1"
    fake: bool = False
    """Whether pods are ready at once without a process behind them."""
    addresses: int = 60_000
    """How many addresses there are; a small number makes a node give an address to another pod soon."""
    heartbeat_seconds: float = 3.0
