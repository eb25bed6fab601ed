"""What the table tells people and programs of a deployment."""

from datetime import timedelta

from celadon.domain.language.states import Colour, RolloutOutcome, RolloutPhase, RouteHealthStatus
from celadon.table.read.history import latest_rollout, list_rollouts, read_events, read_rollout, rollout_of_run
from celadon.table.read.inspection import inspect
from celadon.table.read.overview import list_deployments, view_deployment
from celadon.table.records.deployments import DeploymentView
from tests.table.rows import NOW, Rows


async def _view(rows: Rows) -> DeploymentView:
    async with rows.table.transaction() as tx:
        view = await view_deployment(tx, "chat")
    assert view is not None
    return view


async def test_an_unknown_deployment_has_no_view(rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        assert await view_deployment(tx, "chat") is None


async def test_both_colours_are_shown_with_their_health(rows: Rows) -> None:
    live = await rows.live(replicas=3)
    opened = await rows.ready("run-2")
    await rows.set_health(opened, opened.routes[0], RouteHealthStatus.DEGRADED, "slow")

    blue, green = (await _view(rows)).sets

    assert (blue.route_set, blue.colour, blue.is_live, blue.healthy) == (live.green, Colour.BLUE, True, 3)
    assert (green.route_set, green.colour, green.is_live, green.healthy) == (opened.green, Colour.GREEN, False, 2)
    assert (green.required, blue.required) == (3, None)
    assert green.last_error == "slow"


async def test_routers_are_divided_by_the_present_epoch(rows: Rows) -> None:
    await rows.live()
    epoch = (await _view(rows)).epoch
    await rows.router("edge-1", epoch)
    await rows.router("edge-2", epoch - 1)
    await rows.connect("edge-3")

    routers = (await _view(rows)).routers

    assert [(one.router, one.acknowledged, one.epoch) for one in routers] == [
        ("edge-1", True, epoch),
        ("edge-2", False, epoch - 1),
    ]


async def test_a_report_from_before_the_drain_says_nothing(rows: Rows) -> None:
    blue = await rows.live()
    await rows.router("edge-1", 1000)
    await rows.sql(
        "insert into router_load (router, route_set, epoch, running, zero_reports, reported_at) "
        "values ('edge-1', :id, 1000, 7, 0, clock_timestamp())",
        id=blue.green,
    )
    green = await rows.switched("run-2")
    await rows.close(green, blue.green)

    draining = (await _view(rows)).sets[0]

    assert [(one.router, one.running) for one in draining.load] == [("edge-1", None)]
    assert draining.running_requests is None


async def test_running_requests_of_all_routers_are_added_up(rows: Rows) -> None:
    blue = await rows.live()
    for router in ("edge-1", "edge-2"):
        await rows.router(router, 1000)
    green = await rows.switched("run-2")
    await rows.close(green, blue.green)
    await rows.sql(
        "insert into router_load (router, route_set, epoch, running, zero_reports, reported_at) "
        "select node, :id, 1000, 3, 0, clock_timestamp() from routers",
        id=blue.green,
    )

    draining = (await _view(rows)).sets[0]

    assert draining.running_requests == 6
    assert draining.drain_deadline is not None


async def test_a_replica_that_ended_by_itself_is_shown_with_its_last_words(rows: Rows) -> None:
    opened = await rows.open()
    route = await rows.add(opened)
    await rows.end(opened, route, error="exit code 3")

    (green,) = (await _view(rows)).sets

    assert [(one.route, one.last_error, one.output) for one in green.failures] == [(route, "exit code 3", "boom\n")]


async def test_what_an_earlier_rollouts_replicas_failed_with_is_not_shown_in_a_later_one(rows: Rows) -> None:
    live = await rows.open(policy={"max_replacements": 5})
    await rows.end(live, await rows.add(live), error="exit code 3")
    await rows.sql("update routes set ended_at = :at where ended_at is not null", at=NOW - timedelta(days=1))
    await rows.sql("update deployments set live_set = :set", set=live.green)
    later = await rows.open("run-2")

    blue, green = (await _view(rows)).sets

    assert (blue.route_set, blue.failures) == (live.green, ())
    await rows.end(later, await rows.add(later), error="exit code 4")
    blue, green = (await _view(rows)).sets
    assert [one.last_error for one in green.failures] == ["exit code 4"]


async def test_panic_is_shown(rows: Rows) -> None:
    live = await rows.live(replicas=3)
    for route in live.routes:
        await rows.set_health(live, route, RouteHealthStatus.UNHEALTHY, "no")

    assert (await _view(rows)).panic


async def test_deployments_are_listed_with_their_latest_rollout(rows: Rows) -> None:
    await rows.live(replicas=2)
    second = await rows.open("run-2")
    await rows.begin("run-3", deployment="talk")

    async with rows.table.transaction() as tx:
        chat, talk = await list_deployments(tx)

    assert (chat.deployment, chat.live_revision, chat.healthy, chat.wanted) == ("chat", 1, 2, 2)
    assert chat.rollout is not None
    assert (chat.rollout.rollout, chat.rollout.phase) == (second.begun.rollout, RolloutPhase.PROVISIONING)
    assert (talk.deployment, talk.live_revision, talk.healthy, talk.wanted) == ("talk", None, 0, 0)


async def test_rollouts_are_found_by_number_by_run_and_by_age(rows: Rows) -> None:
    first = await rows.live()
    second = await rows.ready("run-2")
    await rows.finish(second, RolloutOutcome.ABORTED)

    async with rows.table.transaction() as tx:
        latest = await latest_rollout(tx, "chat")
        by_number = await read_rollout(tx, "chat", first.begun.rollout)
        foreign = await read_rollout(tx, "talk", first.begun.rollout)
        by_run = await rollout_of_run(tx, "rollout-chat", "run-2")
        newest = await list_rollouts(tx, "chat", limit=1)

    assert latest == by_run == newest[0]
    assert latest is not None
    assert latest.outcome is RolloutOutcome.ABORTED
    assert by_number is not None
    assert by_number.outcome is RolloutOutcome.PROMOTED
    assert foreign is None


async def test_the_last_events_come_newest_first(rows: Rows) -> None:
    await rows.switched()

    async with rows.table.transaction() as tx:
        events = await read_events(tx, "chat", limit=2)

    assert [event.kind for event in events] == ["switched", "green_opened"]


async def test_an_inspection_of_empty_tables_finds_nothing_left(rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        found = await inspect(tx)

    assert found.keeper is not None
    assert found.keeper.alive
    assert (found.routers, found.failed_sets, found.unfinished, found.panics) == ((), (), (), ())
    assert (found.outbox.owed, found.live_deployments) == (0, 0)
