"""The children of a whole local stack."""

import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from celadon.domain.language.commands import UNDECLARED
from celadon.domain.language.contracts import DEFAULT_INSTALLATION
from celadon.domain.language.names import RouterNode
from celadon.domain.language.states import Channel
from celadon.gateway.addresses import SocketAddress, UnixAddress
from celadon.gateway.certificates import CertificateError
from celadon.gateway.enrolling import RouterFiles
from celadon.gateway.routing import LIVE, PREVIEW
from celadon.login_name import login_name
from celadon.stack.access import ensure_admin_token, ensure_signing_key
from celadon.stack.addresses import NAMESPACE
from celadon.stack.environment import python_environment
from celadon.stack.errors import StackError
from celadon.stack.layout import DataDirectory
from celadon.stack.ports import LOOPBACK, address
from celadon.stack.postgres import OWNER, create_database, database_url, postgres_spec
from celadon.stack.postgres_home import PostgresHome
from celadon.stack.probes import answers_ok, listens_on_socket
from celadon.stack.process import ChildSpec
from celadon.stack.process_counts import ProcessCounts, numbered
from celadon.stack.router import router_spec
from celadon.stack.settings import Port, StackSettings
from celadon.stack.temporal_server import temporal_spec
from celadon.table.core.author import Author
from celadon.table.core.engine import Table
from celadon.table.core.migrate import upgrade
from celadon.table.core.outages import NotMigratedError, TableAwayError
from celadon.table.routers.enrolments import NewEnrolment, enrol_router
from celadon.table.routers.reports import lock_for_news
from celadon.worker_code import worker_command

_PYTHON: Final = (sys.executable, "-P", "-u", "-m")
"""Without the working directory on the import path: a module of the operator's must not pass for one of ours."""


def stack_children(
    directory: DataDirectory,
    settings: StackSettings,
    home: PostgresHome,
    working_directory: Path,
) -> tuple[ChildSpec, ...]:
    """Describe all children, in an order in which each stands after the ones it needs.

    ``working_directory`` is where the commands of revisions run.

    Raises:
        MissingProgramError: a program of a child is not installed.

    """
    ensure_signing_key(directory)
    url = database_url(home)
    shape = settings.shape
    return (
        replace(postgres_spec(home), once_ready=partial(_bring_up_to_date, url, directory, shape)),
        temporal_spec(
            directory.temporal_database,
            settings.port(Port.TEMPORAL),
            settings.port(Port.TEMPORAL_UI),
            settings.temporal_ui_host,
        ),
        *(gateway_spec(url, settings, directory, number) for number in range(1, shape.gateways + 1)),
        *(worker_spec(url, settings, directory, working_directory, number) for number in range(1, shape.workers + 1)),
        api_spec(url, settings, directory),
        *(_router_spec(directory, settings, number) for number in range(1, shape.routers + 1)),
    )


def gateway_spec(database: str, settings: StackSettings, directory: DataDirectory, number: int = 1) -> ChildSpec:
    """Describe a gateway, which tells routers their routes from ``database``."""
    name = numbered("gateway", number)
    socket = directory.sockets.gateway(name)
    return ChildSpec(
        name=name,
        command=(*_PYTHON, "celadon.cli.main", "gateway"),
        after=("postgres",),
        environment=python_environment(
            {
                "DATABASE_URL": database,
                "CELADON_GATEWAY_ADDRESS": str(UnixAddress(path=socket)),
                "CELADON_GATEWAY_METRICS_ADDRESS": address(settings.port(Port.GATEWAY_METRICS, number)),
                "CELADON_ROUTER_ADDRESS": address(settings.port(Port.ROUTER)),
                "CELADON_PREVIEW_ROUTER_ADDRESS": address(settings.port(Port.PREVIEW_ROUTER)),
                "CELADON_PREVIEW_KEY": settings.preview_key,
                "CELADON_OWN_PORTS": settings.own_ports,
            },
        ),
        ready=listens_on_socket(socket),
    )


