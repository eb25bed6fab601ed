"""Which routers there are to people, and forgetting one."""

import json

import pytest

from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import Epoch
from celadon.domain.language.states import Channel
from celadon.table.core.acknowledgements import read_acknowledgement
from celadon.table.core.author import Author
from celadon.table.core.listen import ACKS_CHANNEL, Listener
from celadon.table.read.router_list import list_routers
from celadon.table.records.changes import Forgotten
from celadon.table.records.routers import BehindLine, RouterLine, RouterState
from celadon.table.routers.reports import router_acknowledged, router_connected, router_disconnected
from celadon.table.routers.router_admin import forget_router
from tests.table.listening import hear_out, heard, until_connected
from tests.table.rows import Rows

ANN = Author(by="ann", door=Channel.CLI, reason="scaled in")


async def _line(rows: Rows, node: str = "edge-1") -> RouterLine:
    async with rows.table.transaction() as tx:
        return next(one for one in (await list_routers(tx)).routers if one.router == node)


async def _forget(rows: Rows, node: str = "edge-1", *, force: bool = False) -> Forgotten:
    async with rows.table.transaction() as tx:
        return await forget_router(tx, node, author=ANN, force=force)


async def _end_stream(rows: Rows, node: str = "edge-1") -> None:
    row = (await rows.rows("select gateway, stream_started_at from routers where node = :node", node=node))[0]
    async with rows.table.transaction() as tx:
        await router_disconnected(tx, node, row["gateway"], row["stream_started_at"])


async def _silent(rows: Rows, epoch: int) -> tuple[str, ...]:
    async with rows.table.transaction() as tx:
        return (await read_acknowledgement(tx, "chat", epoch)).silent


async def test_a_router_that_has_served_nothing_is_new(rows: Rows) -> None:
    await rows.connect("edge-1")

    assert (await _line(rows)).state is RouterState.NEW


async def test_a_router_is_behind_where_it_does_not_serve_the_present_epoch(rows: Rows) -> None:
    await rows.live()
    epoch = await rows.value("select epoch from deployments")
    await rows.router("edge-1", epoch)
    await rows.router("edge-2", 1)

    assert ((await _line(rows)).state, (await _line(rows)).behind) == (RouterState.LIVE, ())
    assert (await _line(rows, "edge-2")).behind == (BehindLine(deployment="chat", epoch=epoch, serves=Epoch(1)),)


@pytest.mark.parametrize("gateway_died", [False, True])
async def test_a_router_whose_stream_is_down_is_cut_off_and_waited_for(rows: Rows, *, gateway_died: bool) -> None:
    await rows.live()
    await rows.router("edge-1", 1)
    if gateway_died:
        await rows.sql("update routers set seen_at = clock_timestamp() - interval '11 seconds'")
    else:
        await _end_stream(rows)

    assert (await _line(rows)).state is RouterState.CUT_OFF
    assert await _silent(rows, 1000) == ("edge-1",)


async def test_a_router_that_was_not_seen_for_its_lease_is_gone(rows: Rows) -> None:
    await rows.live()
    await rows.router("edge-1", 1)
    await rows.sql("update routers set seen_at = clock_timestamp() - interval '10 minutes'")

    assert (await _line(rows)).state is RouterState.GONE
    assert await _silent(rows, 1000) == ()


async def test_the_end_of_an_older_stream_is_no_end_of_the_newest(rows: Rows) -> None:
    await rows.enrol("edge-1")
    async with rows.table.transaction() as tx:
        older = await router_connected(tx, "edge-1", "gateway-a")
        assert older is not None
        await router_connected(tx, "edge-1", "gateway-b")
        await router_disconnected(tx, "edge-1", "gateway-a", older)

    line = await _line(rows)
    assert (line.gateway, line.stream_is_up) == ("gateway-b", True)


