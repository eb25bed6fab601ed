"""The bad minutes of a deployment that is live: replicas die or fail their probes, and people go back to blue."""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path

import aiohttp
import pytest

from celadon.domain.language.commands import AbortCommand, AbortState, PromoteCommand
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.stack.addresses import StackAddresses
from celadon.table.read.overview import view_deployment
from celadon.table.records.deployments import DeploymentView, SetView
from tests.end_to_end.conftest import LiveDeployment, replica_processes, run_json, until
from tests.end_to_end.ledger_server import count_begun, ledger_revision, unended
from tests.end_to_end.long_request import LONG, running_request
from tests.end_to_end.numbered_load import NumberedLoad, Sent, under_numbered_load
from tests.router_answers import DISCONNECTED

pytestmark = [pytest.mark.stack, pytest.mark.shared]

PER_SECOND = 50.0
NOTICED_SECONDS = 5.0
"""How much later than the kernel a router on a busy machine learns that a connection is closed."""


def url_of(deployment: LiveDeployment) -> str:
    """Return where the router serves a deployment."""
    return f"{deployment.addresses.router}/{deployment.name}/work"


async def view(deployment: LiveDeployment) -> DeploymentView:
    """Return a deployment as the table has it."""
    async with deployment.table.transaction() as tx:
        found = await view_deployment(tx, deployment.name)
    assert found is not None
    return found


async def set_of(deployment: LiveDeployment, revision: int) -> SetView:
    """Return the newest set of a revision."""
    return next(one for one in reversed((await view(deployment)).sets) if one.revision == revision)


async def is_full(deployment: LiveDeployment, revision: int, without: frozenset[str] = frozenset()) -> bool:
    """Whether a set has all its replicas healthy, none of which is one of ``without``."""
    found = await set_of(deployment, revision)
    return found.healthy == found.wanted and not without & {one.route for one in found.replicas}


def kill(routes: list[str]) -> list[int]:
    """Kill replicas; return their processes."""
    processes = [pid for route in routes for pid in replica_processes(route)]
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    return processes


async def until_refused(port: int) -> float:
    """Wait until the kernel has closed a dead process's port; return the moment."""

    async def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    await until(refused, f"port {port} is closed")
    return time.monotonic()


async def until_sent(load: NumberedLoad, more: int) -> None:
    """Wait until so many more requests have been sent and answered."""
    wanted = len(load.sent) + more

    async def enough() -> bool:
        return len(load.sent) >= wanted

    await until(enough, f"{more} more requests are answered")


def lost_elsewhere(load: NumberedLoad, begun: set[int], closed_at: float) -> list[Sent]:
    """Return the failed requests that a killed replica did not take with it.

    It took what it had begun, and what it had been sent and had not read yet when the kernel closed its connections:
    a router cannot tell the two apart, and sends no POST twice that may have begun.
    """
    return [
        one
        for one in load.failed
        if one.number not in begun and (one.at > closed_at + NOTICED_SECONDS or DISCONNECTED not in one.answer)
    ]


@asynccontextmanager
async def paused(addresses: StackAddresses, child: str) -> AsyncIterator[None]:
    """Stop a child of the stack without ending it."""
    pid = StackAddresses.of_running(addresses.data_dir).children[child]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "keeper",
    ["awake", pytest.param("asleep", marks=pytest.mark.exclusive)],
)
async def test_only_what_ran_on_a_killed_live_replica_is_lost(
    deployment: LiveDeployment,
    tmp_path: Path,
    keeper: str,
) -> None:
    """Asleep, the keeper takes the dead one out late: until then routers have to find the others by themselves."""
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    (victim, *_) = (await set_of(deployment, 1)).replicas
    async with under_numbered_load([url_of(deployment)], per_second=200.0, work_seconds=0.1) as load:
        await until_sent(load, 200)
        if keeper == "asleep":
            async with paused(deployment.addresses, "worker"):
                (pid,) = kill([victim.route])
                closed_at = await until_refused(victim.port)
                await until_sent(load, 300)
        else:
            (pid,) = kill([victim.route])
            closed_at = await until_refused(victim.port)
        await until(lambda: is_full(deployment, 1, frozenset({victim.route})), "the dead one is replaced")
        await until_sent(load, 200)

    assert lost_elsewhere(load, unended(tmp_path, pid), closed_at) == []


