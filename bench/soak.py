"""Hundreds of switches under load: how many requests failed, were cut or were answered by the wrong revision.

Several deployments are switched side by side, each under an open-loop load of its own with streams and without client
retries. Every other rollout is promoted and drained to its end; the one after it is promoted and rolled back. The
figures come from one record a request and are compared with what the router itself counted.

    python -m bench.soak --switches 300
"""

import argparse
import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from bench.figures import CONFIDENCE, bound_of_none, spread
from bench.line import Line, model_server, rollout_request, running_line
from bench.report import Cell, Grid, run_bench
from celadon.domain.language.commands import AbortCommand, PromoteCommand
from celadon.domain.language.contracts import PROMOTE, ROLLBACK
from celadon.domain.language.messages import RolloutRequest
from celadon.domain.language.states import RolloutOutcome
from celadon.stack.demo.counters import RouterAdmin, RouterCounters
from celadon.stack.demo.demo import LISTENER_PREFIX
from celadon.stack.demo.doors import Doors, connected_doors
from celadon.stack.demo.generator import LoadOptions
from celadon.stack.demo.history import decided_switch
from celadon.stack.demo.load_process import running_load
from celadon.stack.demo.records import RequestRecord, read_records
from celadon.stack.demo.scenario import monotonic_ns
from celadon.stack.demo.summary import NS_PER_MS, Switch, SwitchKind, counter_differences, tally, wrong_revisions

REPLICAS: Final = 2
TOKEN_INTERVAL: Final = timedelta(milliseconds=100)
SERVES_SECONDS: Final = 0.5
"""How long a revision serves before traffic goes back."""

ANSWER_TIMEOUT: Final = timedelta(seconds=60)
IDLE_TIMEOUT: Final = timedelta(seconds=60)
LONGEST_LOAD: Final = timedelta(hours=2)
SEED: Final = 20


@dataclass(frozen=True)
class SoakOptions:
    """How much of everything; the load is each deployment's."""

    switches: int
    deployments: int
    requests_per_second: float
    streams: int
    stream_duration: timedelta


@dataclass
class Soaked:
    """What happened to one deployment."""

    records: list[RequestRecord] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    requests_cut: int = 0


class _Soaking:
    """One deployment under load and switches."""

    def __init__(self, line: Line, doors: Doors, name: str) -> None:
        self._line = line
        self._doors = doors
        self._name = name
        self._live, self._other = "r1", "r2"
        self._soaked = Soaked()

    async def go_live(self) -> None:
        """Bring a first revision live."""
        await self._line.go_live(self._request("r1", "0s"))

    async def run(self, options: SoakOptions) -> Soaked:
        """Switch often under load; return what became of each request and each switch."""
        records = self._line.addresses.data_dir / f"{self._name}.jsonl"
        load = LoadOptions(
            base_url=f"{self._line.addresses.router}/{self._name}/v1",
            requests_per_second=options.requests_per_second,
            streams=options.streams,
            stream_duration=options.stream_duration,
            token_interval=TOKEN_INTERVAL,
            answer_timeout=ANSWER_TIMEOUT,
            seed=SEED,
        )
        wanted = math.ceil(options.switches / options.deployments)
        async with running_load(load, records, records.with_suffix(".log"), LONGEST_LOAD) as running:
            while len(self._soaked.switches) < wanted:
                await self._promote()
                if len(self._soaked.switches) < wanted:
                    await self._promote_and_return()
            await running.stop()
        self._soaked.records = await asyncio.to_thread(lambda: list(read_records(records)))
        return self._soaked

    async def _promote(self) -> None:
        """Roll the other revision out to its end."""
        run = await self._line.begin(self._request(self._other, "0s"))
        await self._line.rollouts.promote(self._name, PromoteCommand(by="bench"))
        await self._end(RolloutOutcome.PROMOTED)
        self._note(SwitchKind.PROMOTION, await self._doors.history(run))
        self._live, self._other = self._other, self._live

    async def _promote_and_return(self) -> None:
        """Promote the other revision, let it serve, and go back."""
        run = await self._line.begin(self._request(self._other, "10m"))
        await self._line.rollouts.promote(self._name, PromoteCommand(by="bench"))
        await asyncio.sleep(SERVES_SECONDS)
        await self._line.rollouts.rollback(self._name, AbortCommand(by="bench"))
        await self._end(RolloutOutcome.ROLLED_BACK)
        events = await self._doors.history(run)
        self._note(SwitchKind.PROMOTION, events)
        self._note(SwitchKind.SWITCH_BACK, events)

    async def _end(self, outcome: RolloutOutcome) -> None:
        ended = await self._line.end(self._name, outcome)
        self._soaked.requests_cut += 0 if ended.result is None else ended.result.requests_cut

    def _note(self, kind: SwitchKind, events: Sequence[HistoryEvent]) -> None:
        forth = kind is SwitchKind.PROMOTION
        switch = decided_switch(
            events,
            activity="switch" if forth else "switch_back",
            messages=frozenset({PROMOTE if forth else ROLLBACK}),
        )
        acknowledged_at = None if switch is None else self._doors.acknowledgements.last_at(switch.epoch)
        if switch is None or switch.silent or acknowledged_at is None:
            raise RuntimeError(f"the {kind} of {self._name} was not acknowledged: {switch}")
        self._soaked.switches.append(
            Switch(
                kind=kind,
                epoch=switch.epoch,
                old_revision=self._live if forth else self._other,
                new_revision=self._other if forth else self._live,
                decided_ns=monotonic_ns(switch.decided_at),
                committed_ns=monotonic_ns(switch.committed_at),
                acknowledged_ns=monotonic_ns(acknowledged_at),
            ),
        )

    def _request(self, label: str, bake: str) -> RolloutRequest:
        pace = ("--token-interval-seconds", str(TOKEN_INTERVAL.total_seconds()))
        return rollout_request(self._name, REPLICAS, model_server(label, *pace), auto_promote=False, bake=bake)


