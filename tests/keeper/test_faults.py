"""Whatever fails unexpectedly in a set's life, and wherever, the set has the wanted number of replicas in the end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update
from structlog.testing import capture_logs

from celadon.domain.language.revision import Provisioner
from celadon.domain.language.states import DeploymentLifecycle
from celadon.keeper.keeper import Keeper
from celadon.keeper.metrics import KeeperMetrics
from celadon.keeper.times import KeeperTimes
from celadon.provisioners.claims import ProcessClaim
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.settings import LocalSettings
from celadon.table.core.engine import Table
from celadon.table.core.listen import ACKS_CHANNEL, NEXT_CHANNEL, ROUTES_CHANNEL, Listener
from celadon.table.core.models import Deployment, RevisionRow
from tests.keeper.faults import LIFE_VARIABLE, FaultyProber, FaultyProvisioner, FaultyTable, Life, faulty_connect
from tests.keeper.leases import LASTING_TIMES
from tests.keeper.rollouts import Deploying
from tests.keeper.running import Rollouts, running_keeper
from tests.provisioners.programs import processes_of, script, server, until
from tests.table.listening import notify

pytestmark = pytest.mark.parts

AT_ONCE = 10
"""Lives that run beside one another."""


ASYNCHRONOUS = (
    "transaction",
    "look",
    "start",
    "until_ended",
    "connect",
    "probe",
    "check_listener",
    "stop",
    "forget",
)
"""What a keeper awaits in a set's life that nothing disturbs."""

LISTENER = (
    *script(
        "import socket, sys; listener = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "while True: listener.accept()[0].close()",
    ),
    "{port}",
)
"""Begins quicker than a web server."""


def revision_of(chat: Deploying) -> dict[str, object]:
    """Return a revision whose set has the life of its deployment's name.

    A healthy replica is probed seldom: a fault at one more identical probe shows nothing new.
    """
    check = {"tcp": True, "interval": "500ms", "timeout": "30s"}
    return {"command": LISTENER, "health_check": check, "env": {LIFE_VARIABLE: chat.name}}


@dataclass
class Lives:
    """A keeper of many sets, in whose lives calls fail."""

    table: Table
    state_dir: Path
    local: LocalProvisioner
    by_name: dict[str, Life] = field(default_factory=dict)
    permits: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def live(self, name: str, life: Life) -> Life:
        """Let a deployment live from its first replica to its deletion; in each state it has what is wanted."""
        self.by_name[name] = life
        chat = Deploying(self.table, name)
        async with self.permits:
            try:
                await self._live(chat)
            except TimeoutError as error:
                routes = [(one.status, one.health) for one in await chat.routes()]
                raise AssertionError(f"{name}, after {life.struck}: it stays at {routes}") from error
        return life

    async def _live(self, chat: Deploying) -> None:
        await chat.open(
            revision_of(chat), replicas=2, max_replacements=1000, drain_timeout="0s", router_ack_timeout="50ms"
        )
        first, _ = await chat.healthy(2)
        await chat.switch()
        await chat.finish()
        self.kill(first.id)
        await chat.ended(1)
        await chat.healthy(2)
        await chat.scale(1)
        await chat.healthy(1)
        await chat.delete()

        async def is_destroyed() -> bool:
            return (await chat.row()).lifecycle is DeploymentLifecycle.DESTROYED

        await until(is_destroyed)
        ended = {route.id for route in await chat.routes(ended=True)}

        async def is_forgotten() -> bool:
            return not ended & await self.local.remembered() and not any(processes_of(route) for route in ended)

        await until(is_forgotten)

    def kill(self, route: str) -> None:
        """Let a replica crash."""
        pid = ProcessClaim.parse((self.state_dir / f"{route}.claim").read_text()).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


SHORT_RESTS: Final = KeeperTimes(fault=timedelta(milliseconds=50), refused=timedelta(milliseconds=50))
"""Of a keeper that rests for a moment only after a fault: these tests have hundreds of them."""


