"""Load reports count each request of each deployment, whatever drains beside it, on the real Envoy."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from celadon.domain.decisions.publication import SetRole
from celadon.gateway import load_reports
from celadon.gateway.load_reports import LoadReport
from celadon.gateway.protobuf import message_class
from celadon.gateway.routing import Routing
from tests.gateway.conftest import Gateway, serving
from tests.gateway.replica import Replica
from tests.gateway.router import Router, running_router, until
from tests.gateway.traffic import BLUE, GREEN, after_switch, before_switch, publication

pytestmark = pytest.mark.parts

ENOUGH = 20


class Issued:
    """Requests that a router reports to have sent on, by cluster."""

    def __init__(self) -> None:
        """Begin with none."""
        self.by_cluster: Counter[str] = Counter()

    def read(self, wire: bytes) -> None:
        """Add what a report has."""
        report: Any = message_class("envoy.service.load_stats.v3.LoadStatsRequest").FromString(wire)
        for cluster in report.cluster_stats:
            for locality in cluster.upstream_locality_stats:
                self.by_cluster[cluster.cluster_name] += locality.total_issued_requests


class Client:
    """Sends one request after the other to a deployment beside the one that drains."""

    def __init__(self, router: Router) -> None:
        """Begin with none sent."""
        self._router = router
        self.answered = 0

    async def send(self, stop: asyncio.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            assert (await self._router.ask(host="beside")).status == 200
            self.answered += 1

    async def more(self) -> None:
        """Wait for some more answers."""
        before = self.answered
        await until(lambda: self.answered >= before + ENOUGH)


@pytest.fixture
def issued(monkeypatch: pytest.MonkeyPatch) -> Issued:
    """Return what routers of gateways that are made from now on report."""
    made, parse = Issued(), load_reports.parse_report

    def read_and_parse(wire: bytes) -> LoadReport:
        made.read(wire)
        return parse(wire)

    monkeypatch.setattr(load_reports, "parse_report", read_and_parse)
    return made


async def drain_twice(gateway: Gateway, blue: Replica, green: Replica, client: Client) -> None:
    """Let chat's blue drain until it is empty, then its green; requests to the other deployment go on meanwhile."""
    back = {(BLUE, SetRole.LIVE): [blue.port], (GREEN, SetRole.DRAINING): [green.port]}
    for drains, told in ((BLUE, after_switch(2, [blue.port], [green.port])), (GREEN, publication(3, back))):
        await client.more()
        await gateway.tell(told)
        await until(lambda drains=drains: drains in gateway.heard.loads)
        await client.more()
        await until(lambda drains=drains: gateway.heard.loads[drains].zero_reports >= 2)
        await client.more()


async def test_counts_of_a_deployment_survive_the_begin_and_the_end_of_anothers_drain(
    ports: Routing,
    blue: Replica,
    green: Replica,
    issued: Issued,
    tmp_path: Any,
) -> None:
    assert ports.preview is not None
    loaded = [
        before_switch(1, [blue.port], [green.port]),
        publication(1, {(BLUE, SetRole.LIVE): [blue.port]}, "beside"),
    ]
    async with (
        serving(loaded, ports) as gateway,
        running_router(tmp_path, gateway.address, ports.live.port, ports.preview.port) as router,
    ):
        await until(lambda: gateway.heard.epoch() == gateway.heard.epoch("beside") == 1)
        await until(router.listens)
        # A cluster that is new to a router is counted from the router's first report on.
        received = gateway.metrics.registry.get_sample_value
        await until(lambda: (received("celadon_gateway_load_reports_total") or 0) >= 2)
        client, stop = Client(router), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(client.send(stop))
            await drain_twice(gateway, blue, green, client)
            stop.set()
        await until(lambda: issued.by_cluster["beside"] >= client.answered, 20)
        assert issued.by_cluster["beside"] == client.answered
