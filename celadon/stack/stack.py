"""The whole of Celadon on one machine: Postgres, Temporal, gateway, worker and router as children of one process."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import structlog

from celadon.gateway.addresses import UnixAddress
from celadon.stack.addresses import RouterAddresses, StackAddresses
from celadon.stack.children import router_gateway, router_node, stack_children
from celadon.stack.errors import DirectoryInUseError, StackError
from celadon.stack.layout import DEFAULT_DATA_DIR, DataDirectory, HeldLock
from celadon.stack.left_behind import RunningChild, child_mark, end_left_behind, record_children
from celadon.stack.os_user import user_for_postgres
from celadon.stack.ports import address
from celadon.stack.postgres import database_url, initialise
from celadon.stack.postgres_home import SHARED_ROOT, PostgresHome, owner_of, prepare_home
from celadon.stack.process import ChildSpec
from celadon.stack.process_counts import ProcessCountChoice, numbered
from celadon.stack.replicas import running_replicas
from celadon.stack.settings import Port, StackSettings
from celadon.stack.supervisor import ChildStatus, Supervisor
from celadon.stopping import stop_signals

log = structlog.get_logger()

DescribeChildren = Callable[[DataDirectory, StackSettings, PostgresHome, Path], tuple[ChildSpec, ...]]


class Stack:
    """A stack in its data directory; ``async with`` starts it, and stops it at the end.

    Enter it in the main thread: the children end when the thread that started them does.
    """

    def __init__(
        self,
        data_dir: Path = DEFAULT_DATA_DIR,
        working_directory: Path | None = None,
        describe: DescribeChildren = stack_children,
        demo_root: Path | None = None,
        **shape: Unpack[ProcessCountChoice],
    ) -> None:
        """Name the directory; nothing is touched yet.

        ``working_directory`` is where the commands of revisions run, by default where this process does; ``describe``
        names the children, by default all of them; what ``shape`` leaves out is as it was at the last start.
        ``demo_root`` is of the demonstration, whose directories no other stack may use: it is where root's Postgres
        lives then that cannot live in the data directory.
        """
        self._data_dir = data_dir
        self._working_directory = working_directory or Path.cwd()
        self._describe = describe
        self._demo_root = demo_root
        self._shape = shape
        self._held = ExitStack()
        self._lock: HeldLock | None = None
        self._directory: DataDirectory | None = None
        self._supervisor: Supervisor | None = None
        self._specs: dict[str, ChildSpec] = {}
        self._addresses: StackAddresses | None = None
        self._is_ready = False
        self.is_stopping = False

    async def __aenter__(self) -> Self:
        """Start everything and return when it is ready.

        Raises:
            StackError: the directory is in use, or a child cannot be set up or does not become ready.

        """
        self._directory = directory = DataDirectory.create(self._data_dir)
        if self._demo_root is None and directory.demo_mark.exists():
            raise StackError(
                f"{directory.path} is a directory of the demonstration, which empties it each time: name another one "
                "with --data-dir",
            )
        try:
            self._lock = self._held.enter_context(directory.locked())
        except DirectoryInUseError as error:
            raise DirectoryInUseError(error.data_dir, error.holder, _where(directory)) from error
        try:
            await self._start(directory)
        except BaseException as error:
            await self._stop()
            if isinstance(error, OSError):
                raise StackError(f"the stack in {directory.path} cannot be started: {error}") from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything, the router first and the database last."""
        await self._stop()

    @property
    def addresses(self) -> StackAddresses:
        """Where everything is.

        Raises:
            RuntimeError: the stack has not been started.

        """
        if self._addresses is None:
            raise RuntimeError("the stack has not been started: enter it with `async with`")
        running = {child.name: child.pid for child in self.children if child.pid is not None}
        return self._addresses.model_copy(update={"children": running})

    @property
    def children(self) -> tuple[ChildStatus, ...]:
        """The children as they are now."""
        return self._supervisor.children if self._supervisor else ()

    async def until_broken(self) -> None:
        """Wait until the stack cannot keep its children any longer.

        Raises:
            Exception: what kept it from restarting one.

        """
        if self._supervisor is None:
            raise RuntimeError("the stack has not been started: enter it with `async with`")
        await self._supervisor.until_broken()

    async def kill(self) -> None:
        """End all children at once; whoever waits for the stack to stop then waits no longer."""
        if self._supervisor is not None:
            await self._supervisor.kill()

    async def _start(self, directory: DataDirectory) -> None:
        directory.stack_file.unlink(missing_ok=True)
        await end_left_behind(directory.children_file)
        settings = StackSettings.load(directory.settings_file, **self._shape)
        account = user_for_postgres(owner_of(directory.path))
        home = await asyncio.to_thread(prepare_home, directory.path, account, self._demo_root or SHARED_ROOT)
        await initialise(home)
        self._addresses = _addresses(directory, settings, home)
        mark = child_mark(directory.path)
        described = self._describe(directory, settings, home, self._working_directory)
        specs = [replace(spec, environment={**spec.environment, **mark}) for spec in described]
        self._specs = {spec.name: spec for spec in specs}
        self._supervisor = Supervisor(specs, directory.logs, self._publish)
        await self._supervisor.start()
        self._is_ready = True
        self._publish()

    async def _stop(self) -> None:
        self.is_stopping = True
        self._is_ready = False
        if self._lock is not None:
            # A full disk is no reason to run on.
            with suppress(OSError):
                self._lock.note(is_stopping=True)
        if self._directory is not None:
            self._directory.stack_file.unlink(missing_ok=True)
        if self._directory is not None and self._supervisor is not None:
            await self._supervisor.stop()
            self._directory.children_file.unlink(missing_ok=True)
            # The worker ends them, unless it had no chance to: killed, or not yet ready after an earlier stack was.
            if left := running_replicas(self._directory.replicas):
                log.warning("stack.replicas_run_on", replicas=len(left), next_step="start the stack again to stop them")
        self._held.close()

    def _publish(self) -> None:
        """Write down what runs, and once everything does, where it is."""
        if self._directory is None:
            return
        record_children(
            self._directory.children_file,
            [
                RunningChild(
                    name=child.name,
                    pid=child.pid,
                    user=_user_of(self._specs[child.name]),
                    started_at=child.started_at,
                    kill_signal=self._specs[child.name].kill_signal,
                )
                for child in self.children
                if child.pid is not None and child.started_at is not None
            ],
        )
        if self._is_ready:
            self.addresses.write(self._directory.stack_file)


