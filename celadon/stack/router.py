"""Envoy, the router of the local stack."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from celadon.owned_files import write_file
from celadon.stack.child_log import ChildLog
from celadon.stack.environment import inherited_environment
from celadon.stack.ports import address
from celadon.stack.probes import answers_ok
from celadon.stack.process import ChildProcess, ChildSpec
from celadon.stack.programs import envoy_program

_WORKER_THREADS = 2


def router_spec(
    bootstrap_file: Path,
    admin_port: int,
    *,
    name: str = "router",
    after: tuple[str, ...] = (),
) -> ChildSpec:
    """Describe an Envoy with the given bootstrap, whose administration interface is on ``admin_port``.

    It is ready when a gateway has told it its routes.

    Raises:
        MissingProgramError: Envoy is not installed.

    """
    return ChildSpec(
        name=name,
        command=(
            str(envoy_program()),
            *("-c", str(bootstrap_file), "--concurrency", str(_WORKER_THREADS)),
            *("--disable-hot-restart", "--log-level", "warning"),
        ),
        after=after,
        environment=inherited_environment(),
        ready=answers_ok(f"http://{address(admin_port)}/ready"),
        working_directory=bootstrap_file.parent,
    )


@asynccontextmanager
async def running_envoy(data_dir: Path, bootstrap: str, admin_port: int) -> AsyncIterator[str]:
    """Run an Envoy alone, without supervision; yield the URL of its administration interface.

    Raises:
        StackError: it is not installed, or does not become ready, for example because no gateway answers it.

    """
    bootstrap_file = data_dir / "envoy.json"
    write_file(bootstrap_file, bootstrap, mode=0o600)
    router = await ChildProcess.start(router_spec(bootstrap_file, admin_port), ChildLog(data_dir / "logs/router.log"))
    try:
        await router.until_ready()
        yield f"http://{address(admin_port)}"
    finally:
        await router.stop()
