"""``celadon demo``: a stack of its own, a load, three switches, and a verdict that the router's counters confirm."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from celadon.client.patience import NoAnswerError
from celadon.domain.language.contracts import PROMOTE, workflow_id
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.health_check import HealthCheck
from celadon.domain.language.permissions import Role
from celadon.domain.language.ports import PortProtocol
from celadon.domain.language.revision import Revision
from celadon.owned_files import open_to_append
from celadon.stack.addresses import NAMESPACE, StackAddresses
from celadon.stack.demo.counters import CountersUnavailableError, RouterAdmin, RouterCounters
from celadon.stack.demo.directory import DemoDirectory
from celadon.stack.demo.doors import Doors, connected_doors
from celadon.stack.demo.generator import LoadOptions
from celadon.stack.demo.load_process import LoadFailedError, running_load
from celadon.stack.demo.model_server import MODEL
from celadon.stack.demo.records import read_records
from celadon.stack.demo.scenario import DEPLOYMENT, DemoRun, Plan, Scenario, ScenarioError
from celadon.stack.demo.screen import Frame, JsonScreen, LineScreen, Screen, TerminalScreen
from celadon.stack.demo.summary import Summary, counter_differences, losses, summarise, tally
from celadon.stack.errors import StackError
from celadon.stack.layout import DEMO_DATA_DIR, DataDirectory
from celadon.stack.postgres_home import SHARED_ROOT
from celadon.stack.programs import temporal_program
from celadon.stack.stack import Stack
from celadon.stopping import stop_signals
from celadon.table.access.console_logins import create_login
from celadon.table.core.engine import Table

REPLICAS: Final = 3
DEFAULT_PROMOTE_AFTER: Final = timedelta(seconds=2)
FIRST_LOAD_SECONDS: Final = 0.5
SECOND_LOAD_SECONDS: Final = 3.0
"""How long a replica of each revision loads its model."""

TOKEN_INTERVAL: Final = timedelta(milliseconds=200)
STREAM_DURATION: Final = timedelta(seconds=10.2)
ANSWER_TIMEOUT: Final = timedelta(seconds=15)
LONGEST_LOAD: Final = timedelta(hours=1)
LONGEST_DELAY: Final = timedelta(minutes=20)
IDLE_TIMEOUT: Final = timedelta(seconds=10)
SEED: Final = 20

FAILURES: Final = (
    StackError,
    ScenarioError,
    RefusedError,
    NoAnswerError,
    LoadFailedError,
    CountersUnavailableError,
)
"""What makes the demonstration fail with a sentence that says why; anything else is a bug and shows where it is."""

CLUSTERS: Final = (DEPLOYMENT, f"{DEPLOYMENT}.grpc")
"""The gateway's names for where requests and calls of gRPC go."""

SHARE_OF_CALLS: Final = 0.1
"""How many calls of gRPC are sent for each plain request."""

LISTENER_PREFIX: Final = "live"
"""The gateway's name for the live listener in the router's statistics."""


class DemoOptions(BaseModel):
    """What ``celadon demo`` can be told."""

    model_config = ConfigDict(frozen=True)

    json_lines: bool = False
    hold: bool = False
    """Wait for a person's promotion instead of a timer."""
    promote_after: Annotated[timedelta, Field(ge=timedelta(0), le=LONGEST_DELAY)] | None = None
    """The delay of the promotion's timer."""
    requests_per_second: Annotated[float, Field(gt=0, le=5000)] = 200.0
    streams: Annotated[int, Field(ge=0, le=1000)] = 20
    """How many streams of ten seconds or longer each switch must meet."""
    data_dir: Path = DEMO_DATA_DIR
    """Where the stack, the records and the logs go; what an earlier demonstration left there is removed."""

    @model_validator(mode="after")
    def _says_nothing_in_vain(self) -> Self:
        if self.hold and self.promote_after is not None:
            raise ValueError("--promote-after has no effect with --hold, which waits for you; leave one of the two out")
        return self


