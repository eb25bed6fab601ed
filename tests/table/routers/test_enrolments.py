"""Which routers are enrolled: what gateways read, and what is written of any other."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import DBAPIError

from celadon.domain.decisions.enrolment import Enrolment
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.names import Epoch, RouterNode, RouteSetId
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.core.listen import ENROLMENTS_CHANNEL, Listener
from celadon.table.routers.enrolments import read_enrolments
from celadon.table.routers.reports import (
    SetLoad,
    record_load,
    router_acknowledged,
    router_connected,
    router_refused,
    router_seen,
)
from celadon.table.routers.router_admin import forget_router
from tests.table.listening import hear_out, heard, until_connected
from tests.table.rows import Rows

EDGE = RouterNode("edge-1")
IDENTITY = "spiffe://celadon/router/edge-1"


async def enrolments(rows: Rows) -> dict[RouterNode, Enrolment]:
    async with rows.table.transaction() as tx:
        return await read_enrolments(tx)


async def forget(rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        await forget_router(tx, EDGE, author=Author(by="ben", door=Channel.CLI, reason="stolen"), force=True)


async def test_of_a_router_on_a_socket_only_the_name_is_known(rows: Rows) -> None:
    assert await rows.enrol(EDGE)

    assert await enrolments(rows) == {EDGE: Enrolment(node=EDGE, identity=None)}


async def test_the_newest_certificate_and_the_one_before_count(rows: Rows) -> None:
    assert [await rows.enrol(EDGE, IDENTITY, serial) for serial in ("a", "b", "c")] == [True, False, False]

    assert (await enrolments(rows))[EDGE].serials == ("c", "b")


async def test_certificates_of_others_count_by_their_name_alone(rows: Rows) -> None:
    await rows.enrol(EDGE, IDENTITY, "a")
    await rows.enrol(EDGE, "edge-1.example.com")

    assert (await enrolments(rows))[EDGE] == Enrolment(node=EDGE, identity="edge-1.example.com")


async def test_an_identity_is_of_one_router(rows: Rows) -> None:
    await rows.enrol(EDGE, IDENTITY)

    with pytest.raises(RefusedError, match="router edge-1 is enrolled with the identity") as refused:
        await rows.enrol("edge-2", IDENTITY)
    assert refused.value.refusal.code is RefusalCode.IDENTITY_TAKEN
    with pytest.raises(DBAPIError, match="uq_routers_identity"):
        await rows.sql(f"insert into routers (node, enrolled_at, identity) values ('x', now(), '{IDENTITY}')")  # noqa: S608
    assert list(await enrolments(rows)) == [EDGE]


async def test_a_forgotten_router_has_neither_certificate_nor_enrolment(rows: Rows) -> None:
    await rows.enrol(EDGE, IDENTITY, "a")
    await forget(rows)
    assert await enrolments(rows) == {}

    await rows.enrol(EDGE, IDENTITY, "b")
    assert (await enrolments(rows))[EDGE].serials == ("b",)


async def test_who_enrolled_renewed_and_forgot_a_router_is_in_an_audit_log_that_nobody_changes(rows: Rows) -> None:
    await rows.enrol(EDGE, IDENTITY, "a")
    await rows.enrol(EDGE, IDENTITY, "b")
    await forget(rows)

    events = await rows.rows("select * from router_events order by id")
    assert [(one["kind"], one["actor"], one["reason"]) for one in events] == [
        ("enrolled", "ann", "new site"),
        ("renewed", "ann", "new site"),
        ("forgotten", "ben", "stolen"),
    ]
    assert events[0]["evidence"] == {"identity": IDENTITY, "serial": "a"}
    for statement in ("delete from router_events", "update router_events set actor = 'eve'"):
        with pytest.raises(DBAPIError, match="append-only"):
            await rows.sql(statement)


async def test_gateways_hear_of_an_enrolment_and_of_its_end(rows: Rows) -> None:
    async with (
        Listener(rows.table.database_url, "celadon-test") as listener,
        listener.subscribe(ENROLMENTS_CHANNEL) as news,
    ):
        await until_connected(listener)
        await hear_out(rows.table, ENROLMENTS_CHANNEL, news)
        await rows.enrol(EDGE)
        assert await heard(news, 1) == [EDGE]
        await forget(rows)
        assert await heard(news, 1) == [EDGE]


async def test_what_is_said_of_a_router_that_nobody_enrolled_changes_no_row(rows: Rows) -> None:
    await rows.live()
    route_set = RouteSetId(await rows.value("select live_set from deployments"))
    before = await rows.dump()

    async with rows.table.transaction() as tx:
        await router_connected(tx, "stranger", "gateway-1")
        await router_acknowledged(tx, "stranger", {"chat": Epoch(1)})
        await router_refused(tx, "stranger", "no")
        await router_seen(tx, ["stranger"])
        await record_load(tx, "stranger", [SetLoad(route_set=route_set, epoch=Epoch(1), running=0, zero_reports=9)])

    assert await rows.dump() == before


async def test_a_forgotten_routers_loads_are_not_written(rows: Rows) -> None:
    await rows.live()
    route_set = RouteSetId(await rows.value("select live_set from deployments"))
    await rows.router(EDGE, 1)
    await forget(rows)

    async with rows.table.transaction() as tx:
        await record_load(tx, EDGE, [SetLoad(route_set=route_set, epoch=Epoch(1), running=0, zero_reports=9)])

    assert await rows.value("select count(*) from router_load") == 0


async def test_the_end_of_a_certificate_of_others_is_known_once_it_was_shown(rows: Rows) -> None:
    expires_at = datetime(2027, 1, 1, tzinfo=UTC)
    await rows.enrol(EDGE, IDENTITY)

    async with rows.table.transaction() as tx:
        await router_connected(tx, EDGE, "gateway-1", certificate_expires_at=expires_at)

    assert await rows.value("select expires_at from routers") == expires_at


async def test_a_row_without_an_enrolment_has_nothing_of_one(rows: Rows) -> None:
    await rows.enrol(EDGE, IDENTITY, "a")

    with pytest.raises(DBAPIError, match="ck_routers_enrolment"):
        await rows.sql("update routers set enrolled_at = null")