@pytest.fixture
def faulty_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the probes of a keeper raise where a life says so."""
    monkeypatch.setattr("celadon.keeper.keeper.Prober", FaultyProber)
    monkeypatch.setattr("celadon.keeper.replica_keeper.connect", faulty_connect)


@pytest_asyncio.fixture(loop_scope="session")
async def lives(
    table: Table,
    state_dir: Path,
    faulty_probes: None,  # noqa: ARG001 - it patches
) -> AsyncIterator[Lives]:
    """Run a keeper of sets whose lives have faults."""
    local = LocalProvisioner(LocalSettings(state_dir=state_dir))
    lives = Lives(table, state_dir, local)
    rollouts = Rollouts()
    async with (
        FaultyTable(table.database_url, "faulty-keeper", patience_seconds=30) as faulty,
        Listener(table.database_url, "faulty-listener") as listener,
    ):
        keeper = Keeper(
            table=faulty,
            listener=listener,
            provisioners={Provisioner.LOCAL: FaultyProvisioner(local, lives.by_name)},
            signaller=rollouts,
            workflows=rollouts,
            starter=rollouts,
            metrics=KeeperMetrics(CollectorRegistry()),
            holder="keeper",
            lease_times=LASTING_TIMES,
            times=SHORT_RESTS,
        )
        task = asyncio.create_task(keeper.run())
        try:
            # To print some hundred traces takes longer than all that lives.
            with capture_logs():
                yield lives
        finally:
            keeper.stop()
            await task


async def everyone_lives(lives: Lives, faulty: Mapping[str, Life]) -> None:
    """Let all these live, and make sure that each kind of call has failed which they have together."""
    await asyncio.gather(*(lives.live(name, life) for name, life in faulty.items()))
    # Not every life comes to each call: how often a table is read differs from life to life.
    assert {name for life in faulty.values() for name in life.struck} >= {*ASYNCHRONOUS}


@pytest.mark.timeout(3600)
async def test_a_fault_before_any_call_of_a_sets_life_ends_in_the_wanted_number_of_replicas(lives: Lives) -> None:
    plain = await lives.live("plain", Life())
    await everyone_lives(lives, {f"before-{n}": Life(before={call}) for n, call in enumerate(plain.numbered())})


@pytest.mark.timeout(3600)
async def test_a_fault_after_any_call_of_a_sets_life_ends_in_the_wanted_number_of_replicas(lives: Lives) -> None:
    plain = await lives.live("plain", Life())
    calls = [call for call in plain.numbered() if call[0] in ASYNCHRONOUS]
    await everyone_lives(lives, {f"after-{n}": Life(after={call}) for n, call in enumerate(calls)})


async def test_a_replica_that_nobody_could_look_after_for_a_moment_has_not_disturbed_its_sibling(
    lives: Lives,
) -> None:
    life = Life()
    lives.by_name["chat"] = life
    chat = Deploying(lives.table, "chat")
    await chat.open(revision_of(chat), replicas=2, max_replacements=1000)
    first, second = await chat.healthy(2)
    looks = life.calls.count("until_ended")
    # Its end is seen, and then not written down.
    life.before = frozenset({("stop", life.calls.count("stop") + 1)})

    lives.kill(first.id)

    await chat.ended(1)
    assert life.struck == ["stop"]
    assert second.id in {route.id for route in await chat.healthy(2)}
    # That of the one that took the place; the sibling's task goes on.
    assert life.calls.count("until_ended") == looks + 1


@pytest.mark.parametrize("channel", [ROUTES_CHANNEL, ACKS_CHANNEL, NEXT_CHANNEL])
async def test_a_notification_that_nobody_can_read_stops_nothing(
    table: Table,
    state_dir: Path,
    chat: Deploying,
    channel: str,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()) as running:
        await chat.open({"command": server()}, replicas=1, drain_timeout="0s", router_ack_timeout="50ms")
        for payload in ("{", "[]", "7", "{}", '{"deployment": 7}', '{"deployment": ["chat"]}', "chat"):
            await notify(table, channel, payload)
        await chat.healthy(1)
        await chat.switch()
        await chat.finish()
        await notify(table, channel, "null")
        await chat.scale(2)
        await chat.healthy(2)
        assert not running.task.done()


async def test_a_deployment_that_cannot_be_read_keeps_nobody_from_the_others(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    code = Deploying(table, "code")
    async with running_keeper(table, state_dir, Rollouts()) as running:
        await chat.open({"command": server()}, replicas=1)
        await chat.healthy(1)
        await spoil(table, chat, {"command": "of no shape that a revision has"})

        await code.open({"command": server()}, replicas=1)

        await code.healthy(1)
        await until(lambda: running.metric("celadon_keeper_faults_total", part="deployment") > 0)


async def test_replicas_of_a_deployment_that_cannot_be_read_are_nobodys_strays(
    table: Table,
    state_dir: Path,
    chat: Deploying,
) -> None:
    async with running_keeper(table, state_dir, Rollouts()):
        await chat.open({"command": server()}, replicas=1)
        [route] = await chat.healthy(1)
    content = await spoil(table, chat, {"command": "of no shape that a revision has"})
    code = Deploying(table, "code")
    async with running_keeper(table, state_dir, Rollouts()):
        await code.open({"command": server()}, replicas=1)
        await code.healthy(1)
        assert len(processes_of(route.id)) == 1

        await spoil(table, chat, content)

        [adopted] = await chat.healthy(1)
        assert adopted.id == route.id


async def spoil(table: Table, chat: Deploying, content: dict[str, object]) -> dict[str, object]:
    """Change what a deployment's only revision says; return what it said."""
    async with table.transaction() as tx:
        was: dict[str, object] = (
            await tx.scalars(select(RevisionRow.content).where(RevisionRow.deployment == chat.name))
        ).one()
        await tx.execute(update(RevisionRow).where(RevisionRow.deployment == chat.name).values(content=content))
        await tx.execute(update(Deployment).where(Deployment.name == chat.name).values(epoch=Deployment.epoch + 1))
    return was
