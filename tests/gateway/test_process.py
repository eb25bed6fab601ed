"""The gateway as a process: real Postgres on one side, real Envoy on the other."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from aiohttp import ClientSession
from sqlalchemy import delete, select, text, update
from sqlalchemy.engine import make_url

from celadon.domain.decisions.hosts import ClaimableHosts, HostRules
from celadon.domain.language.states import Channel, DeploymentLifecycle
from celadon.domain.language.traffic import Traffic
from celadon.gateway.addresses import UnixAddress
from celadon.gateway.feed import POLL_SECONDS
from celadon.gateway.process import run_gateway
from celadon.gateway.settings import GatewaySettings
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.epoch import raise_epoch
from celadon.table.core.migrate import upgrade
from celadon.table.core.models import Deployment, RouterAck
from celadon.table.rollouts.hosts import set_hosts
from celadon.table.rollouts.traffic import set_traffic
from tests.conftest import PATIENCE_SECONDS
from tests.gateway.conftest import free_port, free_socket
from tests.gateway.replica import Replica
from tests.gateway.router import DEADLINE_SECONDS, Router, running_router, until
from tests.gateway.rows import acknowledged, add_deployment, add_set, enrol, load_row, make_live, router_row
from tests.gateway.test_limits import Streams
from tests.gateway.traffic import loopback

pytestmark = pytest.mark.parts

_numbers = count(1)


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database(postgres_url: str) -> str:
    """Return the address of a new database without tables."""
    url = make_url(postgres_url)
    name = f"gateway_{next(_numbers)}"
    connection = await asyncpg.connect(
        host=str(url.query["host"]),
        port=int(str(url.query["port"])),
        user=url.username,
        database=url.database,
    )
    try:
        await connection.execute(f"create database {name}")
    finally:
        await connection.close()
    return url.set(database=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(loop_scope="session")
async def table(empty_database: str) -> AsyncIterator[Table]:
    """Return a new table."""
    await upgrade(empty_database)
    async with Table(empty_database, "celadon-test", patience_seconds=PATIENCE_SECONDS) as made:
        await enrol(made, "router")
        yield made


@pytest.fixture
def settings(empty_database: str) -> GatewaySettings:
    """Return settings with free ports."""
    return GatewaySettings(
        database_url=empty_database,
        gateway_address=free_socket(),
        gateway_metrics_address=loopback(free_port()),
        router_address=loopback(free_port()),
        preview_router_address=loopback(free_port()),
    )


@asynccontextmanager
async def running_gateway(settings: GatewaySettings, poll_seconds: float = POLL_SECONDS) -> AsyncIterator[None]:
    """Run the gateway until the block ends; what it raises fails the test."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run_gateway(settings, poll_seconds))
        yield
        task.cancel()


@asynccontextmanager
async def router_of(settings: GatewaySettings, directory: Path) -> AsyncIterator[Router]:
    """Run a router of the gateway that runs, or will run, with these settings."""
    assert settings.preview_router_address is not None
    async with running_router(
        directory,
        settings.gateway_address,
        settings.router_address.port,
        settings.preview_router_address.port,
    ) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def router(settings: GatewaySettings, tmp_path: Path) -> AsyncIterator[Router]:
    """Run a router before its gateway."""
    async with router_of(settings, tmp_path) as made:
        yield made


async def serves(table: Table, deployment: str, epoch: int) -> bool:
    """Whether the router has acknowledged an epoch by the table."""
    return await acknowledged(table, deployment) >= epoch


