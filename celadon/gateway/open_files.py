"""How many connections of clients a router may hold, so that it never runs out of descriptors.

A request by HTTP/1.1 takes two descriptors, one on either side. Once there are none, the router answers 503 to the
requests of every deployment; connections that are too many are closed before that.
"""

import resource
from typing import Final

MOST_DESCRIPTORS: Final = 262_144
"""What the units and the compose file give a router."""

KEPT_FREE: Final = 1_000
"""Descriptors beside those of requests: idle connections to replicas, files, listeners, the gateway."""

_SMALLEST_SHARE: Final = 4


def connections_for(descriptors: int) -> int:
    """Return the connections that a process with so many descriptors may hold: half of them less 1,000.

    Where there are so few that hardly any would be left, it is a quarter.
    """
    return max(descriptors // 2 - KEPT_FREE, descriptors // _SMALLEST_SHARE)


DEFAULT_CONNECTIONS: Final = connections_for(MOST_DESCRIPTORS)


def connections_of_this_process() -> int:
    """Return the same for a router that is started as this process was, at most :data:`DEFAULT_CONNECTIONS`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DEFAULT_CONNECTIONS if hard == resource.RLIM_INFINITY else connections_for(min(hard, MOST_DESCRIPTORS))
