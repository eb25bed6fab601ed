"""The statements of one real rollout, sent again over plain asyncpg for any number of deployments.

A rollout is recorded: the transactions of its worker, activities and keeper, in the order of their commits. They are
sent again in a database of their own, where neither keeper nor gateway listens. For each deployment names, numbers and
ids are its own and moments move to the present, so that every statement finds, locks, inserts and changes rows as it
did when it was recorded.
"""

import asyncio
import hashlib
import pickle
import re
import signal
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import asyncpg
import psutil
from sqlalchemy import select, text

from bench.line import PATIENCE_SECONDS, Line
from bench.recordable_worker import read_recording, recording_file
from bench.statements import Statement, Transaction
from celadon.domain.language.contracts import workflow_id
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutOutcome
from celadon.table.core.engine import Table
from celadon.table.core.models import KeeperLease

RECORDED: Final = "recorded-deployment"
"""A name that no text of a statement holds by chance."""

_FIRST_NUMBER: Final = 1_000_000
"""Of revisions, and at least of rollouts and sets: no other number of a statement is so large by chance."""

_SETTLING_SECONDS: Final = 1.5
"""How long the keeper may go on after the end of a rollout."""

_LARGE_NUMBERS: Final = (
    "select setval('rollouts_id_seq', greatest(nextval('rollouts_id_seq'), 2000000))",
    "select setval('route_sets_id_seq', greatest(nextval('route_sets_id_seq'), 3000000))",
)
_DEPLOYMENT: Final = "insert into deployments (name, replicas, lifecycle) values ('{name}', 1, 'pending')"
_REVISION: Final = "insert into revisions values ('{name}', {number}, '', '{{}}')"
_KEEPER: Final = (
    "insert into keepers (shard, holder, fence, seen_at) values ({shard}, 'bench', {fence}, now() + interval '1 day')"
)
_IDENTITIES: Final = """
select r.id::text as rollout, r.run_id as run, r.to_revision::text as revision, v.digest,
       s.id::text as route_set, p.id::text as route
from rollouts r
join revisions v on v.deployment = r.deployment and v.number = r.to_revision
join route_sets s on s.rollout = r.id
join routes p on p.set_id = s.id
where r.deployment = :name
order by r.id
"""


@dataclass(frozen=True)
class Identities:
    """All that names one rollout of a deployment, as text."""

    rollout: str
    run: str
    revision: str
    digest: str
    route_set: str
    route: str


@dataclass(frozen=True)
class RecordedRollout:
    """One rollout of the deployment ``RECORDED``, with what the worker sent for it."""

    identities: Identities
    transactions: tuple[Transaction, ...]

    @property
    def statements(self) -> int:
        """How many statements it has, without the begin and the end of its transactions."""
        return sum(len(transaction.statements) for transaction in self.transactions)