async def is_listening(settings: GatewaySettings) -> bool:
    """Whether the gateway listens on its socket."""
    assert isinstance(settings.gateway_address, UnixAddress)
    try:
        _, writer = await asyncio.open_unix_connection(settings.gateway_address.path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    return True


async def test_a_switch_in_the_table_is_acknowledged_in_the_table(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    live = await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
        await until(router.listens)
        assert (await router.ask()).json["colour"] == "blue"
        async with table.transaction() as tx:
            opened = await add_set(tx, "chat", green.port)
        epoch = await make_live(table, "chat", opened, drain=live)
        await until(lambda: serves(table, "chat", epoch))
        assert (await router.ask()).json["colour"] == "green"


async def test_hosts_in_the_table_lead_to_their_deployment_and_move_with_it(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    rules = HostRules(ClaimableHosts(listed=("*.example.com",)))

    async def give(deployment: str, *hosts: str) -> None:
        async with table.transaction() as tx:
            await set_hosts(tx, deployment, hosts, Author(by="ann", door=Channel.CLI), rules)
            epoch = await tx.scalar(select(Deployment.epoch).where(Deployment.name == deployment))
        assert epoch is not None
        await until(lambda: serves(table, deployment, epoch))

    await add_deployment(table, "chat", blue.port)
    await add_deployment(table, "code", green.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "code", 1))
        await until(router.listens)
        await give("chat", "llm.example.com")
        assert (await router.ask(host="LLM.example.com:8000")).json["colour"] == "blue"
        await give("chat")
        assert (await router.ask(host="llm.example.com")).status == 404
        await give("code", "llm.example.com")
        assert (await router.ask(host="llm.example.com")).json["colour"] == "green"


async def test_settings_in_the_table_count_at_once_and_after_a_restart_of_gateway_and_router(
    table: Table,
    settings: GatewaySettings,
    tmp_path: Path,
    blue: Replica,
    green: Replica,
) -> None:
    async def give(deployment: str, **written: object) -> None:
        wanted = Traffic.model_validate(written)
        async with table.transaction() as tx:
            await set_traffic(tx, deployment, wanted, (), Author(by="ann", door=Channel.CLI))
            epoch = await tx.scalar(select(Deployment.epoch).where(Deployment.name == deployment))
        assert epoch is not None
        await until(lambda: serves(table, deployment, epoch))

    async def keep(router: Router) -> None:
        """Show that chat has its limits, and code has none."""
        await until(router.listens)
        streams = Streams(router)
        await streams.open(2)
        await until(lambda: blue.running == 2)
        assert (await router.ask()).status == 503
        assert (await router.ask(host="code", method="POST", body=b"x" * 2048)).json["colour"] == "green"
        blue.finish.set()
        assert await streams.ends() == [(200, "data: [DONE]")] * 2
        blue.finish.clear()
        assert (await router.ask(method="POST", body=b"x" * 1025)).status == 413

    await add_deployment(table, "chat", blue.port)
    await add_deployment(table, "code", green.port)
    async with router_of(settings, tmp_path) as router:
        async with running_gateway(settings):
            await until(lambda: serves(table, "chat", 1))
            await give("chat", max_requests=2, max_body="1KiB")
            await keep(router)
        await keep(router)
        async with table.transaction() as tx:
            await tx.execute(delete(RouterAck))
        async with running_gateway(settings):
            await until(lambda: serves(table, "chat", 2))
            await keep(router)
            router.process.kill()
            await router.process.wait()
            async with router_of(settings, tmp_path) as again:
                await keep(again)


async def test_running_requests_of_a_draining_set_are_in_the_table(
    table: Table,
    settings: GatewaySettings,
    tmp_path: Path,
    blue: Replica,
    green: Replica,
) -> None:
    live = await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings), AsyncExitStack() as stack:
        await until(lambda: is_listening(settings))
        router = await stack.enter_async_context(router_of(settings, tmp_path))
        await until(lambda: serves(table, "chat", 1))
        await until(router.listens)
        stream = asyncio.create_task(router.stream())
        await until(lambda: blue.running == 1)
        async with table.transaction() as tx:
            opened = await add_set(tx, "chat", green.port)
        await make_live(table, "chat", opened, drain=live)

        async def reports(running: int, zeros: int) -> bool:
            row = await load_row(table, live)
            return row is not None and row.running == running and row.zero_reports >= zeros

        await until(lambda: reports(1, 0))
        blue.finish.set()
        assert (await stream).endswith("[DONE]\n\n")
        await until(lambda: reports(0, 2))
        assert await load_row(table, opened) is None


async def test_a_refusal_is_in_the_table_until_it_ends(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    live = await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
        async with table.transaction() as tx:
            bad = await add_set(tx, "chat", 80, host="not-an-ip-address")
        refused = await make_live(table, "chat", bad, drain=live)

        async def is_refused() -> bool:
            row = await router_row(table)
            return row is not None and "not-an-ip-address" in row.nack

        await until(is_refused)
        assert not await serves(table, "chat", refused)
        await add_deployment(table, "other", green.port)
        await until(lambda: serves(table, "other", 1))
        assert await is_refused()
        async with table.transaction() as tx:
            await tx.execute(text("update routes set host = '127.0.0.1'"))
            epoch = await raise_epoch(tx, "chat")
        await until(lambda: serves(table, "chat", epoch))
        assert not await is_refused()
    assert router.process.returncode is None


async def test_nothing_is_answered_before_the_table_is_loaded(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
) -> None:
    await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
        await until(router.listens)
    async with table.transaction() as tx:
        await tx.execute(text("alter table route_sets rename to hidden"))
        await tx.execute(delete(RouterAck))
    async with running_gateway(settings):
        for _ in range(20):
            assert (await router.ask()).status == 200
            assert not await is_listening(settings)
            await asyncio.sleep(0.05)
        async with table.transaction() as tx:
            await tx.execute(text("alter table hidden rename to route_sets"))
        await until(lambda: serves(table, "chat", 1))
        assert (await router.ask()).status == 200


async def test_the_gateway_waits_for_a_table_that_is_not_there_yet(
    empty_database: str,
    settings: GatewaySettings,
) -> None:
    async with running_gateway(settings):
        await asyncio.sleep(0.2)
        assert not await is_listening(settings)
        await upgrade(empty_database)
        await until(lambda: is_listening(settings))


async def test_a_router_that_comes_back_after_a_restart_acknowledges_again(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
) -> None:
    await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
    first = await router_row(table)
    async with table.transaction() as tx:
        await tx.execute(delete(RouterAck))
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
    second = await router_row(table)
    assert first is not None
    assert second is not None
    assert first.stream_started_at is not None
    assert second.stream_started_at is not None
    assert second.stream_started_at > first.stream_started_at
    assert router.process.returncode is None


async def test_a_change_whose_notification_was_lost_is_found(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    live = await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings, poll_seconds=0.2):
        await until(lambda: serves(table, "chat", 1))
        async with table.transaction() as tx:
            opened = await add_set(tx, "chat", green.port)
        epoch = await make_live(table, "chat", opened, drain=live, notify=False)
        await until(lambda: serves(table, "chat", epoch))
    assert router.process.returncode is None


async def test_a_router_is_told_nothing_older_than_what_it_may_have_acknowledged_elsewhere(
    table: Table,
    settings: GatewaySettings,
    blue: Replica,
    green: Replica,
    tmp_path: Path,
) -> None:
    """This gateway has not heard of a change when a router comes that served it through another gateway."""
    live = await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings, poll_seconds=3600.0):
        await until(lambda: is_listening(settings))
        async with table.transaction() as tx:
            opened = await add_set(tx, "chat", green.port)
        epoch = await make_live(table, "chat", opened, drain=live, notify=False)
        async with router_of(settings, tmp_path) as router:
            await until(lambda: serves(table, "chat", epoch))
            await until(router.listens)
            assert (await router.ask()).json["colour"] == "green"


async def test_a_new_router_is_told_what_is_known_while_postgres_is_away(
    table: Table,
    settings: GatewaySettings,
    blue: Replica,
    tmp_path: Path,
) -> None:
    await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: is_listening(settings))
        async with table.transaction() as tx:
            await tx.execute(text("alter table deployments rename to hidden"))
        async with router_of(settings, tmp_path) as router:
            await until(router.listens)
            assert (await router.ask()).json["colour"] == "blue"