async def run_demo(options: DemoOptions, shared_root: Path = SHARED_ROOT) -> int:
    """Run the demonstration and show it; return the exit code, 0 only when nothing was lost.

    Ctrl-C, SIGTERM and SIGHUP end it in good order. What stays of it are its records and its logs. ``shared_root`` is
    where root's Postgres lives that cannot live in the data directory.

    Raises:
        DirectoryInUseError: another demonstration runs in the data directory.
        StackError: the data directory holds something else, or cannot be used.

    """
    place = DemoDirectory(options.data_dir, shared_root)
    directory = await place.prepare()
    with _logs_into(directory.logs / "demo.log"), _screen(options) as screen:
        demonstration = _Demonstration(options, screen, place, directory)
        running = asyncio.create_task(demonstration.run())
        try:
            with _cancelled_by_signals(running):
                await running
        except FAILURES as error:
            demonstration.complaints.append(str(error))
        except asyncio.CancelledError:
            if not running.cancelled():
                raise
            demonstration.complaints.append("it was stopped before it was over")
        finally:
            demonstration.complaints += await _cleared(place)
        screen.conclude(demonstration.summary, tuple(demonstration.complaints))
    return 1 if demonstration.complaints else 0


async def _cleared(place: DemoDirectory) -> tuple[str, ...]:
    """Remove what the demonstration need not leave, and return why that failed."""
    try:
        await place.clear()
    except StackError as error:
        return (str(error),)
    return ()


@contextmanager
def _cancelled_by_signals(task: asyncio.Task[None]) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a terminal that closes end a task in good order."""
    loop = asyncio.get_running_loop()
    numbers = stop_signals()

    def on_signal(number: signal.Signals) -> None:
        # A terminal that closes sends its signal more than once: the kernel does, and the shell.
        if number is not signal.SIGHUP or not task.cancelling():
            task.cancel()

    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Demonstration:
    """One run, with what it has found so far."""

    def __init__(self, options: DemoOptions, screen: Screen, place: DemoDirectory, directory: DataDirectory) -> None:
        self.summary = Summary()
        self.complaints: list[str] = []
        self._options = options
        self._screen = screen
        self._place = place
        self._directory = directory
        self._records = place.records

    async def run(self) -> None:
        """Start the stack, play the scenario, judge it."""
        self._screen.show(
            Frame(
                step="starting Postgres, Temporal, gateway, worker, API and router",
                deployment=None,
                load=None,
                timers={},
            )
        )
        async with Stack(self._directory.path, demo_root=self._place.outside) as stack:
            addresses = stack.addresses
            await self._introduce(addresses)
            async with connected_doors(DEPLOYMENT, addresses) as doors:
                so_far, counted = await self._play(doors, addresses)
            self._screen.show(Frame(step="stopping everything", deployment=None, load=None, timers={}))
        self._judge(so_far, counted)

    async def _play(self, doors: Doors, addresses: StackAddresses) -> tuple[DemoRun, RouterCounters]:
        """Play the scenario under load and return what came of it, also of one that went wrong under way."""
        scenario = Scenario(doors, self._screen, self._plan(addresses))
        await scenario.deploy_first_revision()
        admin = RouterAdmin(addresses.router_admin, listener_prefix=LISTENER_PREFIX, clusters=CLUSTERS)
        before = await admin.read()
        load_log = self._directory.logs / "load.log"
        async with running_load(self._load(addresses), self._records, load_log, LONGEST_LOAD) as load:
            try:
                await scenario.switch_three_times(load)
            except (ScenarioError, RefusedError, NoAnswerError) as error:
                self.complaints.append(str(error))
            self._screen.say("step", "ending the load")
            await load.stop()
            return scenario.so_far, await admin.read_when_idle(IDLE_TIMEOUT) - before

    def _judge(self, so_far: DemoRun, counted: RouterCounters) -> None:
        """Compute the summary from the records, and check it against the router's counters."""
        tallied = tally(list(read_records(self._records)), so_far.switches)
        for figures in tallied.switches:
            self._screen.say(
                "switch",
                f"{figures.kind} to epoch {figures.epoch}: committed {figures.decision_to_switch_ms:.1f} ms after its "
                f"decision, acknowledged after {figures.switch_to_ack_ms:.1f} ms more, "
                f"{figures.open_streams} long streams open, {figures.open_streams_on_old} of them on the old colour",
                **figures.model_dump(mode="json"),
            )
        self.summary = summarise(tallied, so_far.last, so_far.requests_cut)
        self.complaints += losses(tallied, so_far.requests_cut, streams_wanted=self._options.streams)
        self.complaints += counter_differences(tallied, counted, others=self._options.hold)
        self._screen.say("records", f"one line a request stands in {self._records}", late=tallied.late)

    async def _introduce(self, addresses: StackAddresses) -> None:
        """Say which ports are open, all on loopback, and give a link to the console that logs in once."""
        async with Table(addresses.database_url, "celadon-demo", pool_size=1) as table, table.transaction() as tx:
            code = await create_login(tx, "demo", (Role.ADMIN,), {})
        console = f"{addresses.api}/login?code={code}"
        self._screen.say(
            "started",
            f"any OpenAI client can use model {MODEL} at {_base_url(addresses)}; watch and decide in the console, this "
            f"link logs in once: {console}",
            temporal_ui=addresses.temporal_ui,
            base_url=_base_url(addresses),
            console=console,
        )
        self._screen.say(
            "ports",
            f"open on loopback while it runs: router {addresses.router} (preview {addresses.preview_router}), console "
            f"and API {addresses.api}, Temporal {addresses.temporal_address} (UI {addresses.temporal_ui}), metrics "
            f"{addresses.metrics} and {addresses.gateway_metrics}, and two a replica; on sockets for you alone: "
            "Postgres, the gateway and the router's admin interface",
        )

    def _plan(self, addresses: StackAddresses) -> Plan:
        delay = self._options.promote_after if self._options.promote_after is not None else DEFAULT_PROMOTE_AFTER
        return Plan(
            first=_revision("r1", FIRST_LOAD_SECONDS),
            second=_revision("r2", SECOND_LOAD_SECONDS),
            replicas=REPLICAS,
            promote_after=None if self._options.hold else delay,
            instructions=_instructions(addresses),
        )

    def _load(self, addresses: StackAddresses) -> LoadOptions:
        return LoadOptions(
            base_url=_base_url(addresses),
            requests_per_second=self._options.requests_per_second,
            streams=self._options.streams,
            stream_duration=STREAM_DURATION,
            token_interval=TOKEN_INTERVAL,
            seed=SEED,
            answer_timeout=ANSWER_TIMEOUT,
            calls_per_second=self._options.requests_per_second * SHARE_OF_CALLS,
            router=addresses.router.removeprefix("http://"),
            deployment=DEPLOYMENT,
        )


