"""Every command of the units is started with the environment that they declare; a restart of the worker costs nothing.

systemd itself is not here: a unit's main process is what its ExecStart starts, and KillMode=process means that SIGTERM
goes to that process alone.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from celadon.provisioners.left_replicas import find_replicas
from celadon.provisioners.local import LocalProvisioner
from celadon.provisioners.settings import LocalSettings
from celadon.stack.probes import answers_ok
from celadon.stack.process import NotReadyError
from celadon.stack.router import ADMIN_URL
from celadon.table.core.engine import Table
from celadon.table.core.models import Route
from tests.deploy.files import DEPLOY, Unit, read_environment_file, read_unit, unit_files
from tests.deploy.placement import Placement
from tests.deploy.processes import DEADLINE_SECONDS, Started, output_of, start
from tests.stack.processes import is_running

pytestmark = [pytest.mark.parts, pytest.mark.timeout(300)]

MACHINE = "machine"
ADMIN = "/run/celadon-router/admin.sock"
ENROLMENT = re.findall(r"^as_celadon (.+)$", (DEPLOY / "README.md").read_text(), re.MULTILINE)
"""What the page says to run, with \"celadon\" and its user left out."""


class Machine:
    """A machine on which the units are installed."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.units = {path.stem.removeprefix("celadon-"): read_unit(path) for path in unit_files()}
        self.state_dir = placement.home(MACHINE)

    def environment(self, unit: Unit) -> dict[str, str]:
        """Return what systemd gives a unit: the variables of the file are stronger than its own.

        The user of replicas is not added to this machine for a test (tests/security has one without a name).
        """
        environment = self.placement.environment(MACHINE, unit.environment, read_environment_file())
        environment.pop("CELADON_REPLICA_USER", None)
        return environment

    async def start(self, name: str) -> Started:
        """Start a unit's main process."""
        unit = self.units[name]
        command = self.placement.command(MACHINE, unit.command)
        return await start(name, command, self.environment(unit), self.placement.directory)

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[Started]:
        """Run a unit until it answers a scrape; stop it at the end as systemd does, which must end well."""
        unit = self.units[name]
        variable = {"worker": "CELADON_METRICS_ADDRESS", "gateway": "CELADON_GATEWAY_METRICS_ADDRESS"}[name]
        started = await self.start(name)
        try:
            await _until_answers(f"http://{self.environment(unit)[variable]}/metrics", started)
            yield started
            assert await started.stop(unit.stop_time) == 0, started.told
        finally:
            if started.process.returncode is None:
                started.process.kill()
                await started.process.wait()

    @asynccontextmanager
    async def running_router(self) -> AsyncIterator[None]:
        """Run the router's unit until it is ready; stop it at the end, which must end well."""
        started = await self.start("router")
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not await _is_ready(Path(self.placement.text(MACHINE, ADMIN))):
                    assert started.process.returncode is None, started.told
                    await asyncio.sleep(0.1)
            yield
            assert await started.stop(self.units["router"].stop_time) == 0, started.told
        finally:
            if started.process.returncode is None:
                started.process.kill()
                await started.process.wait()

    async def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run a command of Celadon's with the environment of the units, on the worker's machine."""
        command = self.placement.command(MACHINE, ["/opt/celadon/bin/celadon", *arguments])
        placed = {name: self.placement.text(MACHINE, value) for name, value in variables.items()}
        return await output_of(command, self.environment(self.units["worker"]) | placed)

    async def enrol(self) -> None:
        """Run the commands of deploy/README.md that make keys and give gateway and router their certificates."""
        for line in ENROLMENT:
            code, told = await self.run(*line.split(), CELADON_AUTHORITY_DIR="/etc/celadon/authority")
            assert code == 0, told

    def replicas(self) -> set[int]:
        """Return the processes of replicas."""
        return {pid for one in find_replicas(self.state_dir).values() if one.has_files for pid in one.pids}


@pytest_asyncio.fixture(loop_scope="session")
async def machine(tmp_path: Path, empty_database_url: str, temporal_address: str) -> AsyncIterator[Machine]:
    """Install the units; end the replicas at the end, which outlive the worker."""
    shared = {"/etc/celadon": tmp_path / "etc", "/run/celadon-router": tmp_path}
    placement = Placement(tmp_path, empty_database_url, shared)
    placement.is_at(MACHINE, 7233, temporal_address)
    machine = Machine(placement)
    yield machine
    provisioner = LocalProvisioner(LocalSettings(state_dir=machine.state_dir))
    for route in await provisioner.remembered():
        await provisioner.end_stray(route)


async def _is_ready(admin: Path) -> bool:
    try:
        await answers_ok(f"{ADMIN_URL}/ready", admin)()
    except NotReadyError:
        return False
    return True


async def _until_answers(url: str, started: Started) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS), aiohttp.ClientSession() as session:
        while True:
            assert started.process.returncode is None, started.told
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def _count_routes(table: Table) -> int:
    """Count the replicas that have ever been, ended ones included."""
    async with table.transaction() as tx:
        return (await tx.execute(select(func.count()).select_from(Route))).scalar_one()


async def test_replicas_outlive_a_restart_of_the_worker(
    machine: Machine,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    upgrade = await machine.start("db-upgrade")
    assert await upgrade.until_ended(machine.units["worker"].stop_time) == 0, upgrade.told

    request = {
        "deployment": "chat",
        "replicas": 2,
        "revision": {
            "command": [sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"],
            "health_check": {"path": "/"},
        },
        "requested_by": "ann",
        "reason": "try it",
    }
    (tmp_path / "chat.json").write_text(json.dumps(request))
    assert len(ENROLMENT) == 3
    await machine.enrol()
    async with (
        machine.running("gateway"),
        machine.running_router(),
        Table(empty_database_url, "celadon-tests", pool_size=1) as table,
    ):
        async with machine.running("worker"):
            code, told = await machine.run("deploy", "-f", str(tmp_path / "chat.json"), "--wait")
            assert code == 0, told
            replicas = machine.replicas()
            assert len(replicas) == 2
        assert all(is_running(pid) for pid in replicas), "the worker has stopped, its replicas have not"

        async with machine.running("worker"):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (await machine.run("doctor"))[1].find("✔ keeper: at work") < 0:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.2)
            code, told = await machine.run("doctor", "--fix")
            assert "✔ replicas: none on this machine that nobody wants" in told
            assert machine.replicas() == replicas, "the next worker keeps the same ones"
            assert await _count_routes(table) == len(replicas)
            assert (code, told.count("✘")) == (0, 0), told
            assert "✔ router router: live" in told
