"""Every command of the image and the compose file is started, in the order and under the conditions that they declare.

Containers are processes here, with the environment that is declared and no other; names of services and addresses are
loopback ports; Postgres is the one of the wheel. What only an engine can show, the image's build and its isolation, is
checked by reading alone.
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from celadon.stack.ports import choose_ports
from celadon.table.core.schema_revision import current_revision, newest_revision
from tests.deploy.files import Image, Service, read_image, read_services
from tests.deploy.placement import Placement
from tests.deploy.processes import Started, output_of, start

pytestmark = [pytest.mark.parts, pytest.mark.timeout(300)]


@dataclass
class Composition:
    """The compose file, brought up on this machine."""

    placement: Placement
    image: Image = field(default_factory=read_image)
    services: Mapping[str, Service] = field(default_factory=read_services)
    containers: dict[str, Started] = field(default_factory=dict)
    """Those that run on, in the order in which they became ready."""

    async def up(self) -> None:
        """Start every service of ours once those that it waits for are as it wants them."""
        waiting = {name: one for name, one in self.services.items() if one.is_ours}
        ready = set(self.services) - set(waiting)
        while waiting:
            next_ones = [name for name, one in waiting.items() if set(one.conditions) <= ready]
            assert next_ones, f"these wait for one another: {', '.join(waiting)}"
            for name in next_ones:
                await self._start(waiting.pop(name))
                ready.add(name)

    async def _start(self, service: Service) -> None:
        names = (
            [service.name] if service.replicas == 1 else [f"{service.name}-{n + 1}" for n in range(service.replicas)]
        )
        for name in names:
            started = await start(
                name,
                self.placement.command(name, service.command(self.image)),
                self.placement.environment(name, self.image.environment, service.environment),
                self.placement.home(name),
            )
            check = service.health_check(self.image)
            if check is None:
                assert await started.until_ended(service.stop_time * 3) == 0, started.told
            else:
                self.containers[name] = started
                await started.until_healthy(self.placement.command(name, check))

    async def down(self) -> dict[str, int]:
        """Stop every container within its stop time, the last one first; return their exit codes."""
        codes = {}
        for name in reversed(list(self.containers)):
            started = self.containers.pop(name)
            codes[name] = await started.stop(self.services[name.partition("-")[0]].stop_time)
        return codes

    async def run(self, container: str, *arguments: str) -> tuple[int, str]:
        """Run a command in a container, as ``docker compose exec`` does."""
        command = self.placement.command(container, ["celadon"]) + list(arguments)
        return await output_of(command, self.containers[container].environment)


@pytest_asyncio.fixture(loop_scope="session")
async def composition(tmp_path: Path, empty_database_url: str) -> AsyncIterator[Composition]:
    """Bring everything up, and down at the end if the test has not."""
    shared = {"/etc/celadon": tmp_path / "etc", "/tmp/admin.sock": tmp_path / "admin.sock"}  # noqa: S108 - a container's
    placement = Placement(tmp_path, empty_database_url, shared)
    composition = Composition(placement)
    try:
        await composition.up()
        yield composition
    finally:
        for one in composition.containers.values():
            if one.process.returncode is None:
                one.process.kill()
                await one.process.wait()


async def test_it_comes_up_serves_is_found_well_and_goes_down(
    composition: Composition,
    empty_database_url: str,
    tmp_path: Path,
) -> None:
    assert await current_revision(empty_database_url) == newest_revision()
    assert list(composition.containers) == ["temporal", "worker-1", "worker-2", "gateway", "api", "router"]

    port = choose_ports(("model",), {})["model"]
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "chat").write_text("hello")
    model = await start(
        "model",
        [*composition.placement.command("model", ["python", "-m", "http.server", "--bind", "127.0.0.1"]), str(port)],
        composition.placement.environment("model"),
        tmp_path / "served",
    )
    request = {
        "deployment": "chat",
        "replicas": 1,
        "revision": {"provisioner": "static", "endpoints": [f"127.0.0.1:{port}"], "health_check": {"path": "/"}},
        "requested_by": "ann",
        "reason": "try it",
    }
    (tmp_path / "chat.json").write_text(json.dumps(request))
    try:
        code, told = await composition.run("api", "deploy", "-f", str(tmp_path / "chat.json"), "--wait")
        assert code == 0, told
        live = f"http://127.0.0.1:{composition.placement.port('gateway', 8000)}"
        async with aiohttp.ClientSession() as session, session.get(f"{live}/chat/chat") as answer:
            assert (answer.status, await answer.text()) == (200, "hello")
        code, told = await composition.run("worker-1", "doctor")
        assert code == 0, told
        assert "✘" not in told
        told_by_all = {name: one.told for name, one in composition.containers.items()}
        codes = await composition.down()
    finally:
        model.process.kill()
        await model.process.wait()

    assert set(codes.values()) == {0}, {name: told_by_all[name] for name, code in codes.items() if code}
