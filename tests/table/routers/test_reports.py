"""What gateways write down of routers, and which routers serve an epoch."""

import asyncio
import json
from datetime import timedelta

import pytest

from celadon.domain.language.names import Epoch, RouteSetId
from celadon.table.core.acknowledgements import Acknowledgement, read_acknowledgement
from celadon.table.core.listen import ACKS_CHANNEL, ALL_DEPLOYMENTS, Listener
from celadon.table.core.locks import lock_deployment
from celadon.table.routers.reports import (
    SetLoad,
    record_load,
    router_acknowledged,
    router_connected,
    router_refused,
    router_seen,
)
from tests.table.listening import hear_out, heard, until_connected
from tests.table.locks import DEADLINE_SECONDS
from tests.table.rows import Rows


async def acknowledgement(rows: Rows, epoch: int) -> Acknowledgement:
    async with rows.table.transaction() as tx:
        return await read_acknowledgement(tx, "chat", epoch)


async def live(rows: Rows) -> tuple[str, ...]:
    """Return the routers that count."""
    found = await acknowledgement(rows, 0)
    return tuple(sorted((*found.acknowledged_by, *found.silent)))


# Acknowledgements.


@pytest.mark.parametrize(("served", "complete"), [(4, False), (5, True), (6, True)])
async def test_a_router_serves_an_epoch_when_it_serves_that_or_a_later_one(
    rows: Rows,
    served: int,
    *,
    complete: bool,
) -> None:
    await rows.begin()
    await rows.router("edge-1", served)

    assert (await acknowledgement(rows, 5)).complete is complete


async def test_routers_are_divided_by_what_they_serve(rows: Rows) -> None:
    await rows.begin()
    await rows.router("edge-2", 5)
    await rows.router("edge-1", 5)
    await rows.router("edge-3", 4)

    assert await acknowledgement(rows, 5) == Acknowledgement(acknowledged_by=("edge-1", "edge-2"), silent=("edge-3",))


async def test_without_routers_nobody_is_silent(rows: Rows) -> None:
    assert (await acknowledgement(rows, 5)).complete


async def test_a_router_that_serves_other_deployments_is_silent_about_this_one(rows: Rows) -> None:
    await rows.begin()
    await rows.begin("run-2", deployment="other")
    await rows.router("edge-1", 9, "other")

    assert (await acknowledgement(rows, 1)).silent == ("edge-1",)


async def test_an_older_acknowledgement_changes_nothing(rows: Rows) -> None:
    await rows.begin()
    await rows.router("edge-1", 5)

    await rows.acknowledge("edge-1", 4)

    assert await rows.value("select epoch from router_acks") == 5


async def test_acknowledgements_of_deployments_that_are_unknown_are_left_out(rows: Rows) -> None:
    await rows.begin()
    await rows.connect("edge-1")

    async with rows.table.transaction() as tx:
        await router_acknowledged(tx, "edge-1", {"chat": Epoch(1), "gone": Epoch(7)})

    [row] = await rows.rows("select deployment, epoch from router_acks")
    assert (row["deployment"], row["epoch"]) == ("chat", 1)


async def test_no_acknowledgement_is_none(rows: Rows) -> None:
    await rows.connect("edge-1")

    async with rows.table.transaction() as tx:
        await router_acknowledged(tx, "edge-1", {})

    assert await live(rows) == ()


async def test_thousands_of_deployments_are_acknowledged_at_once(rows: Rows) -> None:
    await rows.sql(
        "insert into deployments (name, replicas, lifecycle) "
        "select 'chat-' || number, 1, 'ready' from generate_series(1, 2500) as number",
    )
    await rows.connect("edge-1")

    async with rows.table.transaction() as tx:
        await router_acknowledged(tx, "edge-1", {f"chat-{number}": Epoch(3) for number in range(1, 2501)})

    assert await rows.value("select count(*) from router_acks where epoch = 3") == 2500


async def test_an_acknowledgement_does_not_wait_for_a_switch(rows: Rows) -> None:
    await rows.begin()
    await rows.connect("edge-1")

    async with rows.table.transaction() as switching:
        await lock_deployment(switching, "chat")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await rows.acknowledge("edge-1", 1)


# Who is live.


async def test_a_router_is_live_from_its_first_acknowledgement(rows: Rows) -> None:
    await rows.begin()
    await rows.connect("edge-1")
    assert await live(rows) == ()

    await rows.acknowledge("edge-1", 0)
    assert await live(rows) == ("edge-1",)


@pytest.mark.parametrize(("unseen", "counts"), [("9 minutes 50 seconds", True), ("10 minutes 1 second", False)])
async def test_a_router_is_live_until_nobody_saw_it_for_ten_minutes(rows: Rows, unseen: str, *, counts: bool) -> None:
    await rows.begin()
    await rows.router("edge-1", 0)

    await rows.sql(f"update routers set seen_at = now() - interval '{unseen}'")  # noqa: S608

    assert await live(rows) == (("edge-1",) if counts else ())


