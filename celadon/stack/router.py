"""Envoy, the router of the local stack."""

from pathlib import Path
from typing import Final

from celadon.stack.environment import inherited_environment
from celadon.stack.probes import answers_ok
from celadon.stack.process import ChildSpec
from celadon.stack.programs import envoy_program

ADMIN_URL: Final = "http://admin"
"""The base of URLs that are asked through the socket of an admin interface; the host's name says nothing."""

_WORKER_THREADS = 2


def router_spec(
    bootstrap_file: Path,
    admin: Path,
    *,
    name: str = "router",
    after: tuple[str, ...] = (),
) -> ChildSpec:
    """Describe an Envoy with the given bootstrap, whose admin interface is the Unix socket ``admin``.

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
        ready=answers_ok(f"{ADMIN_URL}/ready", admin),
        working_directory=bootstrap_file.parent,
    )
