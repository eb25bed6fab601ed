"""A storm: rollouts one after the other under load, while at random moments something is killed.

The matrix strikes at moments that somebody thought of; the storm finds those that nobody did.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from temporalio.service import RPCError

from celadon.domain.language.errors import RefusedError
from celadon.domain.language.states import RolloutOutcome
from tests.chaos.cleanliness import settle
from tests.chaos.evidence import evidence
from tests.chaos.faults import BACK_SECONDS, Damage
from tests.chaos.processes import ProcessWatch
from tests.chaos.site import NotReachedError, Site, kill, replica_processes
from tests.chaos.subject import PERSON_SECONDS, Subject
from tests.chaos.verdict import Cell, judge_requests, wrong_switches

STORM: Final = "storm of kills"
SUBJECTS: Final = 4
CHILDREN: Final = ("worker", "gateway", "temporal", "postgres", "router")
REPLICA: Final = "replica"
CALM_SECONDS: Final = (2.0, 8.0)
"""Between one part's return and the next kill, at least and at most."""
REPLICA_REST_SECONDS: Final = 15.0
"""How long a deployment is spared after it has lost a replica, so that it never loses all."""

ENDS_WITHIN: Final = 240.0
"""A step whose worker dies is tried again after up to 10 s, and each further death costs that again."""

log = structlog.get_logger()


@dataclass
class Storm:
    """Some minutes of kills at random moments; the same seed kills in the same order."""

    site: Site
    seconds: float
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    """What was killed how often."""

    async def run(self) -> list[Cell]:
        """Blow, let all rollouts end, and judge each deployment."""
        subjects = [Subject(self.site, f"storm-{number}") for number in range(1, SUBJECTS + 1)]
        await asyncio.gather(*(subject.serve_first() for subject in subjects))
        await asyncio.gather(*(subject.begin_round() for subject in subjects))
        damage = Damage(self.site, {}, struck_ns=time.monotonic_ns())
        over = asyncio.Event()
        log.info("storm_begins", seconds=self.seconds, seed=self.seed)
        rolling = [asyncio.create_task(_roll_out(subject, over)) for subject in subjects]
        try:
            await self._blow(damage, subjects)
        finally:
            over.set()
            wrong = await asyncio.gather(*rolling)
        processes = ProcessWatch()
        return list(
            await asyncio.gather(
                *(self._judge(damage, processes, *one) for one in zip(subjects, wrong, strict=True)),
            ),
        )

    async def _blow(self, damage: Damage, subjects: Sequence[Subject]) -> None:
        draw = random.Random(self.seed)
        ends = time.monotonic() + self.seconds
        spared: dict[str, float] = {}
        while time.monotonic() < ends:
            await asyncio.sleep(draw.uniform(*CALM_SECONDS))
            victim = draw.choice((*CHILDREN, REPLICA))
            if victim != REPLICA:
                await self._kill_child(damage, victim)
                continue
            subject = draw.choice(subjects)
            if time.monotonic() >= spared.get(subject.name, 0.0):
                spared[subject.name] = time.monotonic() + REPLICA_REST_SECONDS
                await self._kill_replica(damage, subject, draw)

    async def _kill_child(self, damage: Damage, name: str) -> None:
        running = self.site.children()
        if name not in running:
            return
        since = time.monotonic_ns()
        log.info("storm_kills", child=name)
        self.kills[name] += 1
        kill(running[name])
        await self.site.until_back({name: running[name]}, BACK_SECONDS)
        if name == "router":
            await self.site.until_routers_serve(BACK_SECONDS)
            damage.unreachable.append((since, time.monotonic_ns()))

    async def _kill_replica(self, damage: Damage, subject: Subject, draw: random.Random) -> None:
        processes = await asyncio.to_thread(replica_processes)
        rows = await self.site.rows(
            "select routes.id from routes join route_sets on route_sets.id = set_id "
            "where deployment = :name and ended_at is null order by routes.created_at, routes.id",
            name=subject.name,
        )
        routes = [route for row in rows if (route := str(row["id"])) in processes]
        if not routes:
            return
        route = draw.choice(routes)
        log.info("storm_kills", replica=route, deployment=subject.name)
        self.kills[REPLICA] += 1
        damage.killed[route] = time.monotonic_ns()
        for pid in processes[route]:
            kill(pid)

    async def _judge(self, damage: Damage, processes: ProcessWatch, subject: Subject, wrong: list[str]) -> Cell:
        problems = [*wrong, *await settle(self.site, subject, processes)]
        rollouts = await self.site.rows(
            "select outcome from rollouts where deployment = :name and id > :before",
            name=subject.name,
            before=subject.before,
        )
        promoted = sum(row["outcome"] == RolloutOutcome.PROMOTED for row in rollouts)
        if promoted != len(rollouts):
            problems.append(f"{promoted} of {len(rollouts)} rollouts were promoted")
        problems += await wrong_switches(self.site, subject)
        records = await subject.end_load()
        running = self.site.running_on(damage.killed)
        requests = judge_requests(subject.name, subject.seed, damage, running, records)
        if requests.lost:
            problems.append(f"{requests.lost} of {requests.sent} requests were lost, such as {requests.examples[0]}")
        return Cell(
            fault=STORM,
            moment=subject.name,
            problems=problems,
            outcome=f"{promoted} promoted",
            requests=requests,
            seconds=round((time.monotonic_ns() - damage.struck_ns) / 1e9, 1),
            evidence=await evidence(self.site, subject) if problems else {},
        )


async def _roll_out(subject: Subject, over: asyncio.Event) -> list[str]:
    """Start one rollout after the other until the storm is over; return what went wrong."""
    number = 0
    while not over.is_set():
        number += 1
        subject.label = f"{subject.name}-{number}"
        newest = await subject.newest()
        before = 0 if newest is None else newest.rollout
        try:
            await _started(subject)
            await subject.until_newer_has_ended(before, ENDS_WITHIN)
        except (NotReachedError, RefusedError) as error:
            return [f"rollout {number} did not end: {error}"]
    return []


async def _started(subject: Subject) -> None:
    """Start a rollout; a start without an answer is repeated, and may then find that it was taken."""
    asked_before = False
    deadline = time.monotonic() + PERSON_SECONDS
    while True:
        try:
            await subject.start_once(auto_promote=True, bake="1s")
        except RefusedError:
            if asked_before:
                return
            if time.monotonic() > deadline:
                raise
        except RPCError:
            asked_before = True
        else:
            return
        await asyncio.sleep(0.3)
