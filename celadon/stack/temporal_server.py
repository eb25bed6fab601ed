"""The Temporal development server, with its web interface, as a child of the stack.

Of its own accord it opens more doors than gRPC: an HTTP API, which answers whoever reaches it, web pages of any site
included, activities that no workflow asked for, and a web interface that checks no ``Host``. ``CLOSED_DOORS`` and the
address of the web interface shut what can be shut.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from celadon.stack.addresses import NAMESPACE
from celadon.stack.child_log import ChildLog
from celadon.stack.environment import inherited_environment
from celadon.stack.ports import LOOPBACK, address, choose_ports, hidden_loopback
from celadon.stack.process import ChildProcess, ChildSpec, NotReadyError, Probe
from celadon.stack.programs import temporal_program

CLOSED_DOORS: Final = (
    # No well-formed request has this host: servers refuse a Host header with a slash (400).
    'frontend.httpAllowedHosts=["/"]',
    # Anybody could run an activity of ours without the workflow that decides on it.
    "activity.enableStandalone=false",
    "nexusoperation.enableStandalone=false",
)
"""Settings of the server (``--dynamic-config-value``) that shut what Celadon does not use."""

LONGEST_PAYLOAD: Final = 256 * 1024
"""In bytes. The default, 2 MiB, lets a few messages fill a workflow's history, which the server then terminates."""

MOST_BUFFERED_EVENTS: Final = 20_000
"""The server fails a workflow task during which more events came. By default that is 100: beside a flood of signals no
task of a rollout completes, and nobody's decision is answered."""

MOST_SIGNALS: Final = 1_000
"""Of one run of a workflow; a rollout goes on in a new run after half of them. The default, 10,000, is more than a
worker that was away reads within the time of one workflow task."""

LIMITS: Final = (
    f"limit.blobSize.error={LONGEST_PAYLOAD}",
    # The server looks at the error's limit only above the warning's, which is 512 KiB by default.
    f"limit.blobSize.warn={LONGEST_PAYLOAD}",
    f"history.maximumBufferedEventsBatch={MOST_BUFFERED_EVENTS}",
    f"history.maximumSignalsPerExecution={MOST_SIGNALS}",
)
"""Settings of the server that bound what a flood of messages does to a rollout; production sets the same."""

_RPC_TIMEOUT: Final = timedelta(seconds=2)


def temporal_spec(database: Path, port: int, ui_port: int, ui_host: str) -> ChildSpec:
    """Describe a Temporal server that keeps its workflows in the SQLite file ``database``.

    ``ui_host`` is the loopback address of its web interface.

    Raises:
        MissingProgramError: the server is not installed.

    """
    command = (
        str(temporal_program()),
        *("server", "start-dev", "--log-level", "warn"),
        *("--ip", LOOPBACK, "--port", str(port), "--ui-ip", ui_host, "--ui-port", str(ui_port)),
        "--ui-disable-news-fetch",
        *("--db-filename", str(database)),
        # A write-ahead log more than doubles what the server takes, and loses nothing when the process is killed.
        *("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal"),
        # Timers and retries fire up to this much late; the default is one second.
        *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="20ms"'),
        *(flag for setting in (*CLOSED_DOORS, *LIMITS) for flag in ("--dynamic-config-value", setting)),
    )
    return ChildSpec(
        name="temporal",
        command=command,
        environment=inherited_environment(),
        ready=_serves_namespace(address(port)),
        working_directory=database.parent,
    )


@asynccontextmanager
async def running_temporal(data_dir: Path) -> AsyncIterator[str]:
    """Run a Temporal server alone, without supervision, with all it keeps in ``data_dir``; yield its address.

    Raises:
        StackError: it is not installed or does not start.

    """
    ports = choose_ports(("temporal", "temporal_ui"), {})
    spec = temporal_spec(data_dir / "temporal.sqlite", ports["temporal"], ports["temporal_ui"], hidden_loopback())
    server = await ChildProcess.start(spec, ChildLog(data_dir / "logs" / "temporal.log"))
    try:
        await server.until_ready()
        yield address(ports["temporal"])
    finally:
        await server.stop()


def _serves_namespace(target: str) -> Probe:
    async def probe() -> None:
        client = await Client.connect(target, namespace=NAMESPACE, lazy=True)
        request = DescribeNamespaceRequest(namespace=NAMESPACE)
        try:
            await client.workflow_service.describe_namespace(request, timeout=_RPC_TIMEOUT)
        except (RPCError, RuntimeError) as error:
            raise NotReadyError(f"its namespace {NAMESPACE!r} cannot be reached at {target}: {error}") from error

    return probe