async def test_a_replacement_gets_no_live_traffic_before_it_is_ready(
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    await deployment.serve("r1", replicas=2, revision=ledger_revision(tmp_path, "r1", loads_seconds=2.0))
    (victim, _) = (await set_of(deployment, 1)).replicas
    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load:
        await until_sent(load, 50)
        (pid,) = kill([victim.route])
        closed_at = await until_refused(victim.port)
        await until(lambda: is_full(deployment, 1, frozenset({victim.route})), "the dead one is replaced")
        replacement = (await set_of(deployment, 1)).replicas[-1]
        begun = count_begun(tmp_path, replacement.port)

        async def serves() -> bool:
            return count_begun(tmp_path, replacement.port) > begun

        await until(serves, "the replacement takes requests")

    assert lost_elsewhere(load, unended(tmp_path, pid), closed_at) == []


async def test_sick_live_members_leave_and_come_back_and_never_black_the_deployment_out(
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    await deployment.serve("r1", replicas=4, revision=ledger_revision(tmp_path, "r1"))
    ports = [one.port for one in (await set_of(deployment, 1)).replicas]

    async def healthy(number: int) -> bool:
        return (await set_of(deployment, 1)).healthy == number

    async def until_served_by(load: NumberedLoad, *serving: int) -> None:
        """Wait until these replicas get all requests: the router hears of a change a little after the table."""

        async def served() -> bool:
            before = {port: count_begun(tmp_path, port) for port in ports}
            await until_sent(load, 60)
            return {port for port in ports if count_begun(tmp_path, port) > before[port]} == set(serving)

        await until(served, f"{serving} serve and no other")

    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load:
        await until_sent(load, 20)
        for port in ports[:2]:
            (tmp_path / f"sick-{port}").touch()
        await until(lambda: healthy(2), "two are sick")
        await until_served_by(load, *ports[2:])
        assert not (await view(deployment)).panic

        (tmp_path / f"sick-{ports[2]}").touch()
        await until(lambda: healthy(1), "three are sick")
        await until_served_by(load, *ports)
        await until(lambda: has_told(deployment, "celadon_panic"), "panic is in the audit log")
        status = await run_json(deployment.addresses, "celadon", "rollout", "status", deployment.name, "-o", "json")
        assert status["deployment"]["panic"]
        assert await metric(deployment, f'celadon_panic{{deployment="{deployment.name}"}}') == "1.0"

        for port in ports[:3]:
            (tmp_path / f"sick-{port}").unlink()
        await until(lambda: healthy(4), "all are well")
        await until_served_by(load, *ports)
        await until(lambda: has_told(deployment, "celadon_panic_over"), "the end of panic is in the audit log")

    assert load.failed == []


async def test_a_blue_replica_that_dies_while_it_bakes_is_replaced_so_that_going_back_has_its_capacity(
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    (victim, _) = (await set_of(deployment, 1)).replicas
    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load:
        await deployment.wait_for_promotion("r2", revision=ledger_revision(tmp_path, "r2"))
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        promoted_at = time.monotonic()
        kill([victim.route])
        await until(lambda: is_full(deployment, 1, frozenset({victim.route})), "blue is full again")

        before = (await view(deployment)).epoch
        answer = await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
        switched_back_at = time.monotonic()
        ended = await deployment.ended()
        await until_sent(load, 30)

    assert answer.epoch is not None
    assert answer.epoch > before  # an edge of the replacement's health may have raised it meanwhile
    assert answer.silent == ()
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ROLLED_BACK
    # What was sent before the routers had switched may still have run on the replica that was killed.
    assert [one for one in load.failed if one.at > promoted_at] == []
    assert {one.answer for one in load.sent if one.at > switched_back_at} == {"r1"}


async def test_traffic_goes_back_to_what_is_left_of_a_blue_that_drains_and_blue_is_refilled(
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    await deployment.serve("r1", revision=ledger_revision(tmp_path, "r1"))
    async with (
        under_numbered_load([url_of(deployment)], per_second=PER_SECOND) as load,
        running_request(url_of(deployment), tmp_path),
    ):
        await deployment.wait_for_promotion("r2", revision=ledger_revision(tmp_path, "r2"), bake="0s")
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        await deployment.phase(RolloutPhase.DRAINING)
        idle = await idle_replica(deployment, tmp_path)
        kill([idle])
        await until(lambda: has_replicas(deployment, 1, 1), "one replica of blue is left")

        answer = await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
        switched_back_at = time.monotonic()
        await until(lambda: is_full(deployment, 1), "blue is full again")
        ended = await deployment.ended()
        await until_sent(load, 30)

    assert answer.outcome is RolloutOutcome.ROLLED_BACK
    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ROLLED_BACK
    assert load.failed == []
    assert {one.answer for one in load.sent if one.at > switched_back_at} == {"r1"}


async def test_a_blue_that_sickens_while_it_drains_is_drained_although_somebody_wants_it_back(
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    await deployment.serve("r1", replicas=1, revision=ledger_revision(tmp_path, "r1"))
    async with running_request(url_of(deployment), tmp_path) as running, running_request(url_of(deployment), tmp_path):
        green = ledger_revision(tmp_path, "r2")
        await deployment.wait_for_promotion("r2", replicas=1, revision=green, bake="0s", drain_timeout="20s")
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        await deployment.phase(RolloutPhase.DRAINING)
        for replica in (await set_of(deployment, 1)).replicas:
            (tmp_path / f"sick-{replica.port}").touch()
        await until(lambda: has_healthy(deployment, 1, 0), "blue is sick")

        answer = await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
        await deployment.handle.cancel()
        ended = await deployment.ended()
        assert running.done()

    assert answer.state is AbortState.RECORDED
    assert ended.status == "cancelled"
    assert await deployment.outcomes() == ["promoted", "promoted"]
    found = await view(deployment)
    assert found.rollout is not None
    assert found.rollout.requests_cut == 2


class Green(Enum):
    """How green is when somebody aborts."""

    HEALTHY = auto()
    SICK = auto()
    DEAD = auto()


AFTER_THE_SWITCH = (RolloutPhase.BAKING, RolloutPhase.DRAINING)


@pytest.mark.parametrize("green", [Green.SICK, Green.DEAD], ids=lambda green: green.name.lower())
async def test_an_abort_before_green_was_ever_healthy(
    deployment: LiveDeployment,
    tmp_path: Path,
    green: Green,
) -> None:
    await deployment.serve("r1", replicas=1, revision=ledger_revision(tmp_path, "r1"))
    await break_green(deployment, tmp_path, green)
    await deployment.start("r2", replicas=1, revision=ledger_revision(tmp_path, "r2"), max_replacements=50)
    phase = RolloutPhase.VERIFYING if green is Green.SICK else RolloutPhase.PROVISIONING
    await deployment.phase(phase)

    await abort_and_expect(deployment, RolloutOutcome.ABORTED)


@pytest.mark.parametrize("green", Green, ids=lambda green: green.name.lower())
async def test_an_abort_when_green_awaits_its_promotion(
    deployment: LiveDeployment,
    tmp_path: Path,
    green: Green,
) -> None:
    await deployment.serve("r1", replicas=1, revision=ledger_revision(tmp_path, "r1"))
    revision = ledger_revision(tmp_path, "r2")
    await deployment.wait_for_promotion("r2", replicas=1, revision=revision, max_replacements=50)
    await break_green(deployment, tmp_path, green)

    await abort_and_expect(deployment, RolloutOutcome.ABORTED)


@pytest.mark.parametrize("phase", AFTER_THE_SWITCH)
@pytest.mark.parametrize("green", Green, ids=lambda green: green.name.lower())
async def test_an_abort_after_the_switch(
    deployment: LiveDeployment,
    tmp_path: Path,
    green: Green,
    phase: RolloutPhase,
) -> None:
    await deployment.serve("r1", replicas=1, revision=ledger_revision(tmp_path, "r1"))
    bake = "20m" if phase is RolloutPhase.BAKING else "0s"
    async with running_request(url_of(deployment), tmp_path):
        revision = ledger_revision(tmp_path, "r2")
        await deployment.wait_for_promotion("r2", replicas=1, revision=revision, bake=bake)
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        await deployment.phase(phase)
        await break_green(deployment, tmp_path, green)

        await abort_and_expect(deployment, RolloutOutcome.ROLLED_BACK)


async def break_green(deployment: LiveDeployment, directory: Path, how: Green) -> None:
    """Make green sick or dead, now and whenever it starts, and wait until the table knows."""
    match how:
        case Green.HEALTHY:
            return
        case Green.SICK:
            (directory / "sick-r2").touch()
        case Green.DEAD:
            (directory / "dead-r2").touch()
    found = [one for one in (await view(deployment)).sets if one.revision == 2]
    if not found:
        return
    if how is Green.DEAD:
        kill([one.route for one in found[-1].replicas])
    await until(lambda: has_healthy(deployment, 2, 0), "green is broken")


async def abort_and_expect(deployment: LiveDeployment, outcome: RolloutOutcome) -> None:
    """Abort, and check that blue serves from the answer on and that nothing is left of green."""
    answer = await deployment.rollouts.abort(deployment.name, AbortCommand(by="ann", reason="it is bad"))
    assert answer.outcome is outcome
    async with under_numbered_load([url_of(deployment)], per_second=PER_SECOND, work_seconds=0) as load:
        ended = await deployment.ended()
        await until_sent(load, 20)
    assert ended.result is not None
    assert ended.result.outcome is outcome
    assert load.failed == []
    assert set(load.answers) == {"r1"}
    await until(lambda: is_alone(deployment, 1), "nothing is left of green")


async def idle_replica(deployment: LiveDeployment, directory: Path) -> str:
    """Return the replica of blue on which no long request runs, once no other runs there either."""
    (idle,) = [
        replica.route
        for replica in (await set_of(deployment, 1)).replicas
        if not any(LONG in unended(directory, pid) for pid in replica_processes(replica.route))
    ]

    async def ended() -> bool:
        return not any(unended(directory, pid) for pid in replica_processes(idle))

    await until(ended, "the last requests from before the switch have ended")
    return idle


async def has_replicas(deployment: LiveDeployment, revision: int, number: int) -> bool:
    """Whether a set has so many replicas that have not ended."""
    return len((await set_of(deployment, revision)).replicas) == number


async def has_healthy(deployment: LiveDeployment, revision: int, number: int) -> bool:
    """Whether a set has so many healthy replicas."""
    return (await set_of(deployment, revision)).healthy == number


async def is_alone(deployment: LiveDeployment, revision: int) -> bool:
    """Whether no replica of another revision is left."""
    return all(one.revision == revision or not one.replicas for one in (await view(deployment)).sets)


async def has_told(deployment: LiveDeployment, kind: str) -> bool:
    """Whether the newest event in the audit log of a deployment is of a kind."""
    return (await view(deployment)).events[0].kind == kind


async def metric(deployment: LiveDeployment, name: str) -> str:
    """Return a metric of the gateway."""
    async with aiohttp.ClientSession() as session, session.get(deployment.addresses.gateway_metrics) as answer:
        (line,) = [one for one in (await answer.text()).splitlines() if one.startswith(name)]
    return line.rpartition(" ")[2]
