"""One LISTEN connection that fans out to all who wait."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text

from celadon.table.core.engine import Table
from celadon.table.core.listen import ACKS_CHANNEL, MOST_PAYLOADS, ROUTES_CHANNEL, Listener, notification
from tests.table.listening import hear_out, heard, notify, until_connected
from tests.table.rows import Rows

NAME = "celadon-listener-test"


@pytest_asyncio.fixture(loop_scope="session")
async def listener(table: Table) -> AsyncIterator[Listener]:
    async with Listener(table.database_url, NAME) as one:
        await until_connected(one)
        yield one


async def test_a_notification_reaches_all_who_wait(table: Table, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as one, listener.subscribe(ROUTES_CHANNEL) as other:
        await notify(table, ROUTES_CHANNEL, "news")

        assert await heard(one, 1) == ["news"]
        assert await heard(other, 1) == ["news"]


async def test_notifications_keep_their_order_and_none_is_lost(table: Table, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as subscription:
        for number in range(50):
            await notify(table, ROUTES_CHANNEL, str(number))

        assert await heard(subscription, 50) == [str(number) for number in range(50)]


async def test_a_channel_hears_only_its_own(table: Table, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as routes, listener.subscribe(ACKS_CHANNEL) as acks:
        await notify(table, ACKS_CHANNEL, "an acknowledgement")

        assert await heard(acks, 1) == ["an acknowledgement"]
        assert await routes.get(0) == []


async def test_who_has_left_hears_nothing(table: Table, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as left:
        pass
    async with listener.subscribe(ROUTES_CHANNEL) as stays:
        await notify(table, ROUTES_CHANNEL, "news")
        await heard(stays, 1)

    assert await left.get(0) == []


async def test_without_news_the_wait_ends_at_its_timeout(listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as subscription:
        assert await subscription.get(0.01) == []


async def test_what_was_heard_before_the_wait_is_not_lost(table: Table, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as early, listener.subscribe(ROUTES_CHANNEL) as witness:
        await notify(table, ROUTES_CHANNEL, "news")
        await heard(witness, 1)

        assert await early.get(0) == ["news"]


async def test_nothing_is_heard_of_a_transaction_that_was_rolled_back(table: Table, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as subscription:
        async with table.transaction() as tx:
            await tx.execute(notification(ROUTES_CHANNEL, "never"))
            await tx.rollback()
        await notify(table, ROUTES_CHANNEL, "news")

        assert await heard(subscription, 1) == ["news"]


async def test_after_a_lost_connection_everybody_is_told_to_reread(table: Table, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as routes, listener.subscribe(ACKS_CHANNEL) as acks:
        async with table.transaction() as tx:
            await tx.execute(
                text("select pg_terminate_backend(pid) from pg_stat_activity where application_name = :name"),
                {"name": NAME},
            )

        assert await heard(routes, 1) == [""]
        assert await heard(acks, 1) == [""]

        await notify(table, ROUTES_CHANNEL, "news")
        assert await heard(routes, 1) == ["news"]


async def test_who_subscribes_before_the_connection_is_there_is_told_to_reread(table: Table) -> None:
    listener = Listener(table.database_url, NAME)
    async with listener.subscribe(ROUTES_CHANNEL) as subscription, listener:
        assert await heard(subscription, 1) == [""]


async def test_a_listener_waits_for_a_database_that_is_not_there(table: Table) -> None:
    nowhere = make_url(table.database_url).set(database="nowhere").render_as_string(hide_password=False)
    async with Listener(nowhere, NAME) as listener:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listener.connected.wait(), 0.2)


async def test_there_is_no_other_channel(listener: Listener) -> None:
    with pytest.raises(KeyError):
        async with listener.subscribe("celadon_gossip"):
            pass


async def test_a_switch_is_heard_with_its_epoch(table: Table, rows: Rows, listener: Listener) -> None:
    first = await rows.ready()
    async with listener.subscribe(ROUTES_CHANNEL) as subscription:
        await hear_out(table, ROUTES_CHANNEL, subscription)
        answer = await rows.switch(first)

        [payload] = await heard(subscription, 1)

    assert json.loads(payload) == {"deployment": "chat", "epoch": answer.epoch, "owes": False}


async def test_an_opened_green_is_heard(rows: Rows, listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as subscription:
        await rows.open()

        [payload] = await heard(subscription, 1)

    assert json.loads(payload) == {"deployment": "chat", "epoch": 0, "owes": False}


async def test_who_does_not_listen_keeps_each_payload_once_and_a_bounded_number(listener: Listener) -> None:
    async with listener.subscribe(ROUTES_CHANNEL) as subscription:
        for number in range(3 * MOST_PAYLOADS):
            subscription.put(str(number % MOST_PAYLOADS))
        assert len(await subscription.get(0)) == MOST_PAYLOADS

        for number in range(10 * MOST_PAYLOADS):
            subscription.put(str(number))
        payloads = await subscription.get(0)

        # All that was dropped is to be read again.
        assert "" in payloads
        assert len(payloads) <= MOST_PAYLOADS
        assert await subscription.get(0) == []