@contextmanager
def _logs_into(file: Path) -> Iterator[None]:
    """Keep this process' log lines off the screen, which the demonstration draws on."""
    before = structlog.get_config()
    with os.fdopen(open_to_append(file), "a", encoding="utf-8") as lines:
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=lines))
        try:
            yield
        finally:
            structlog.configure(**before)


def _screen(options: DemoOptions) -> Screen:
    if options.json_lines:
        return JsonScreen()
    return TerminalScreen() if sys.stdout.isatty() else LineScreen()


def _revision(label: str, load_seconds: float) -> Revision:
    return Revision(
        command=(
            *(sys.executable, "-P", "-m", "celadon.stack.demo.model_server"),
            *("--port", "{port}", "--grpc-port", "{port.grpc}", "--revision-label", label),
            *("--load-seconds", str(load_seconds)),
            *("--token-interval-seconds", str(TOKEN_INTERVAL.total_seconds())),
            *("--while-process", str(os.getpid())),
        ),
        ports={"http": PortProtocol.HTTP1, "grpc": PortProtocol.H2C},
        health_check=HealthCheck(path="/health", interval=timedelta(milliseconds=250)),
    )


def _base_url(addresses: StackAddresses) -> str:
    return f"{addresses.router}/{DEPLOYMENT}/v1"


def _instructions(addresses: StackAddresses) -> str:
    """Return the exact commands with which a person can promote, and where to click."""
    rollout = workflow_id(DEPLOYMENT)
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in addresses.environment.items())
    temporal = f"{shutil.which('temporal') or temporal_program()} workflow"
    promotion = f"--address {addresses.temporal_address} -w {rollout} --name {PROMOTE}"
    return "\n".join(
        (
            f"  {temporal} signal {promotion}",
            f"  {temporal} update execute {promotion}",
            f"  env {settings} celadon promote {DEPLOYMENT}",
            "  or in the console: the link above",
            f"  or in Temporal's UI: {addresses.temporal_ui}/namespaces/{NAMESPACE}/workflows/{rollout}",
        ),
    )
