"""Deliveries to real servers: once by their id, in order, within bounds, and never for ever."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from celadon.domain.decisions.delivery import Attempt, Judgement, RetrySchedule, Verdict
from celadon.domain.language.errors import RefusedError
from celadon.domain.language.notification import NotificationKind, TargetKind
from celadon.domain.language.states import RolloutOutcome
from celadon.table.notifications.deliveries import claim, mark, owe_test, read_told, retry_dead
from celadon.table.notifications.targets import enable_target
from tests.notifications.conftest import OTHER_SECRET, SECRET, SHORT_TIMEOUT, RunCourier, add, states, until, until_all
from tests.notifications.receiver import Receiver, running_receiver
from tests.table.rows import Rows


async def test_a_webhook_gets_signed_cloud_events_in_order(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    await add(rows, "ops", receiver.url)
    async with run_courier() as metrics:
        await rows.live()
        received = await receiver.until(3)
        await until_all(rows, "delivered")

    assert [one.kind for one in received] == ["started", "switched", "completed"]
    assert len({one.id for one in received}) == 3
    for one in received:
        assert Webhook(SECRET).verify(one.body, dict(one.headers))["id"] == one.id
        assert one.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert metrics.get_sample_value("celadon_notifications_delivered_total", {"target": "ops"}) == 3


async def test_during_a_rotation_both_keys_sign(rows: Rows, receiver: Receiver, run_courier: RunCourier) -> None:
    await add(rows, "ops", receiver.url, signing_secrets=("next-key", "hook-key"))
    async with run_courier():
        await rows.begin()
        (received,) = await receiver.until(1)

    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret).verify(received.body, dict(received.headers))


async def test_a_target_that_fails_a_few_times_gets_the_same_event_again(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    receiver.answers = [web.Response(status=503, text="busy"), web.Response(status=500), web.Response(status=429)]
    await add(rows, "ops", receiver.url)
    async with run_courier() as metrics:
        await rows.live()
        received = await receiver.until(6)
        await until_all(rows, "delivered")

    assert [one.kind for one in received] == ["started"] * 4 + ["switched", "completed"]
    assert len({one.id for one in received[:4]}) == 1
    assert len({one.body for one in received[:4]}) == 1
    assert metrics.get_sample_value("celadon_notifications_failed_attempts_total", {"target": "ops"}) == 3


async def test_one_dead_target_holds_up_no_other(rows: Rows, receiver: Receiver, run_courier: RunCourier) -> None:
    async with running_receiver() as hanging:
        hanging.hangs = True
        await add(rows, "hangs", hanging.url)
        await add(rows, "nobody", "http://127.0.0.1:1/hook")
        await add(rows, "ops", receiver.url)
        async with run_courier(timeout=SHORT_TIMEOUT):
            await rows.live()
            await until_all(rows, "delivered", "ops")

            await until(lambda: _first_errors(rows), "the dead targets' troubles are told")
            # A stall as long as the timeout makes an attempt be repeated, under the same id.
            assert len({one.id for one in await receiver.until(3)}) == 3
            assert {state for _, state in await states(rows, "hangs")} == {"waiting"}


async def _first_errors(rows: Rows) -> bool:
    async with rows.table.transaction() as tx:
        told = [one for one in await read_told(tx, "chat", limit=100) if one.kind == "started"]
    errors = {one.target: one.last_error for one in told}
    return errors["hangs"] == "no answer within 1 s" and errors["nobody"].startswith("cannot be reached: ")


async def test_what_is_refused_is_given_up_and_what_happened_later_is_still_told(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    receiver.answers = [web.Response(status=400, text="no\nsuch hook") for _ in range(5)]
    await add(rows, "ops", receiver.url)
    async with run_courier() as metrics:
        await rows.live()
        await receiver.until(7)
        await until(lambda: _all_ended(rows), "nothing waits")

    assert await states(rows) == [("started", "dead"), ("switched", "delivered"), ("completed", "delivered")]
    error = await rows.value("select last_error from deliveries where state = 'dead'")
    assert error == "answered 400: no such hook; given up after 5 attempts"
    assert metrics.get_sample_value("celadon_notifications_given_up_total", {"target": "ops"}) == 1


async def _all_ended(rows: Rows) -> bool:
    waiting: int = await rows.value("select count(*) from deliveries where state = 'waiting'")
    return waiting == 0


async def test_a_redirect_is_not_followed(rows: Rows, receiver: Receiver, run_courier: RunCourier) -> None:
    async with running_receiver() as elsewhere:
        receiver.answers = [web.Response(status=307, headers={"Location": elsewhere.url}) for _ in range(5)]
        await add(rows, "ops", receiver.url)
        async with run_courier():
            await rows.begin()
            await until_all(rows, "dead")
        assert elsewhere.received == []
    error = await rows.value("select last_error from deliveries")
    assert error == "answered 307: a redirect, which is not followed; given up after 5 attempts"


async def test_a_target_that_is_gone_is_disabled_until_somebody_enables_it(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    receiver.answers = [web.Response(status=410)]
    await add(rows, "ops", receiver.url)
    async with run_courier():
        opened = await rows.ready()
        await until_all(rows, "dead")
        await rows.switch(opened)
        assert len(receiver.received) == 1
        assert "gone for good" in await rows.value("select disabled_reason from notify_targets")

        assert await rows.value("select last_status from deliveries limit 1") == 410
        with pytest.raises(RefusedError, match="target ops is disabled"):
            async with rows.table.transaction() as tx:
                await retry_dead(tx, "ops")

        async with rows.table.transaction() as tx:
            await enable_target(tx, "ops")
            assert await retry_dead(tx, "ops") == 1
        await rows.finish(opened)
        await until_all(rows, "delivered")
    assert [one.kind for one in receiver.received] == ["started", "started", "completed"]


async def test_a_target_that_asks_for_time_gets_it(rows: Rows, receiver: Receiver, run_courier: RunCourier) -> None:
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "3600"})]
    await add(rows, "ops", receiver.url)
    async with run_courier(RetrySchedule(first=timedelta(milliseconds=20), longest=timedelta(seconds=1))):
        await rows.begin()
        await receiver.until(1)

        async def postponed() -> bool:
            pause: timedelta = await rows.value("select next_attempt_at - attempted_at from deliveries")
            return pause >= timedelta(seconds=3600)

        await until(postponed, "the next attempt is an hour away")
    assert len(receiver.received) == 1


async def test_a_target_that_is_down_for_too_long_gets_a_dead_letter(rows: Rows, run_courier: RunCourier) -> None:
    await add(rows, "ops", "http://127.0.0.1:1/hook")
    await rows.begin()
    await rows.sql("update deliveries set due_at = due_at - interval '4 days'")
    async with run_courier(RetrySchedule()):
        await until_all(rows, "dead")

    assert "given up after 1 attempts in 3d" in await rows.value("select last_error from deliveries")


async def test_a_worker_that_dies_between_sending_and_marking_leaves_the_same_id_to_another(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    await add(rows, "ops", receiver.url)
    await rows.begin()
    async with rows.table.transaction() as tx:
        (first,) = await claim(tx, "ops", limit=4, lease=timedelta(hours=1))
    async with rows.table.transaction() as tx:
        assert await claim(tx, "ops", limit=4, lease=timedelta(hours=1)) == ()
    # It has sent, and died; an hour later its claim lapses.
    await rows.sql("update deliveries set next_attempt_at = clock_timestamp()")
    async with run_courier():
        (received,) = await receiver.until(1)
        await until_all(rows, "delivered")

    assert received.id == first.notification
    assert await rows.value("select attempts from deliveries") == 2


async def test_a_worker_whose_claim_has_passed_on_overwrites_nothing_but_with_a_success(rows: Rows) -> None:
    await add(rows, "ops", "http://127.0.0.1:1/hook")
    await rows.begin()
    async with rows.table.transaction() as tx:
        (stopped,) = await claim(tx, "ops", limit=4, lease=timedelta(0))
    async with rows.table.transaction() as tx:
        (present,) = await claim(tx, "ops", limit=4, lease=timedelta(hours=1))
        await mark(tx, stopped, "ops", Attempt(status=400), Judgement(verdict=Verdict.GIVE_UP, told="no"))
    assert await states(rows) == [("started", "waiting")]

    async with rows.table.transaction() as tx:
        await mark(tx, present, "ops", Attempt(status=400), Judgement(verdict=Verdict.GIVE_UP, told="no"))
        await mark(tx, stopped, "ops", Attempt(status=204), Judgement(verdict=Verdict.DELIVERED))
    assert await states(rows) == [("started", "delivered")]


async def test_two_workers_share_the_work_and_send_nothing_twice(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    await add(rows, "ops", receiver.url)
    async with run_courier(), run_courier():
        for number in range(1, 9):
            opened = await rows.ready(f"run-{number}", deployment=f"chat{number}")
            await rows.finish(opened, RolloutOutcome.ABORTED)
        await receiver.until(16)
        await until_all(rows, "delivered")

    assert len(receiver.received) == len({one.id for one in receiver.received}) == 16
    for number in range(1, 9):
        of_one = [one.kind for one in receiver.received if one.content["data"]["deployment"] == f"chat{number}"]
        assert of_one == ["started", "completed"]


async def test_what_is_due_later_is_sent_later_and_holds_nothing_up(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    await add(rows, "ops", receiver.url)
    opened = await rows.open()
    await rows.sql("update deliveries set due_at = now() + interval '9 hours', next_attempt_at = due_at")
    await rows.sql("update deliveries set next_attempt_at = due_at")
    async with run_courier():
        await rows.finish(opened, RolloutOutcome.ABORTED)
        await until(lambda: _is_delivered(rows, "completed"), "what is due now is delivered")
        assert [one.kind for one in receiver.received] == ["completed"]
        # Nine hours later.
        await rows.sql("update deliveries set due_at = now(), next_attempt_at = now() where state = 'waiting'")
        await until_all(rows, "delivered")
    assert [one.kind for one in receiver.received] == ["completed", "started"]


async def _is_delivered(rows: Rows, kind: str) -> bool:
    return (kind, "delivered") in await states(rows)


async def test_slack_gets_its_message_unsigned_at_a_secret_url(
    rows: Rows, receiver: Receiver, secrets_dir: Path, run_courier: RunCourier
) -> None:
    (secrets_dir / "slack-url").write_text(receiver.url + "/T000/B000/very-secret\n")
    receiver.answers = [web.Response(status=500, text=f"{receiver.url}/T000/B000/very-secret is broken")]
    await add(rows, "ops", None, kind=TargetKind.SLACK, url_secret="slack-url", signing_secrets=())  # noqa: S106 - a name
    async with run_courier():
        await rows.begin()
        await receiver.until(2)
        await until_all(rows, "delivered")

    message = receiver.received[-1]
    assert message.content["text"].startswith("chat nothing → r1: rollout")
    assert "webhook-signature" not in message.headers
    assert "very-secret" not in str(await rows.dump())


async def test_a_secret_that_is_missing_is_waited_for_and_named(
    rows: Rows, receiver: Receiver, secrets_dir: Path, run_courier: RunCourier
) -> None:
    (secrets_dir / "hook-key").unlink()
    await add(rows, "ops", receiver.url)
    async with run_courier():
        await rows.begin()

        async def named() -> bool:
            error: str = await rows.value("select last_error from deliveries")
            return "secret 'hook-key' is missing" in error

        await until(named, "the missing secret is named")
        assert receiver.received == []
        (secrets_dir / "hook-key").write_text(SECRET)
        await receiver.until(1)
        await until_all(rows, "delivered")


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://[::ffff:169.254.169.254]/", "http://[fe80::1]/"]
)
async def test_a_metadata_address_is_never_connected_to(rows: Rows, run_courier: RunCourier, url: str) -> None:
    await add(rows, "ops", url)
    async with run_courier():
        await rows.begin()
        await until_all(rows, "dead")

    assert "link-local or cloud metadata address" in await rows.value("select last_error from deliveries")


async def test_an_endless_answer_is_not_read_to_its_end(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    receiver.answers = [web.Response(status=500, body=b"x" * 50_000_000)]
    await add(rows, "ops", receiver.url)
    async with run_courier():
        await rows.begin()
        await receiver.until(2)
        await until_all(rows, "delivered")


async def test_a_sample_goes_the_same_way(rows: Rows, receiver: Receiver, run_courier: RunCourier) -> None:
    await add(rows, "ops", receiver.url, every_deployment=False)
    async with run_courier():
        async with rows.table.transaction() as tx:
            identity = await owe_test(tx, "ops", "ann")
        (received,) = await receiver.until(1)
        await until_all(rows, "delivered")

    assert received.id == identity
    assert received.kind == "test"


async def test_a_courier_outlives_a_broken_connection(rows: Rows, receiver: Receiver, run_courier: RunCourier) -> None:
    await add(rows, "ops", receiver.url, events=(NotificationKind.STARTED,))
    async with run_courier():
        await rows.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and application_name like 'celadon-tests-courier%'",
        )
        await asyncio.sleep(0)
        await rows.begin()
        await receiver.until(1)
        await until_all(rows, "delivered")


async def test_the_table_away_for_a_moment_loses_nothing(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    """A mark that fails leaves the claim to lapse; the same id is sent again."""
    await add(rows, "ops", receiver.url)
    await rows.begin()
    # A sequence is not rolled back, so the first mark is refused whichever attempt it is of.
    await rows.sql("create sequence marks")
    await rows.sql(
        "create function refuse_once() returns trigger language plpgsql as $$ begin "
        "if new.state = 'delivered' and nextval('marks') = 1 then raise exception 'away'; end if; return new; end $$",
    )
    await rows.sql("create trigger away before update on deliveries for each row execute function refuse_once()")
    try:
        async with run_courier(claim_grace=timedelta(0), timeout=SHORT_TIMEOUT):
            received = await receiver.until(2)
            await until_all(rows, "delivered")
    finally:
        await rows.sql("drop function refuse_once cascade")
        await rows.sql("drop sequence marks")

    assert len({one.id for one in received}) == 1


async def test_metrics_tell_what_waits_and_what_was_given_up(rows: Rows, run_courier: RunCourier) -> None:
    await add(rows, "ops", "http://127.0.0.1:1/hook")
    opened = await rows.open()
    await rows.sql("update deliveries set state = 'dead'")
    await rows.finish(opened, RolloutOutcome.ABORTED)
    await rows.sql("update deliveries set due_at = due_at - interval '1 hour' where state = 'waiting'")
    async with run_courier(RetrySchedule()) as metrics:

        async def shown() -> bool:
            return metrics.get_sample_value("celadon_notifications_waiting", {"target": "ops"}) is not None

        await until(shown, "the metrics are shown")
        assert metrics.get_sample_value("celadon_notifications_waiting", {"target": "ops"}) == 1
        assert metrics.get_sample_value("celadon_notifications_dead", {"target": "ops"}) == 1
        oldest = metrics.get_sample_value("celadon_notifications_oldest_seconds", {"target": "ops"})
    assert oldest is not None
    assert 3600 <= oldest < 7200


async def test_a_notice_that_this_version_cannot_read_holds_up_no_other(
    rows: Rows, receiver: Receiver, run_courier: RunCourier
) -> None:
    await add(rows, "ops", receiver.url)
    await rows.begin()
    await rows.sql("""update notifications set notice = notice || '{"to_revision": "as a newer version has it"}'""")
    for name in ("code", "draw"):
        await rows.begin(f"run-{name}", deployment=name)
    async with run_courier() as metrics:
        received = await receiver.until(2)
        await until(lambda: _is_told_unreadable(rows), "what cannot be read is told")

        assert {one.kind for one in received} == {"started"}
        assert (metrics.get_sample_value("celadon_notifications_faults_total", {"part": "notice"}) or 0) >= 1
        # Another version of the workers reads it.
        await rows.sql("""update notifications set notice = notice || '{"to_revision": 1}'""")
        await until_all(rows, "delivered")


async def _is_told_unreadable(rows: Rows) -> bool:
    error = await rows.value("select max(last_error) from deliveries where state = 'waiting'")
    return error is not None and "cannot read the notice (to_revision: " in error and "upgrade the workers" in error