async def test_a_change_while_postgres_had_cut_all_connections_is_told(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
    green: Replica,
) -> None:
    live = await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
        async with table.transaction() as tx:
            opened = await add_set(tx, "chat", green.port)
            await tx.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where application_name = 'celadon-gateway' and datname = current_database()",
                ),
            )
        epoch = await make_live(table, "chat", opened, drain=live)
        await until(lambda: serves(table, "chat", epoch))
    assert router.process.returncode is None


async def test_a_destroyed_deployment_is_withdrawn(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
) -> None:
    await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
        await until(router.listens)
        async with table.transaction() as tx:
            await tx.execute(update(Deployment).values(live_set=None, lifecycle=DeploymentLifecycle.DESTROYED))
            await raise_epoch(tx, "chat")

        async def is_gone() -> bool:
            return (await router.ask()).status == 404

        await until(is_gone)


async def test_prometheus_is_told(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
) -> None:
    await add_deployment(table, "chat", blue.port)
    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
        async with ClientSession() as client, client.get(f"http://{settings.gateway_metrics_address}/metrics") as told:
            lines = (await told.text()).splitlines()
    assert 'celadon_gateway_streams{service="discovery"} 1.0' in lines
    assert 'celadon_panic{deployment="chat"} 0.0' in lines
    assert router.process.returncode is None


