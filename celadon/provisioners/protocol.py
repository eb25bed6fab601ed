"""What the keeper asks of whoever runs replicas."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from celadon.domain.language.names import RouteId
from celadon.domain.language.ports import PortProtocol
from celadon.domain.language.revision import Revision


@dataclass(frozen=True, slots=True)
class Address:
    """Where a replica listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a replica listens: its host, and the numbers of its ports by name."""

    host: str
    ports: Mapping[str, int]

    def address_of(self, port: str) -> Address:
        """Return where one of its ports is; raises ``KeyError`` for a name that none has."""
        return Address(self.host, self.ports[port])

    @property
    def addresses(self) -> frozenset[Address]:
        """Where all of its ports are."""
        return frozenset(Address(self.host, number) for number in self.ports.values())


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica: its route's id, its place, and what it serves."""

    route: RouteId
    place: Place
    revision: Revision
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Of its deployment, as they are when it starts."""

    @property
    def address(self) -> Address:
        """Where its main port is, the one that ``{port}`` stands for."""
        return self.place.address_of(self.revision.main_port)

    @property
    def traffic_addresses(self) -> tuple[Address, ...]:
        """Where routers send requests, the main port first."""
        names = (self.revision.port_with(PortProtocol.HTTP1), self.revision.port_with(PortProtocol.H2C))
        return tuple(self.place.address_of(name) for name in names if name is not None)


@dataclass(frozen=True, slots=True)
class NeverStarted:
    """Nothing is known of the replica."""


@dataclass(frozen=True, slots=True)
class Running:
    """The replica runs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The replica is no more."""

    error: str
    """Why, for a person."""
    output: str = ""
    """The last lines that it printed."""
    failed: bool = True
    """Whether that is the revision's fault, so that it counts against ``max_replacements``."""
    port_taken: bool = False
    """Whether it was ended because another program listens at its address."""


Observation = NeverStarted | Running | Ended


class Listener(StrEnum):
    """Who gets the connections that are made to a replica's ports."""

    OWN = "own"
    """The replica, and nobody beside it; or nobody can tell, because it is not a process of this machine."""
    NONE = "none"
    """Nobody, at one port at least."""
    FOREIGN = "foreign"
    """Another program, alone or beside the replica."""


@dataclass(frozen=True, slots=True)
class ListenerCheck:
    """Who listens where routers send a replica's requests."""

    listener: Listener
    error: str = ""
    """What is wrong with that, for a person."""


class StartError(Exception):
    """A replica cannot be started; the text says why and what to do next."""

    def __init__(self, message: str, output: str = "", *, failed: bool = True) -> None:
        """Keep what is told.

        Args:
            message: why, for a person.
            output: the last lines that were printed.
            failed: whether it is the revision's fault.

        """
        super().__init__(message)
        self.output = output
        self.failed = failed


class ReplicaProvisioner(Protocol):
    """Runs replicas. Every operation may be repeated, also by a keeper that took over in the middle of one."""

    def choose_place(
        self,
        revision: Revision,
        of_set: AbstractSet[Address],
        in_use: AbstractSet[Address],
    ) -> Place | None:
        """Return a place for one more replica, with all ports of the revision; nothing when there is none.

        Args:
            revision: what is to be served.
            of_set: the addresses that replicas of the same set have.
            in_use: the addresses that replicas of all sets have.

        """

    async def start(self, replica: Replica) -> None:
        """Start a replica whose route is written down; a second start of the same route starts nothing.

        Raises:
            StartError: it cannot be started.

        """

    async def look(self, replica: Replica) -> Observation:
        """Return how a replica is, also one that another process has started."""

    async def until_ended(self, replica: Replica) -> Ended:
        """Wait until a running replica has ended; for ever when its end cannot be seen."""

    async def check_listener(self, replica: Replica) -> ListenerCheck:
        """Return who listens where routers send requests: a port that answers says nothing of who answers."""

    def last_output(self, replica: Replica) -> str:
        """Return the last lines that a replica has printed, without secrets; empty when nobody can tell."""

    def mask(self, replica: Replica, text: str) -> str:
        """Return what a replica, or a probe of it, has said without secrets."""

    async def stop(self, replica: Replica) -> None:
        """End a replica and all that it has left behind, within its ``termination_grace`` if it obeys.

        One that was never started is not started any more afterwards.
        """

    async def forget(self, route: RouteId) -> None:
        """Drop what is remembered of a replica that has ended, once its end is written down."""

    async def remembered(self) -> frozenset[RouteId]:
        """Return every replica of which something is remembered."""

    async def end_stray(self, route: RouteId) -> None:
        """End and forget a replica that nobody wants any more; twice does no harm."""