async def _counters(line: Line, names: Sequence[str], *, idle: bool) -> RouterCounters:
    """Return what the router counted of its listener, and of all deployments together."""
    found: list[RouterCounters] = []
    for name in names:
        admin = RouterAdmin(line.addresses.router_admin, listener_prefix=LISTENER_PREFIX, clusters=[name])
        found.append(await (admin.read_when_idle(IDLE_TIMEOUT) if idle else admin.read()))
    of_clusters = (
        "requests_to_servers",
        "unconnected",
        "retries",
        "disconnects_of_server",
        "resets_of_server",
    )
    return replace(found[0], **{field: sum(getattr(one, field) for one in found) for field in of_clusters})


async def measure_on(line: Line, options: SoakOptions) -> list[Grid]:
    """Measure on one stack with one router."""
    names = [f"soaked-{number}" for number in range(options.deployments)]
    async with AsyncExitStack() as opened:
        soaking = [
            _Soaking(line, await opened.enter_async_context(connected_doors(name, line.addresses)), name)
            for name in names
        ]
        await asyncio.gather(*(one.go_live() for one in soaking))
        before = await _counters(line, names, idle=False)
        began = time.monotonic()
        soaked = await asyncio.gather(*(one.run(options) for one in soaking))
        seconds = time.monotonic() - began
        counted = await _counters(line, names, idle=True) - before
    return _grids(soaked, counted, options, seconds)


def _grids(soaked: Sequence[Soaked], counted: RouterCounters, options: SoakOptions, seconds: float) -> list[Grid]:
    switches = [switch for one in soaked for switch in one.switches]
    records = [record for one in soaked for record in one.records]
    everything = tally(records, ())
    wrong = sum(wrong_revisions(one.records, one.switches) for one in soaked)
    bad = everything.failed + everything.truncated + wrong + sum(one.requests_cut for one in soaked)
    differences = counter_differences(everything, counted, others=False)
    totals: dict[str, Cell] = {
        "switches": len(switches),
        "of them back": sum(switch.kind is SwitchKind.SWITCH_BACK for switch in switches),
        "deployments side by side": options.deployments,
        "seconds under load": round(seconds),
        "requests": everything.requests,
        "of them streams": everything.streams,
        "sent late": everything.late,
        "failed": everything.failed,
        "streams truncated": everything.truncated,
        "answered by the wrong revision": wrong,
        "requests cut": sum(one.requests_cut for one in soaked),
        "retries by the router": counted.retries,
        "differences to the router's counters": "; ".join(differences) or "none",
        "share of bad switches, at most": _bound(bad, len(switches)),
        "share of bad requests, at most": _bound(bad, everything.requests),
    }
    steps = {
        "decided until committed": [switch.committed_ns - switch.decided_ns for switch in switches],
        "committed until the last acknowledgement": [
            switch.acknowledged_ns - switch.committed_ns for switch in switches
        ],
    }
    return [
        Grid(
            title="Switches under load",
            rows=tuple({"what": what, "figure": value} for what, value in totals.items()),
        ),
        Grid(
            title="What the switches took",
            rows=tuple(
                {"step": step, "switches": len(taken), **spread([one / NS_PER_MS for one in taken])}
                for step, taken in steps.items()
            ),
        ),
    ]


def _bound(bad: int, trials: int) -> str:
    """Say what none bad of so many tells of the share of bad ones."""
    if bad:
        return "not bounded: see above"
    return f"{bound_of_none(trials):.2g} with {CONFIDENCE:.0%} confidence"


async def measure(chosen: argparse.Namespace) -> list[Grid]:
    """Measure on a stack of its own."""
    options = SoakOptions(
        switches=chosen.switches,
        deployments=chosen.deployments,
        requests_per_second=chosen.requests_per_second,
        streams=chosen.streams,
        stream_duration=timedelta(seconds=chosen.stream_seconds),
    )
    async with running_line() as line:
        return await measure_on(line, options)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--switches", type=int, default=300, help="in all")
    parser.add_argument("--deployments", type=int, default=3, help="switched side by side")
    parser.add_argument("--requests-per-second", type=float, default=40.0, help="of each deployment")
    parser.add_argument("--streams", type=int, default=6, help="open at any time, of each deployment")
    parser.add_argument("--stream-seconds", type=float, default=3.0)


if __name__ == "__main__":
    run_bench("soak", __doc__, declare, measure)