async def test_a_router_whose_stream_is_up_is_seen(rows: Rows) -> None:
    await rows.begin()
    await rows.router("edge-1", 0)
    await rows.router("edge-2", 0)
    await rows.sql("update routers set seen_at = now() - interval '1 hour'")

    async with rows.table.transaction() as tx:
        await router_seen(tx, ["edge-1"])

    assert await live(rows) == ("edge-1",)


async def test_a_router_that_was_gone_is_one_again_when_it_connects(rows: Rows) -> None:
    await rows.begin()
    await rows.router("edge-1", 0)
    await rows.sql("update routers set gone_at = now()")
    assert await live(rows) == ()

    await rows.connect("edge-1")

    assert await live(rows) == ("edge-1",)


async def test_a_router_that_was_forgotten_but_serves_is_not_gone(rows: Rows) -> None:
    await rows.begin()
    await rows.router("edge-1", 0)
    await rows.sql("update routers set gone_at = now()")

    await rows.acknowledge("edge-1", 1)

    assert await live(rows) == ("edge-1",)


async def test_the_newest_stream_of_a_router_wins(rows: Rows) -> None:
    await rows.enrol("edge-1")
    async with rows.table.transaction() as tx:
        await router_connected(tx, "edge-1", "gateway-2")
        await router_connected(tx, "edge-1", "gateway-1", timedelta(seconds=1))

    assert await rows.value("select gateway from routers") == "gateway-2"


async def test_a_refusal_is_kept_until_the_next_acknowledgement(rows: Rows) -> None:
    await rows.begin()
    await rows.router("edge-1", 1)

    async with rows.table.transaction() as tx:
        await router_refused(tx, "edge-1", "unknown cluster")
    assert await rows.value("select nack from routers") == "unknown cluster"
    assert (await acknowledgement(rows, 2)).silent == ("edge-1",)

    await rows.acknowledge("edge-1", 2)
    assert await rows.value("select nack from routers") == ""


# Who is woken.


@pytest.mark.parametrize(("deployments", "woken"), [(2, ["chat-1", "chat-2"]), (21, [ALL_DEPLOYMENTS])])
async def test_who_waits_for_an_acknowledgement_is_woken(rows: Rows, deployments: int, woken: list[str]) -> None:
    await rows.sql(
        "insert into deployments (name, replicas, lifecycle) "
        "select 'chat-' || number, 1, 'ready' from generate_series(1, :deployments) as number",
        deployments=deployments,
    )
    await rows.connect("edge-1")
    async with (
        Listener(rows.table.database_url, "celadon-tests") as listener,
        listener.subscribe(ACKS_CHANNEL) as subscription,
    ):
        await until_connected(listener)
        await hear_out(rows.table, ACKS_CHANNEL, subscription)

        async with rows.table.transaction() as tx:
            await router_acknowledged(
                tx,
                "edge-1",
                {f"chat-{number}": Epoch(1) for number in range(1, deployments + 1)},
            )

        payloads = [json.loads(payload) for payload in await heard(subscription, len(woken))]

    assert [payload["deployment"] for payload in payloads] == woken
    assert {payload["router"] for payload in payloads} == {"edge-1"}


# Load.


async def test_load_replaces_what_the_router_reported_before(rows: Rows) -> None:
    opened = await rows.open()
    await rows.connect("edge-1")

    for running, zeros in ((5, 0), (0, 1), (0, 2)):
        async with rows.table.transaction() as tx:
            await record_load(
                tx, "edge-1", [SetLoad(route_set=opened.green, epoch=Epoch(1), running=running, zero_reports=zeros)]
            )

    [row] = await rows.rows("select running, zero_reports from router_load")
    assert (row["running"], row["zero_reports"]) == (0, 2)


async def test_load_of_a_set_that_is_unknown_is_left_out(rows: Rows) -> None:
    opened = await rows.open()
    await rows.connect("edge-1")

    async with rows.table.transaction() as tx:
        await record_load(
            tx,
            "edge-1",
            [
                SetLoad(route_set=opened.green, epoch=Epoch(1), running=1, zero_reports=0),
                SetLoad(route_set=RouteSetId(1_000_000), epoch=Epoch(1), running=2, zero_reports=0),
            ],
        )

    assert await rows.value("select sum(running) from router_load") == 1


async def test_routers_report_load_on_their_own(rows: Rows) -> None:
    opened = await rows.open()
    for node, running in (("edge-1", 1), ("edge-2", 2)):
        await rows.connect(node)
        async with rows.table.transaction() as tx:
            await record_load(
                tx, node, [SetLoad(route_set=opened.green, epoch=Epoch(1), running=running, zero_reports=0)]
            )

    assert await rows.value("select sum(running) from router_load") == 3