async def test_nobody_waits_for_a_forgotten_router_and_the_audit_log_tells_who_forgot_it(rows: Rows) -> None:
    await rows.live()
    await rows.begin("run-2", deployment="never-served-by-it")
    await rows.router("edge-1", 1)
    await _end_stream(rows)

    assert await _forget(rows) == Forgotten(router="edge-1", was=RouterState.CUT_OFF, deployments=("chat",))

    assert await _silent(rows, 1000) == ()
    assert (await _line(rows)).state is RouterState.GONE
    (event,) = await rows.rows("select * from rollout_events where kind = 'router_forgotten'")
    assert (event["deployment"], event["actor"], event["door"], event["reason"], event["evidence"]) == (
        "chat",
        "ann",
        "cli",
        "scaled in",
        {"router": "edge-1", "was": "cut_off"},
    )


async def test_who_waits_is_woken(rows: Rows) -> None:
    await rows.live()
    await rows.router("edge-1", 1)
    await _end_stream(rows)
    async with Listener(rows.table.database_url, "celadon-test") as listener, listener.subscribe(ACKS_CHANNEL) as news:
        await until_connected(listener)
        await hear_out(rows.table, ACKS_CHANNEL, news)
        await _forget(rows)
        payloads = await heard(news, 1)

    assert [json.loads(payload) for payload in payloads] == [{"deployment": "*", "router": "edge-1"}]


async def test_forgetting_twice_is_told_once(rows: Rows) -> None:
    await rows.live()
    await rows.router("edge-1", 1)
    await _end_stream(rows)
    await _forget(rows)

    assert await _forget(rows) == Forgotten(router="edge-1", was=RouterState.GONE, deployments=())
    assert await rows.value("select count(*) from rollout_events where kind = 'router_forgotten'") == 1


async def test_an_unknown_router_is_refused_with_those_that_are_known(rows: Rows) -> None:
    await rows.router("edge-1", 1)

    with pytest.raises(RefusedError, match="there are: edge-1") as refused:
        await _forget(rows, "edge-7")

    assert refused.value.refusal.code is RefusalCode.NO_SUCH_ROUTER


async def test_a_connected_router_is_forgotten_only_by_force(rows: Rows) -> None:
    await rows.live()
    await rows.router("edge-1", 1)

    with pytest.raises(RefusedError, match="stop it first") as refused:
        await _forget(rows)
    assert refused.value.refusal.code is RefusalCode.ROUTER_CONNECTED
    assert await _silent(rows, 1000) == ("edge-1",)

    assert (await _forget(rows, force=True)).was is RouterState.LIVE
    assert await _silent(rows, 1000) == ()


@pytest.mark.parametrize("how", ["connects", "acknowledges"])
async def test_a_forgotten_router_changes_nothing_until_it_is_enrolled_again(rows: Rows, how: str) -> None:
    await rows.live()
    await rows.router("edge-1", 1)
    await _forget(rows, force=True)
    forgotten = await rows.dump()

    async def comes_back() -> None:
        async with rows.table.transaction() as tx:
            if how == "connects":
                await router_connected(tx, "edge-1", "gateway-b")
            else:
                await router_acknowledged(tx, "edge-1", {"chat": Epoch(2)})

    await comes_back()
    assert await rows.dump() == forgotten
    assert await _silent(rows, 1000) == ()

    await rows.enrol("edge-1")
    assert (await _line(rows)).state is RouterState.ENROLLED
    await comes_back()
    assert await _silent(rows, 1000) == ("edge-1",)


async def test_a_router_that_never_connected_can_be_forgotten(rows: Rows) -> None:
    await rows.enrol("edge-1")
    assert (await _line(rows)).state is RouterState.ENROLLED

    assert await _forget(rows) == Forgotten(router="edge-1", was=RouterState.ENROLLED, deployments=())

    assert ((await _line(rows)).state, (await _line(rows)).enrolled_at) == (RouterState.GONE, None)
