"""What is done to a stack, or to all subjects of a volley, and how it is undone."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import text

from celadon.domain.language.contracts import KEEPER_LEASE, workflow_id
from celadon.domain.language.states import RolloutOutcome
from tests.chaos.moments import Moment
from tests.chaos.site import NotReachedError, Site, kill, replica_processes, until, with_children
from tests.chaos.subject import Subject
from tests.workflows.resets import reset_to_task

STOPPED_SECONDS: Final = 20.0
BACK_SECONDS: Final = 120.0


Span = tuple[int, int]
"""Two moments of the machine's monotonic clock, in nanoseconds."""


@dataclass
class Damage:
    """What a strike did, as far as the judgement of requests needs it."""

    site: Site
    subjects: Mapping[Moment, Subject]
    struck_ns: int = 0
    """When it was struck, by the machine's monotonic clock."""
    killed: dict[str, int] = field(default_factory=dict)
    """Replicas that were killed, by route, with the moment."""
    unreachable: list[Span] = field(default_factory=list)
    """From when until when killed routers did not serve."""
    none_left: dict[str, Span] = field(default_factory=dict)
    """Deployments of which no live replica was left, from when until when."""
    processes: dict[str, int] = field(default_factory=dict)
    """Children that were struck, as they were before."""


Act = Callable[[Damage], Awaitable[None]]


class Kind:
    """What a fault is done to."""

    CHILD: Final = "child"
    GREEN: Final = "green"
    BLUE: Final = "blue"
    WORKFLOW: Final = "workflow"


@dataclass(frozen=True, eq=False)
class Fault:
    """One fault; ``recover`` undoes what does not come back by itself, and waits for what does."""

    name: str
    strike: Act
    recover: Act
    kind: str = Kind.CHILD
    workers: int = 1
    all_greens: bool = False

    def concerns(self, moment: Moment) -> bool:
        """Whether there is something to strike at that moment."""
        match self.kind:
            case Kind.GREEN:
                return moment.green_runs
            case Kind.BLUE:
                return moment.blue_runs
            case _:
                return True


async def _done(_: Damage) -> None:
    return


def _killing(*children: str) -> tuple[Act, Act]:
    async def strike(damage: Damage) -> None:
        running = damage.site.children()
        damage.processes = {name: running[name] for name in children}
        for pid in damage.processes.values():
            kill(pid)

    async def recover(damage: Damage) -> None:
        await damage.site.until_back(damage.processes, BACK_SECONDS)

    return strike, recover


def _kill(child: str) -> Fault:
    strike, recover = _killing(child)
    return Fault(f"{child} killed", strike, recover)


def _kill_routers() -> Fault:
    strike, back = _killing("router", "router-2")

    async def recover(damage: Damage) -> None:
        await back(damage)
        await damage.site.until_routers_serve(BACK_SECONDS)
        damage.unreachable.append((damage.struck_ns, time.monotonic_ns()))

    return Fault("Envoys killed", strike, recover)


async def _holder(site: Site) -> tuple[str, int]:
    """Return the worker that holds the keeper's lease."""
    rows = await site.rows("select holder from keepers")
    pid = int(str(rows[0]["holder"]).rpartition("/")[2])
    name = next(name for name, process in site.children().items() if process == pid)
    return name, pid


async def _kill_holder(damage: Damage) -> None:
    name, pid = await _holder(damage.site)
    damage.processes = {name: pid}
    kill(pid)


async def _until_holder_back(damage: Damage) -> None:
    await damage.site.until_back(damage.processes, BACK_SECONDS)


def _signal(damage: Damage, number: signal.Signals) -> None:
    for pid in damage.processes.values():
        for process in with_children(pid):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _stop(child: str) -> Fault:
    async def strike(damage: Damage) -> None:
        damage.processes = {child: damage.site.children()[child]}
        if child == "worker":
            # Replicas are its children, and go on.
            os.kill(damage.processes[child], signal.SIGSTOP)
        else:
            _signal(damage, signal.SIGSTOP)

    return Fault(f"{child} stopped {STOPPED_SECONDS:g} s", strike, _continue)


async def _continue(damage: Damage) -> None:
    await asyncio.sleep(STOPPED_SECONDS - (time.monotonic_ns() - damage.struck_ns) / 1e9)
    for pid in damage.processes.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    _signal(damage, signal.SIGCONT)


async def _stop_holder(damage: Damage) -> None:
    name, pid = await _holder(damage.site)
    damage.processes = {name: pid}
    os.kill(pid, signal.SIGSTOP)


async def _continue_after_takeover(damage: Damage) -> None:
    """Let a second keeper work with the lease for as long as the first one stands still."""
    (stopped,) = damage.processes.values()
    rows = await damage.site.rows("select holder from keepers")
    if not str(rows[0]["holder"]).endswith(f"/{stopped}"):
        raise NotReachedError("the lease changed hands before the keeper stood still")

    async def taken() -> bool:
        return (await _holder(damage.site))[1] != stopped

    try:
        await until(taken, "the second worker's keeper takes the lease", STOPPED_SECONDS)
    finally:
        await _continue(damage)