@dataclass(frozen=True)
class Recording:
    """A deployment's first rollout and its second."""

    first: RecordedRollout
    second: RecordedRollout
    began: datetime
    shard: int
    fence: int
    """The keeper's: its writes carry it."""

    def write(self, file: Path) -> None:
        """Write it for another process of this machine."""
        file.write_bytes(pickle.dumps(self))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what was written a moment ago.

        Raises:
            TypeError: the file holds something else.

        """
        recording = pickle.loads(file.read_bytes())  # noqa: S301 - our own process wrote it, for us alone
        if not isinstance(recording, cls):
            raise TypeError(f"{file} holds no recording")
        return recording


async def record(line: Line, first: RolloutRequest, second: RolloutRequest) -> Recording:
    """Carry out two rollouts of the deployment ``RECORDED`` on a stack whose worker can be recorded."""
    began = datetime.now(UTC)
    async with line.table.transaction() as tx:
        for statement in (*_LARGE_NUMBERS, *_arrangement()):
            await tx.execute(text(statement))
        shard, fence = (await tx.execute(select(KeeperLease.shard, KeeperLease.fence))).one()
    noted = [await _noted(line, request) for request in (first, second)]
    async with line.table.transaction() as tx:
        rows = (await tx.execute(text(_IDENTITIES), {"name": RECORDED})).mappings()
        before, after = (Identities(**row) for row in rows)
    names = _Names(before, after)
    own = [tuple(one for one in transactions if names.are_in(one)) for transactions in noted]
    return Recording(RecordedRollout(before, own[0]), RecordedRollout(after, own[1]), began, shard, fence)


async def _noted(line: Line, request: RolloutRequest) -> Sequence[Transaction]:
    file = recording_file(line.addresses.data_dir)
    file.unlink(missing_ok=True)
    worker = psutil.Process(line.stack.addresses.children["worker"])
    worker.send_signal(signal.SIGUSR1)
    await line.rollouts.start(request)
    await line.end(RECORDED, RolloutOutcome.PROMOTED)
    await asyncio.sleep(_SETTLING_SECONDS)
    worker.send_signal(signal.SIGUSR2)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the worker did not write what it has noted")
        await asyncio.sleep(0.02)
    return read_recording(file)


def _arrangement(name: str = RECORDED) -> tuple[str, str]:
    """Return what creates a deployment with a revision, after which those of its rollouts are numbered."""
    return _DEPLOYMENT.format(name=name), _REVISION.format(name=name, number=_FIRST_NUMBER)


class _Names:
    """Finds what names the recorded rollouts, in parameters of any kind, and replaces it."""

    def __init__(self, *recorded: Identities) -> None:
        """Look for the names of these rollouts, and for their deployment's."""
        known = {RECORDED, *(name for one in recorded for name in asdict(one).values())}
        self._any = re.compile("|".join(re.escape(name) for name in sorted(known, key=len, reverse=True)))

    def is_in(self, value: object) -> bool:
        """Whether a parameter holds one."""
        return self._any.search(str(value)) is not None

    def are_in(self, transaction: Transaction) -> bool:
        """Whether any parameter of a transaction holds one."""
        return any(self.is_in(value) for statement in transaction.statements for value in statement.parameters)

    def replace(self, value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - parameters of any type
        """Return a parameter with other names."""
        match value:
            case str():
                return self._any.sub(lambda found: names[found.group()], value)
            case int():
                return int(names[str(value)]) if str(value) in names else value
            case list() | tuple():
                return [self.replace(one, names) for one in value]
            case _:
                raise TypeError(f"a parameter of type {type(value).__name__} holds a name: {value}")


@dataclass(frozen=True)
class _Step:
    """A statement with the places of what differs from rollout to rollout."""

    statement: Statement
    named: tuple[int, ...]
    moments: tuple[int, ...]
    returns: str
    """Which of the new identities its row gives."""


class Replayer:
    """Sends the statements of recorded rollouts again, each time for another rollout; not for two of one deployment."""

    def __init__(self, recording: Recording, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Send over the connections of ``pool``."""
        self._recording = recording
        self._pool = pool
        self._names = _Names(recording.first.identities, recording.second.identities)
        self._first = [self._planned(one) for one in recording.first.transactions]
        self._second = [self._planned(one) for one in recording.second.transactions]
        self._present: dict[str, dict[str, str]] = {}
        """By deployment, what stands for each recorded name."""
        self._later = datetime.now(UTC) - recording.began

    def _planned(self, transaction: Transaction) -> tuple[Transaction, list[_Step]]:
        return transaction, [
            _Step(
                statement,
                tuple(place for place, value in enumerate(statement.parameters) if self._names.is_in(value)),
                tuple(place for place, value in enumerate(statement.parameters) if isinstance(value, datetime)),
                _returned(statement),
            )
            for statement in transaction.statements
        ]

    async def prepare(self, deployments: Sequence[str]) -> None:
        """Let there be a keeper, and deployments that are live after their first rollout."""
        keeper = _KEEPER.format(shard=self._recording.shard, fence=self._recording.fence)
        await self._pool.execute(keeper)
        for name in deployments:
            for statement in _arrangement(name):
                await self._pool.execute(statement)
            first = self._recording.first.identities
            self._present[name] = {RECORDED: name} | _pairs(first, self._another(name, int(first.revision)))
            for transaction in self._first:
                await self._send(transaction, name, first)

    async def send(self, deployment: str, part: int, parts: int) -> None:
        """Send one of so many parts of a deployment's next rollout; the parts come one after the other."""
        first, second = self._recording.first.identities, self._recording.second.identities
        if part == 0:
            present = self._present[deployment]
            before = {old: present.get(new, present[old]) for old, new in _pairs(first, second).items()}
            number = int(before[first.revision]) + 1
            self._present[deployment] = (
                {RECORDED: deployment} | before | _pairs(second, self._another(deployment, number))
            )
        size = len(self._second)
        for transaction in self._second[part * size // parts : (part + 1) * size // parts]:
            await self._send(transaction, deployment, second)

    async def _send(self, planned: tuple[Transaction, Sequence[_Step]], deployment: str, recorded: Identities) -> None:
        transaction, steps = planned
        names = self._present[deployment]
        async with self._pool.acquire() as connection, transaction.opened(connection):
            for step in steps:
                rows = await self._translated(step, names).send(connection)
                if step.returns:
                    names[getattr(recorded, step.returns)] = str(rows[0]["id"])

    def _translated(self, step: _Step, names: Mapping[str, str]) -> Statement:
        parameters = list(step.statement.parameters)
        for place in step.named:
            parameters[place] = self._names.replace(parameters[place], names)
        for place in step.moments:
            parameters[place] += self._later
        return Statement(step.statement.text, tuple(parameters), step.statement.is_many)

    def _another(self, deployment: str, revision: int) -> Identities:
        """Return identities of a new rollout; those that the database gives are told by their statements."""
        return Identities(
            rollout="",
            run=str(uuid.uuid4()),
            revision=str(revision),
            digest=hashlib.sha256(f"{workflow_id(deployment)} {revision}".encode()).hexdigest(),
            route_set="",
            route=str(uuid.uuid4()),
        )


async def check_promoted(database_url: str, rollouts: int) -> None:
    """Check that what was sent did what it does for Celadon.

    Raises:
        RuntimeError: another number of rollouts was promoted than should have been.

    """
    statement = "select count(*) from rollouts join route_sets s on s.rollout = rollouts.id where outcome = 'promoted'"
    async with Table(database_url, "celadon-bench", pool_size=1) as table, table.transaction() as tx:
        promoted = await tx.scalar(text(statement))
    if promoted != rollouts:
        raise RuntimeError(f"the statements sent again promoted {promoted} rollouts of {rollouts}")


def _pairs(recorded: Identities, present: Identities) -> dict[str, str]:
    return dict(zip(asdict(recorded).values(), asdict(present).values(), strict=True))


def _returned(statement: Statement) -> str:
    if statement.text.startswith("INSERT INTO rollouts "):
        return "rollout"
    return "route_set" if statement.text.startswith("INSERT INTO route_sets ") else ""
