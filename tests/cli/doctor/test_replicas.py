"""Replicas of this machine that nobody wants: real processes, started as the worker starts them."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from temporalio.client import Client

from celadon.domain.language.contracts import TASK_QUEUE, WORKFLOW_TYPE
from celadon.domain.language.names import RouteId
from celadon.domain.language.revision import Provisioner, Revision
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.protocol import Place, Replica
from celadon.provisioners.replica_files import ReplicaFiles
from celadon.provisioners.settings import LocalSettings
from celadon.stack.ports import choose_ports
from tests.cli.doctor.conftest import Doctor, not_fine
from tests.stack.processes import is_running, until
from tests.table.rows import Opened, Rows

pytestmark = pytest.mark.parts


class Machine:
    """A machine that runs replicas."""

    def __init__(self, state_dir: Path, temporal: Client) -> None:
        self.temporal = temporal
        self.state_dir = state_dir
        self.local = LocalProvisioner(LocalSettings(state_dir=state_dir))
        self.files = ReplicaFiles(state_dir)
        self.started: list[RouteId] = []

    async def start(self, route: RouteId) -> int:
        """Start a replica; return its process id."""
        revision = Revision(provisioner=Provisioner.LOCAL, command=("sleep", "600"))
        place = Place("127.0.0.1", choose_ports(("http",), {}))
        self.started.append(route)
        await self.local.start(Replica(route, place, revision))
        claim = self.files.claim(route)
        assert claim is not None
        assert claim.pid is not None
        return claim.pid


@pytest_asyncio.fixture(loop_scope="session")
async def machine(tmp_path: Path, temporal: Client, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    """Return this machine, with a state directory of its own that doctor is told of."""
    monkeypatch.setenv("CELADON_STATE_DIR", str(tmp_path / "state"))
    machine = Machine(tmp_path / "state", temporal)
    yield machine
    for route in machine.started:
        await machine.local.end_stray(route)


@asynccontextmanager
async def _replica(well: Rows, machine: Machine) -> AsyncIterator[tuple[Opened, RouteId, int]]:
    """Start a replica of a rollout that is under way."""
    handle = await machine.temporal.start_workflow(WORKFLOW_TYPE, id="rollout-chat", task_queue=TASK_QUEUE)
    try:
        opened = await well.open(handle.result_run_id or "")
        route = await well.add(opened)
        yield opened, route, await machine.start(route)
    finally:
        await handle.terminate()


async def test_a_replica_whose_route_has_ended_is_ended_and_forgotten(
    doctor: Doctor,
    well: Rows,
    machine: Machine,
) -> None:
    async with _replica(well, machine) as (opened, route, pid):
        await well.end(opened, route)
        check = f"replica {route}"

        _, found = await doctor()
        assert not_fine(found) == {check: "wrong"}
        assert str(pid) in found[check]["told"]
        assert is_running(pid)

        code, mended = await doctor("--fix")
        assert (code, not_fine(mended)) == (0, {check: "mended"})
        assert mended[check]["done"] == f"ended process {pid}"
        assert not is_running(pid)
        assert machine.files.remembered() == frozenset()

        code, again = await doctor()
        assert (code, not_fine(again)) == (0, {})


async def test_a_replica_that_is_wanted_is_left_alone(doctor: Doctor, well: Rows, machine: Machine) -> None:
    async with _replica(well, machine) as (_, _, pid):
        _, findings = await doctor("--fix")

        assert not_fine(findings) == {}
        assert is_running(pid)


async def test_files_without_a_process_are_removed(doctor: Doctor, well: Rows, machine: Machine) -> None:
    async with _replica(well, machine) as (opened, route, pid):
        psutil.Process(pid).kill()
        await until(lambda: not is_running(pid))
        await well.end(opened, route)

        _, found = await doctor()
        code, mended = await doctor("--fix")

        assert found[f"replica {route}"]["told"].startswith("left files")
        assert (code, mended[f"replica {route}"]["done"]) == (0, "removed its files")
        assert machine.files.remembered() == frozenset()
        assert (await doctor())[0] == 0


async def test_without_its_files_a_process_is_known_by_its_route_id(
    doctor: Doctor,
    well: Rows,
    machine: Machine,
) -> None:
    async with _replica(well, machine) as (opened, route, pid):
        await well.end(opened, route)
        for file in machine.state_dir.iterdir():
            file.unlink()

        code, mended = await doctor("--fix")

        assert (code, mended[f"replica {route}"]["done"]) == (0, f"ended process {pid}")
        assert not is_running(pid)
        assert (await doctor())[0] == 0


async def test_a_route_that_the_table_does_not_know_is_a_persons_to_judge(
    doctor: Doctor,
    well: Rows,
    machine: Machine,
) -> None:
    """The state directory may be another Celadon's, whose replicas are none of this table's business."""
    del well
    route = RouteId(str(uuid.uuid4()))
    pid = await machine.start(route)

    code, findings = await doctor("--fix")

    assert (code, not_fine(findings)) == (1, {f"replica {route}": "wrong"})
    assert "another Celadon" in findings[f"replica {route}"]["why"]
    assert is_running(pid)


async def test_a_replica_of_another_state_directory_and_table_is_none_of_ours(
    doctor: Doctor,
    well: Rows,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del well
    pid = await machine.start(RouteId(str(uuid.uuid4())))
    monkeypatch.setenv("CELADON_STATE_DIR", str(tmp_path / "other"))

    code, findings = await doctor("--fix")

    assert (code, not_fine(findings)) == (0, {})
    assert is_running(pid)
    assert not (tmp_path / "other").exists()


async def test_another_process_with_the_claimed_id_is_left_alone(doctor: Doctor, well: Rows, machine: Machine) -> None:
    """Ids are used again: a claim names a process by its start time and boot too."""
    async with _replica(well, machine) as (opened, route, pid):
        await well.end(opened, route)
        claimed, _, boot = (machine.state_dir / f"{route}.claim").read_text().split("\n")
        own = psutil.Process()
        (machine.state_dir / f"{route}.claim").write_text(f"{own.pid}\n1\n{boot}")
        assert claimed == str(pid)

        code, mended = await doctor("--fix")

        assert own.is_running()
        assert str(own.pid) not in mended[f"replica {route}"]["done"].split()
        assert (code, is_running(pid)) == (0, False)
