"""Faults at chosen calls of a keeper's life with one set: before the call does anything, or after all that it does."""

from collections.abc import AsyncIterator, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from celadon.domain.language.names import RouteId
from celadon.domain.language.probe import Probe
from celadon.domain.language.revision import Revision
from celadon.keeper import probes
from celadon.keeper.probes import Prober, ProbeResult
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Address, Ended, ListenerCheck, Observation, Place, Replica
from celadon.table.core.engine import Table

LIFE_VARIABLE = "LIFE"
"""The environment variable of a revision that says in which life a keeper looks after its set."""


PROBES = ("probe", "connect")
MOST_PROBES = 8
"""A fault at one more of them shows nothing new; two replicas are probed again and again."""


class InjectedError(Exception):
    """What nobody expects."""


Call = tuple[str, int]
"""The name of a call, and the how manieth of that name it is in its life."""


@dataclass
class Life:
    """What a keeper calls for one set, in order, and which of these calls fail."""

    before: AbstractSet[Call] = frozenset()
    """Calls that fail before they do anything."""
    after: AbstractSet[Call] = frozenset()
    """Calls that fail after all that they do."""
    calls: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Count a call; let it fail if that is its turn."""
        self.calls.append(name)
        call = (name, self.calls.count(name))
        if call in self.before:
            self.struck.append(name)
            raise InjectedError(f"before {name}, call {call[1]}")
        yield
        if call in self.after:
            self.struck.append(name)
            raise InjectedError(f"after {name}, call {call[1]}")

    def numbered(self) -> list[Call]:
        """Return the calls, each with how many of its name there were until then, without later identical probes."""
        calls = [(name, self.calls[: place + 1].count(name)) for place, name in enumerate(self.calls)]
        return [(name, number) for name, number in calls if name not in PROBES or number <= MOST_PROBES]


_life: ContextVar[Life] = ContextVar("life")
"""Of the task that runs; a task has that of the task by which it was made."""


class FaultyTable(Table):
    """A table whose transactions fail when a life says so."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction; a fault after it comes when it is committed."""
        life = _life.get(None) or Life()
        with life.call("transaction"):
            async with super().transaction() as tx:
                yield tx

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading, which fails as a transaction does."""
        life = _life.get(None) or Life()
        with life.call("transaction"):
            async with super().reading() as tx:
                yield tx


class FaultyProber(Prober):
    """A prober that raises when a life says so, although no probe should."""

    async def probe(self, address: Address, probe: Probe) -> ProbeResult:
        """Probe a replica."""
        with (_life.get(None) or Life()).call("probe"):
            return await super().probe(address, probe)


async def faulty_connect(address: Address, patience: timedelta) -> ProbeResult:
    """Connect to a replica that has just been started, which raises when a life says so."""
    with (_life.get(None) or Life()).call("connect"):
        return await probes.connect(address, patience)


class FaultyProvisioner:
    """A provisioner whose operations fail when a life says so."""

    def __init__(self, real: LocalProvisioner, lives: Mapping[str, Life]) -> None:
        """Let ``real`` do the work, for sets of these lives."""
        self._real = real
        self._lives = lives

    def choose_place(
        self,
        revision: Revision,
        of_set: AbstractSet[Address],
        in_use: AbstractSet[Address],
    ) -> Place | None:
        """Choose a place. The set's task and all that it starts belong to the set's life from now on."""
        life = self._lives[str(revision.env[LIFE_VARIABLE])]
        _life.set(life)
        with life.call("choose_place"):
            return self._real.choose_place(revision, of_set, in_use)

    async def start(self, replica: Replica) -> None:
        """Start a replica."""
        with _life.get().call("start"):
            await self._real.start(replica)

    async def look(self, replica: Replica) -> Observation:
        """Look at a replica."""
        with _life.get().call("look"):
            return await self._real.look(replica)

    async def until_ended(self, replica: Replica) -> Ended:
        """Wait for a replica's end."""
        with _life.get().call("until_ended"):
            return await self._real.until_ended(replica)

    async def check_listener(self, replica: Replica) -> ListenerCheck:
        """Return who listens."""
        with _life.get().call("check_listener"):
            return await self._real.check_listener(replica)

    def last_output(self, replica: Replica) -> str:
        """Return what it printed last."""
        with _life.get().call("last_output"):
            return self._real.last_output(replica)

    def mask(self, replica: Replica, text: str) -> str:
        """Strike secrets out."""
        with _life.get().call("mask"):
            return self._real.mask(replica, text)

    async def stop(self, replica: Replica) -> None:
        """Stop a replica."""
        with _life.get().call("stop"):
            await self._real.stop(replica)

    async def forget(self, route: RouteId) -> None:
        """Forget a replica."""
        with _life.get().call("forget"):
            await self._real.forget(route)

    async def remembered(self) -> frozenset[RouteId]:
        """Return what is remembered."""
        return await self._real.remembered()

    async def end_stray(self, route: RouteId) -> None:
        """End a stray replica."""
        with (_life.get(None) or Life()).call("end_stray"):
            await self._real.end_stray(route)