def worker_spec(
    database: str,
    settings: StackSettings,
    directory: DataDirectory,
    working_directory: Path,
    number: int = 1,
) -> ChildSpec:
    """Describe a worker, whose keeper keeps what it must remember of replicas in ``directory``."""
    metrics = address(settings.port(Port.METRICS, number))
    return ChildSpec(
        name=numbered("worker", number),
        command=worker_command(),
        after=("postgres", "temporal"),
        environment=python_environment(
            {
                "DATABASE_URL": database,
                "TEMPORAL_ADDRESS": address(settings.port(Port.TEMPORAL)),
                "TEMPORAL_NAMESPACE": NAMESPACE,
                "CELADON_STATE_DIR": str(directory.replicas),
                "CELADON_OWN_PORTS": settings.own_ports,
                "CELADON_VERIFY_KEYS_FILE": str(directory.verify_keys),
                "CELADON_INSTALLATION": DEFAULT_INSTALLATION,
                "CELADON_METRICS_ADDRESS": metrics,
                "CELADON_TEMPORAL_UI_URL": settings.temporal_ui,
                # A replica outlives the worker's death, not the end of the stack.
                "CELADON_STOP_REPLICAS_ON_EXIT": "1",
            },
        ),
        ready=answers_ok(f"http://{metrics}/metrics"),
        # Replicas have their own grace to finish what they run.
        stop_within=timedelta(seconds=60),
        working_directory=working_directory,
    )


def api_spec(database: str, settings: StackSettings, directory: DataDirectory) -> ChildSpec:
    """Describe the API, whose callers the workers believe by its signature."""
    port = settings.port(Port.API)
    return ChildSpec(
        name="api",
        command=(*_PYTHON, "celadon.cli.main", "api"),
        after=("postgres", "temporal"),
        environment=python_environment(
            {
                "DATABASE_URL": database,
                "TEMPORAL_ADDRESS": address(settings.port(Port.TEMPORAL)),
                "TEMPORAL_NAMESPACE": NAMESPACE,
                "CELADON_API_ADDRESS": address(port),
                "CELADON_SIGNING_KEY_FILE": str(directory.signing_key),
                "CELADON_INSTALLATION": DEFAULT_INSTALLATION,
                "CELADON_TEMPORAL_UI_URL": settings.temporal_ui,
            },
        ),
        ready=answers_ok(f"http://{address(port)}/readyz"),
    )


def _router_spec(directory: DataDirectory, settings: StackSettings, number: int) -> ChildSpec:
    """Describe a router and write its bootstrap; the first listens where the gateways say, the others elsewhere."""
    name = numbered("router", number)
    gateway = router_gateway(settings.shape, number)
    node = router_node(number)
    admin = directory.sockets.admin(name)
    own = {LIVE: settings.port(Port.ROUTER, number), PREVIEW: settings.port(Port.PREVIEW_ROUTER, number)}
    files = RouterFiles(
        node,
        directory.router_files(node),
        [UnixAddress(path=directory.sockets.gateway(numbered("gateway", gateway)))],
        admin,
        {} if number == 1 else {listener: _loopback(port) for listener, port in own.items()},
    )
    try:
        files.write(issued=None)
    except CertificateError as error:
        raise StackError(f"the files of router {node} cannot be written: {error}") from error
    return router_spec(files.bootstrap, admin, name=name, after=(numbered("gateway", gateway),))


def router_node(number: int) -> RouterNode:
    """Return the name under which gateways know a router of the stack, at every start the same."""
    return RouterNode(numbered("local", number))


def router_gateway(shape: ProcessCounts, number: int) -> int:
    """Return the number of the gateway that a router asks."""
    return (number - 1) % shape.gateways + 1


def _loopback(port: int) -> SocketAddress:
    return SocketAddress(host=LOOPBACK, port=port)


async def _bring_up_to_date(url: str, directory: DataDirectory, shape: ProcessCounts) -> None:
    """Create the database and its tables, or bring them to this version of Celadon; let the owner and routers in."""
    try:
        await create_database(url, OWNER)
        await upgrade(url)
        await ensure_admin_token(directory, url)
        await _enrol_routers(url, shape)
    except (OSError, asyncpg.PostgresError, SQLAlchemyError, TableAwayError, NotMigratedError, CommandError) as error:
        raise StackError(f"the database cannot be brought up to date: {error}") from error


async def _enrol_routers(url: str, shape: ProcessCounts) -> None:
    """Let the gateways believe the routers of the stack, each on its word, which reaches them by their socket alone."""
    author = Author(by=login_name() or UNDECLARED, door=Channel.CLI, reason="celadon up")
    async with Table(url, "celadon-up", pool_size=1) as table, table.transaction() as tx:
        nodes = [router_node(number) for number in range(1, shape.routers + 1)]
        await lock_for_news(tx, nodes)
        for node in nodes:
            await enrol_router(tx, NewEnrolment(node=node), author)