async def test_an_address_in_use_ends_the_gateway_and_says_which(table: Table, settings: GatewaySettings) -> None:
    async with table.transaction() as tx:
        await tx.execute(text("select 1"))
    assert isinstance(settings.gateway_address, UnixAddress)
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), settings.gateway_address.path)
    async with server:
        with pytest.raises(OSError, match=str(settings.gateway_address)):
            await asyncio.wait_for(run_gateway(settings), timeout=DEADLINE_SECONDS)


async def test_panic_is_in_the_metrics_and_in_the_audit_log_until_it_ends(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
) -> None:
    await add_deployment(table, "chat", blue.port)

    async def kinds() -> list[str]:
        async with table.transaction() as tx:
            found = await tx.scalars(text("select kind from rollout_events where deployment = 'chat' order by id"))
            return list(found)

    async def set_health(health: str) -> None:
        async with table.transaction() as tx:
            await tx.execute(text("update routes set health = :health"), {"health": health})
            await raise_epoch(tx, "chat")

    async def metric(value: float) -> bool:
        async with ClientSession() as client, client.get(f"http://{settings.gateway_metrics_address}/metrics") as told:
            return f'celadon_panic{{deployment="chat"}} {value}' in (await told.text()).splitlines()

    async def in_panic() -> bool:
        return await kinds() == ["celadon_panic"] and await metric(1.0)

    async def over() -> bool:
        return await kinds() == ["celadon_panic", "celadon_panic_over"] and await metric(0.0)

    async with running_gateway(settings):
        await until(lambda: serves(table, "chat", 1))
        await until(router.listens)
        async with table.transaction() as tx:
            await tx.execute(text("update routes set ready_at = now()"))
        await set_health("unhealthy")
        await until(in_panic)
        assert (await router.ask()).json["colour"] == "blue"
    async with running_gateway(settings):
        await set_health("healthy")
        await until(over)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_in_order(
    table: Table,
    settings: GatewaySettings,
    router: Router,
    blue: Replica,
    number: signal.Signals,
) -> None:
    await add_deployment(table, "chat", blue.port)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import asyncio\n"
        "from celadon.gateway.process import run_gateway\n"
        "from celadon.gateway.settings import GatewaySettings\n"
        "asyncio.run(run_gateway(GatewaySettings()))\n",
        env={
            **os.environ,
            "DATABASE_URL": settings.database_url,
            "CELADON_GATEWAY_ADDRESS": str(settings.gateway_address),
            "CELADON_ROUTER_ADDRESS": str(settings.router_address),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await until(lambda: serves(table, "chat", 1))
    process.send_signal(number)
    output, errors = await asyncio.wait_for(process.communicate(), timeout=DEADLINE_SECONDS)
    assert (process.returncode, errors) == (0, b"")
    assert b"gateway_stopped" in output
    await until(router.listens)
    assert (await router.ask()).status == 200
