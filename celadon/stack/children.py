"""The children of a whole local stack."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import asyncpg
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from celadon.domain.names import RouterNode
from celadon.gateway.addresses import SocketAddress
from celadon.gateway.bootstrap import bootstrap
from celadon.stack.environment import python_environment
from celadon.stack.errors import StackError
from celadon.stack.files import write_file
from celadon.stack.layout import DataDirectory
from celadon.stack.ports import LOOPBACK, address
from celadon.stack.postgres import OWNER, create_database, database_url, postgres_spec
from celadon.stack.postgres_home import PostgresHome
from celadon.stack.probes import answers_ok, listens_on
from celadon.stack.process import ChildSpec
from celadon.stack.router import router_spec
from celadon.stack.settings import Port, StackSettings
from celadon.stack.temporal_server import NAMESPACE, temporal_spec
from celadon.table.migrate import upgrade

ROUTER_NODE: Final = RouterNode("local")
"""The name under which the stack's router is known to the gateway, at every start the same."""

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
    ports = settings.ports
    url = database_url(home)
    write_file(directory.router_bootstrap, _router_bootstrap(ports), mode=0o600)
    return (
        replace(postgres_spec(home), once_ready=partial(_bring_up_to_date, url)),
        temporal_spec(directory.temporal_database, ports[Port.TEMPORAL], ports[Port.TEMPORAL_UI]),
        gateway_spec(url, settings),
        worker_spec(url, settings, directory.replicas, working_directory),
        router_spec(directory.router_bootstrap, ports[Port.ROUTER_ADMIN], after=("gateway",)),
    )


def gateway_spec(database: str, settings: StackSettings) -> ChildSpec:
    """Describe the gateway, which tells the router its routes from ``database``."""
    ports = settings.ports
    return ChildSpec(
        name="gateway",
        command=(*_PYTHON, "celadon.cli.main", "gateway"),
        after=("postgres",),
        environment=python_environment(
            {
                "DATABASE_URL": database,
                "CELADON_GATEWAY_ADDRESS": address(ports[Port.GATEWAY]),
                "CELADON_GATEWAY_METRICS_ADDRESS": address(ports[Port.GATEWAY_METRICS]),
                "CELADON_ROUTER_ADDRESS": address(ports[Port.ROUTER]),
                "CELADON_PREVIEW_ROUTER_ADDRESS": address(ports[Port.PREVIEW_ROUTER]),
                "CELADON_PREVIEW_KEY": settings.preview_key,
            },
        ),
        ready=listens_on(ports[Port.GATEWAY]),
    )


def worker_spec(database: str, settings: StackSettings, replicas: Path, working_directory: Path) -> ChildSpec:
    """Describe the worker, whose keeper keeps what it must remember of replicas in ``replicas``."""
    ports = settings.ports
    return ChildSpec(
        name="worker",
        command=(*_PYTHON, "worker"),
        after=("postgres", "temporal"),
        environment=python_environment(
            {
                "DATABASE_URL": database,
                "TEMPORAL_ADDRESS": address(ports[Port.TEMPORAL]),
                "TEMPORAL_NAMESPACE": NAMESPACE,
                "CELADON_STATE_DIR": str(replicas),
                "CELADON_METRICS_ADDRESS": address(ports[Port.METRICS]),
                # A replica outlives the worker's death, not the end of the stack.
                "CELADON_STOP_REPLICAS_ON_EXIT": "1",
            },
        ),
        ready=answers_ok(f"http://{address(ports[Port.METRICS])}/metrics"),
        # Replicas have their own grace to finish what they run.
        stop_within=timedelta(seconds=60),
        working_directory=working_directory,
    )


def _router_bootstrap(ports: Mapping[Port, int]) -> str:
    gateway = SocketAddress(host=LOOPBACK, port=ports[Port.GATEWAY])
    admin = SocketAddress(host=LOOPBACK, port=ports[Port.ROUTER_ADMIN])
    return json.dumps(bootstrap(ROUTER_NODE, gateway, admin), indent=2) + "\n"


async def _bring_up_to_date(url: str) -> None:
    """Create the database and its tables, or bring them to this version of Celadon."""
    try:
        await create_database(url, OWNER)
        await upgrade(url)
    except (OSError, asyncpg.PostgresError, SQLAlchemyError, CommandError) as error:
        raise StackError(f"the database cannot be brought up to date: {error}") from error
