"""From a real table to publications: a deployment that cannot be read keeps back no other."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from celadon.domain.decisions.publication import Publication
from celadon.domain.decisions.reachable import Reach
from celadon.domain.language.names import DeploymentName
from celadon.gateway.feed import PublicationFeed
from celadon.gateway.metrics import GatewayMetrics
from celadon.gateway.server import XdsServer
from celadon.table.core.engine import Table
from celadon.table.core.listen import ROUTES_CHANNEL, Listener
from tests.gateway.conftest import Everybody, Heard, free_port
from tests.gateway.router import until
from tests.gateway.traffic import routing
from tests.table.listening import until_connected
from tests.table.rows import Rows

pytestmark = pytest.mark.parts

DEPLOYMENTS = ("chat", "code")


@pytest_asyncio.fixture(loop_scope="session")
async def rows(table: Table) -> AsyncIterator[Rows]:
    """Return tables of two deployments, in which a newer version may write a state that this one does not know."""
    made = await Rows.with_keeper(table)
    for name in DEPLOYMENTS:
        await made.ready(f"run-{name}", deployment=name)
    of_state = "from pg_constraint where conrelid = 'route_sets'::regclass and conname like '%route_set_state'"
    [name] = [row["conname"] for row in await made.rows(f"select conname {of_state}")]
    rule = await made.value(f"select pg_get_constraintdef(oid) {of_state}")
    await made.sql(f"alter table route_sets drop constraint {name}")
    yield made
    await _mend(made)
    await made.sql(f"alter table route_sets add constraint {name} {rule}")


async def _spoil(rows: Rows) -> None:
    """Let a newer version have written what this one does not know."""
    await rows.sql("update route_sets set state = 'novel' where deployment = 'chat'")
    await rows.sql("update deployments set epoch = epoch + 1")


async def _mend(rows: Rows) -> None:
    await rows.sql("update route_sets set state = 'open' where deployment = 'chat'")


def _faults(metrics: GatewayMetrics) -> float:
    return metrics.registry.get_sample_value("celadon_gateway_faults_total", {"part": "deployment"}) or 0.0


async def test_a_deployment_that_cannot_be_read_is_left_out_at_the_start(rows: Rows) -> None:
    await _spoil(rows)
    metrics = GatewayMetrics()
    feed = PublicationFeed(rows.table, metrics, "gateway", Reach())
    with capture_logs() as logs:
        publications = await feed.load()

    assert [one.deployment for one in publications] == ["code"]
    assert _faults(metrics) == 1
    [told] = [one for one in logs if one["event"] == "deployment_left_out"]
    assert told["deployment"] == "chat"
    assert "novel" in told["why"]


async def test_a_deployment_that_cannot_be_read_keeps_back_no_other_and_is_tried_again(rows: Rows) -> None:
    metrics, heard = GatewayMetrics(), Heard()
    feed = PublicationFeed(rows.table, metrics, "gateway", Reach())
    first = {one.deployment: one.epoch for one in await feed.load()}
    told = dict(first)
    server = XdsServer(routing(free_port(), free_port()), (), heard, metrics, Everybody())
    publish = server.publish

    def noting(publications: list[Publication], withdrawn: list[DeploymentName]) -> None:
        told.update({one.deployment: one.epoch for one in publications})
        for name in withdrawn:
            del told[name]
        publish(publications, withdrawn)

    server.publish = noting  # type: ignore[method-assign, assignment]  # what the server is told is the subject
    async with (
        Listener(rows.table.database_url, "celadon-feed-test") as listener,
        listener.subscribe(ROUTES_CHANNEL) as news,
    ):
        await until_connected(listener)
        following = asyncio.create_task(feed.follow(news, server))
        try:
            await _spoil(rows)
            with capture_logs() as logs:
                # A router that connects waits for the whole table, though not for what nobody can read.
                async with asyncio.timeout(60):
                    await feed.catch_up(server, patient=True)
                assert told == {"chat": first["chat"], "code": first["code"] + 1}
                await rows.sql("update deployments set epoch = epoch + 1")
                news.put("")
                await until(lambda: told["code"] == first["code"] + 2)
            assert sum(one["event"] == "deployment_left_out" for one in logs) == 1
            assert told["chat"] == first["chat"]

            await _mend(rows)
            news.put("")
            await until(lambda: told["chat"] == first["chat"] + 2)
            counted = _faults(metrics)
            assert counted >= 2
            await feed.catch_up(server, patient=True)
            assert _faults(metrics) == counted
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
