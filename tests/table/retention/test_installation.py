"""What of an installation goes when it has had its time, and whose turn it is to prune."""

import asyncio

import pytest
from sqlalchemy.exc import DBAPIError

from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel
from celadon.table.core.author import Author
from celadon.table.retention.installation import claim_turn
from celadon.table.rollouts.default_policy import set_defaults
from tests.table.retention.aging import DAY, delete_while_pruning, let_pass, prune_all
from tests.table.rows import Rows

ANN = Author(by="ann", door=Channel.CLI)
INSERTED = """
insert into api_tokens (id, name, secret_sha256, roles, created_by, expires_at, revoked_at)
values (:name, :name, repeat('a', 64), '{viewer}', 'ann', :expires, :revoked)
"""


async def names(rows: Rows, query: str) -> list[str]:
    return sorted(str(value) for one in await rows.rows(query) for value in one.values())


async def test_routers_that_cannot_come_back_go_with_what_they_said(rows: Rows) -> None:
    await rows.live()
    for node in ("expired", "enrolled", "forgotten", "seen"):
        await rows.router(node, 1)
    await rows.sql("update routers set identity = node, expires_at = now() + interval '1 day' where node = 'expired'")
    await rows.sql("update routers set enrolled_at = null, identity = null, gone_at = now() where node = 'forgotten'")
    await let_pass(rows.table, 100 * DAY)
    await rows.sql("update routers set seen_at = now() where node = 'seen'")

    await prune_all(rows)

    assert await names(rows, "select node from routers") == ["enrolled", "seen"]
    assert await names(rows, "select router from router_acks") == ["enrolled", "seen"]


async def test_old_lines_about_enrolments_go_and_young_ones_never(rows: Rows) -> None:
    await rows.enrol("old")
    await let_pass(rows.table, 100 * DAY)
    await rows.enrol("young")

    await prune_all(rows)

    assert await names(rows, "select router from router_events") == ["young"]
    with pytest.raises(DBAPIError, match="keeps every line for an hour"):
        await delete_while_pruning(rows, "delete from router_events")


async def test_tokens_that_are_void_for_long_go_with_their_sessions(rows: Rows) -> None:
    now = await rows.value("select now()")
    for name, expires, revoked in (
        ("valid", None, None),
        ("later", now + 400 * DAY, None),
        ("expired", now, None),
        ("revoked", now + 400 * DAY, now),
    ):
        await rows.sql(INSERTED, name=name, expires=expires, revoked=revoked)
    await rows.sql(
        """
        insert into console_sessions (id, secret_sha256, name, issuer, roles, token, expires_at)
        values ('1', repeat('b', 64), 'ann', '', '{viewer}', 'revoked', now())
        """
    )
    await let_pass(rows.table, 100 * DAY)

    await prune_all(rows)

    assert await names(rows, "select name from api_tokens") == ["later", "valid"]
    assert await rows.value("select count(*) from console_sessions") == 0


async def test_logins_and_answered_requests_go_a_day_later(rows: Rows) -> None:
    await rows.sql("insert into console_logins values ('1', 'ann', '{viewer}', '{}', 'x', now(), now(), null)")
    await rows.sql(
        "insert into api_requests (principal, request_id, fingerprint, meant) values ('ann', '1', 'x', '{}')"
    )
    assert (await prune_all(rows)).total() == 0

    await let_pass(rows.table, 2 * DAY)

    assert await prune_all(rows) == {"console_logins": 1, "api_requests": 1}


async def test_loads_of_what_is_gone_go(rows: Rows) -> None:
    live = await rows.live()
    await rows.router("edge-1", 1)
    await rows.sql("insert into router_load values ('edge-1', :set, 0, 0, now(), 2)", set=live.green)
    await rows.sql("insert into member_load values ('edge-1', :route, 1, 0, 2, now())", route=live.routes[0])
    await let_pass(rows.table, 2 * DAY)
    await rows.sql("update routers set seen_at = now()")
    assert (await prune_all(rows)).total() == 0

    await rows.sql("update routes set status = 'terminated', ended_at = now() - interval '2 hours'")
    await rows.sql("update deployments set live_set = null")
    await rows.sql("update route_sets set state = 'gone', gone_at = now() - interval '2 hours'")

    assert await prune_all(rows) == {"router_load": 1, "member_load": 1}


async def test_samples_that_somebody_sent_go_unless_one_still_waits(rows: Rows) -> None:
    for state in ("dead", "waiting"):
        await rows.sql(
            """
            with told as (insert into notifications (kind, at, notice) values ('test', now(), '{}') returning id)
            insert into deliveries (notification, target, state, due_at, next_attempt_at)
            select id, 'team', :state, now(), now() from told
            """,
            state=state,
        )
    await let_pass(rows.table, 100 * DAY)

    assert await prune_all(rows) == {"deliveries": 1, "notifications": 1}
    assert await names(rows, "select state from deliveries") == ["waiting"]


async def test_one_keeper_prunes_an_hour(rows: Rows) -> None:
    async def claim() -> bool:
        async with rows.table.transaction() as tx:
            return await claim_turn(tx)

    assert sorted(await asyncio.gather(claim(), claim(), claim())) == [False, False, True]
    await let_pass(rows.table, DAY / 24)
    assert await claim()
    assert not await claim()


async def test_the_installations_default_says_how_long_what_belongs_to_no_deployment_is_kept(rows: Rows) -> None:
    for given in ({"bake": "1m"}, {"event_retention": "200d"}):
        async with rows.table.transaction() as tx:
            await set_defaults(tx, BlueGreenPolicy.model_validate(given, strict=False), (), ANN, lambda *_: None)
    await rows.enrol("old")
    await let_pass(rows.table, 100 * DAY)
    await prune_all(rows)
    assert await rows.value("select count(*) from router_events") > 0
    assert await rows.value("select count(*) from default_changes") == 2

    await let_pass(rows.table, 101 * DAY)
    await prune_all(rows)

    assert await rows.value("select count(*) from router_events") == 0
    assert await rows.value("select count(*) from default_changes") == 0
    assert await rows.value("select policy ->> 'event_retention' from default_policy") == "200d"