async def _take_the_lease_away(damage: Damage) -> None:
    """Raise the fence as another keeper would, which then does nothing and lets the lease expire."""
    async with damage.site.table.transaction() as tx:
        await tx.execute(
            text("update keepers set fence = fence + 1, holder = 'nobody/0', seen_at = clock_timestamp()"),
        )


async def _until_lease_is_held(damage: Damage) -> None:
    async def held() -> bool:
        rows = await damage.site.rows("select 1 from keepers where holder <> 'nobody/0'")
        return bool(rows)

    await until(held, "the worker's keeper has the lease again", KEEPER_LEASE.total_seconds() + BACK_SECONDS)


_ROUTES: Final = "select id from routes where ended_at is null and set_id = ({}) order by created_at, id"
_ROUTES_OF: Final = {
    Kind.GREEN: _ROUTES.format("select green_set from rollouts where deployment = :name and id > :before"),
    # Before the new rollout has a row, blue is what is live.
    Kind.BLUE: _ROUTES.format(
        "select coalesce((select blue_set from rollouts where deployment = :name and id > :before),"
        " (select live_set from deployments where name = :name))",
    ),
}


def _kill_replicas(colour: str, *, all_of_them: bool) -> Fault:
    async def strike(damage: Damage) -> None:
        processes = await asyncio.to_thread(replica_processes)
        victims: list[str] = []
        for subject in damage.subjects.values():
            rows = await damage.site.rows(_ROUTES_OF[colour], name=subject.name, before=subject.before)
            routes = [str(row["id"]) for row in rows]
            victims += routes if all_of_them else routes[:1]
        for route in victims:
            damage.killed[route] = time.monotonic_ns()
            for pid in processes.get(route, ()):
                kill(pid)

    async def recover(damage: Damage) -> None:
        if all_of_them and colour == Kind.GREEN:
            await asyncio.gather(*(_until_served_again(damage, *one) for one in damage.subjects.items()))

    who = f"all {colour}s killed" if all_of_them else f"one {colour} killed"
    return Fault(who, strike, recover, kind=colour, all_greens=all_of_them and colour == Kind.GREEN)


async def _until_served_again(damage: Damage, moment: Moment, subject: Subject) -> None:
    """Note from when until when the live set had no replica left."""
    since = damage.struck_ns
    if not moment.green_takes_over:
        switched_ns = await _switched_to_the_dead(damage, subject)
        if switched_ns is None:
            return
        since = switched_ns
    went_back = moment.outcome is RolloutOutcome.ROLLED_BACK
    label = subject.old_label if went_back else subject.label

    async def serves() -> bool:
        return await subject.answers() == label

    await until(serves, f"{subject.name} serves {label} again", BACK_SECONDS)
    damage.none_left[subject.name] = (since, time.monotonic_ns())


async def _switched_to_the_dead(damage: Damage, subject: Subject) -> int | None:
    """Return when a rollout switched to a green that was dead, because the table did not know of the deaths yet."""

    async def known() -> bool:
        rows = await damage.site.rows(
            "select 1 from routes where id::text = any(:killed) and ended_at is null",
            killed=list(damage.killed),
        )
        return not rows

    await until(known, "the keeper knows of all deaths", BACK_SECONDS)
    rows = await damage.site.rows(
        "select extract(epoch from switched_at) as at from rollouts where deployment = :name and id > :before "
        "and switched_at < (select min(ended_at) from routes where set_id = green_set and id::text = any(:killed))",
        name=subject.name,
        before=subject.before,
        killed=list(damage.killed),
    )
    if not rows:
        return None
    return time.monotonic_ns() - round(time.time_ns() - float(rows[0]["at"]) * 1e9)


async def _terminate(damage: Damage) -> None:
    await asyncio.gather(*(one.handle.terminate("chaos") for one in damage.subjects.values()))


def _reset(*, to_first: bool) -> Act:
    async def strike(damage: Damage) -> None:
        await asyncio.gather(
            *(
                reset_to_task(one.site.temporal, workflow_id(one.name), first=to_first)
                for one in damage.subjects.values()
            ),
        )

    return strike


TERMINATED: Final = Fault("workflow terminated", _terminate, _done, kind=Kind.WORKFLOW)
RESET_TO_FIRST: Final = Fault("workflow reset to its begin", _reset(to_first=True), _done, kind=Kind.WORKFLOW)
RESET_TO_LAST: Final = Fault("workflow reset to its last task", _reset(to_first=False), _done, kind=Kind.WORKFLOW)

FAULTS: Final = (
    _kill("worker"),
    Fault("worker killed, a second idle", _kill_holder, _until_holder_back, workers=2),
    _kill("gateway"),
    _kill_routers(),
    _kill("temporal"),
    _kill("postgres"),
    _kill_replicas(Kind.GREEN, all_of_them=False),
    _kill_replicas(Kind.BLUE, all_of_them=False),
    _kill_replicas(Kind.GREEN, all_of_them=True),
    Fault("keeper's lease lost", _take_the_lease_away, _until_lease_is_held),
    _stop("worker"),
    Fault(
        f"keeper stopped {STOPPED_SECONDS:g} s, a second takes over",
        _stop_holder,
        _continue_after_takeover,
        workers=2,
    ),
    _stop("gateway"),
    _stop("temporal"),
    _stop("postgres"),
    TERMINATED,
    RESET_TO_FIRST,
    RESET_TO_LAST,
)