async def run_stack(stack: Stack, announce: Callable[[StackAddresses], None]) -> None:
    """Run ``stack`` until a signal ends it (``celadon up``).

    ``announce`` is told where everything is once it is ready. The first Ctrl-C, SIGTERM or SIGHUP stops the stack in
    good order; a second Ctrl-C or SIGTERM ends all children at once.

    Raises:
        StackError: it cannot be started, or not be kept running.

    """
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(_serve(stack, announce))
    endings: list[asyncio.Task[None]] = []

    def on_signal(number: signal.Signals) -> None:
        if not (stack.is_stopping or endings or serving.cancelling()):
            serving.cancel()
            log.info("stack.stopping", signal=number.name)
        elif number is not signal.SIGHUP:  # a terminal that closes sends it more than once: the kernel, and the shell
            log.warning("stack.killing", signal=number.name)
            endings.append(loop.create_task(stack.kill()))

    handled = stop_signals()
    for number in handled:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await serving
    except asyncio.CancelledError:
        if not serving.cancelled():
            raise
    finally:
        await asyncio.gather(*endings)
        for number in handled:
            loop.remove_signal_handler(number)


async def _serve(stack: Stack, announce: Callable[[StackAddresses], None]) -> None:
    async with stack:
        announce(stack.addresses)
        await stack.until_broken()


def _where(directory: DataDirectory) -> str:
    """Say where the stack is reached that runs in a directory, or that it cannot be reached yet."""
    try:
        addresses = StackAddresses.of_running(directory.path)
    except StackError:
        return "it is starting, or stopping"
    return (
        f"console and API at {addresses.api}, router at {addresses.router}, Temporal at {addresses.temporal_address} "
        f"(UI {addresses.temporal_ui})"
    )


def _user_of(spec: ChildSpec) -> int:
    return os.geteuid() if spec.account is None else spec.account.uid


def _addresses(directory: DataDirectory, settings: StackSettings, home: PostgresHome) -> StackAddresses:
    port = settings.port
    shape = settings.shape
    gateways = tuple(
        str(UnixAddress(path=directory.sockets.gateway(numbered("gateway", number))))
        for number in range(1, shape.gateways + 1)
    )
    return StackAddresses(
        database_url=database_url(home),
        temporal_address=address(port(Port.TEMPORAL)),
        temporal_ui=settings.temporal_ui,
        router=f"http://{address(port(Port.ROUTER))}",
        preview_router=f"http://{address(port(Port.PREVIEW_ROUTER))}",
        router_admin=directory.sockets.admin("router"),
        gateway=gateways[0],
        metrics=f"http://{address(port(Port.METRICS))}/metrics",
        gateway_metrics=f"http://{address(port(Port.GATEWAY_METRICS))}/metrics",
        api=f"http://{address(port(Port.API))}",
        admin_token_file=directory.admin_token,
        preview_key=settings.preview_key,
        workers=tuple(
            f"http://{address(port(Port.METRICS, number))}/metrics" for number in range(1, shape.workers + 1)
        ),
        gateways=gateways,
        routers=tuple(
            RouterAddresses(
                node=router_node(number),
                live=f"http://{address(port(Port.ROUTER, number))}",
                preview=f"http://{address(port(Port.PREVIEW_ROUTER, number))}",
                admin=directory.sockets.admin(numbered("router", number)),
                gateway=gateways[router_gateway(shape, number) - 1],
            )
            for number in range(1, shape.routers + 1)
        ),
        data_dir=directory.path,
        pid=os.getpid(),
    )
