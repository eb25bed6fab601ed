"""Listing, showing, scaling and deleting deployments on a real table."""

import json

import pytest

from celadon.domain.language.states import RolloutOutcome
from celadon.table.routers.reports import DepartureLoad, record_departures
from tests.cli.conftest import Command
from tests.table.rollouts.test_deletion import end_all
from tests.table.rows import Opened, Rows


async def wanted(rows: Rows) -> int:
    number: int = await rows.value("select wanted from route_sets join deployments on live_set = route_sets.id")
    return number


# List and show.


async def test_an_empty_table_says_how_to_begin(command: Command, rows: Rows) -> None:
    result = await command("deployment", "list")

    assert (result.exit_code, rows.fence > 0) == (0, True)
    assert "celadon deploy -f FILE" in result.stdout


async def test_a_list_tells_life_phase_revision_and_health(command: Command, rows: Rows) -> None:
    await rows.live(replicas=2)
    await rows.ready("run-2")

    text = await command("deployment", "list")
    given = await command("deployment", "list", "-o", "json")

    assert text.stdout.splitlines()[1].split()[:4] == ["chat", "deploying", "r1", "2/2"]
    assert ": r1 → r2  provisioning" in text.stdout
    (line,) = json.loads(given.stdout)["deployments"]
    assert (line["lifecycle"], line["live_revision"], line["healthy"], line["wanted"]) == ("deploying", 1, 2, 2)


async def test_a_list_says_who_must_act(command: Command, rows: Rows) -> None:
    await rows.live(replicas=2)
    waiting = await rows.ready("run-2", policy={"auto_promote": False})
    await rows.sql("update rollouts set phase = 'awaiting_promotion' where id = :id", id=waiting.begun.rollout)

    text = await command("deployment", "list")
    given = await command("deployment", "list", "-o", "json")

    assert "a person: promote or abort" in text.stdout
    (deployment,) = json.loads(given.stdout)["deployments"]
    assert deployment["waits_for"] == "a person: promote or abort"
    assert "celadon promote chat --revision 2" in deployment["next_step"]


async def test_show_tells_colours_replicas_routers_and_policy_without_temporal(command: Command, rows: Rows) -> None:
    live = await rows.live(replicas=2, policy={"bake": "7m"})
    green = await rows.ready("run-2")
    await rows.router("edge-1", 1)

    result = await command("deployment", "show", "chat")

    assert result.exit_code == 0
    assert f"blue  r1  set {live.green}  takes traffic  2/2 healthy" in result.stdout
    assert f"green  r2  set {green.green}  no traffic  2/2 healthy" in result.stdout
    assert "edge-1  silent  epoch 1" in result.stdout
    assert "bake: 7m" in result.stdout
    assert "drain_timeout: 15m  (default)" in result.stdout
    assert "workflow" not in result.stdout


async def test_show_tells_which_replica_leaves_and_what_it_waits_for(command: Command, rows: Rows) -> None:
    live = await rows.live(replicas=2)
    await rows.router("edge-1", 1000)
    await rows.scale(1)
    await rows.mark_surplus(live)
    [gone] = (await rows.kept(live)).leaving

    before = await command("deployment", "show", "chat")
    assert gone.leaving_epoch is not None
    async with rows.table.transaction() as tx:
        load = DepartureLoad(route=gone.route, epoch=gone.leaving_epoch, running=7, zero_reports=0)
        await record_departures(tx, "edge-1", [load])
    after = await command("deployment", "show", "chat")

    assert "1/1 healthy" in before.stdout
    assert "leaves, running requests: unknown" in before.stdout
    assert "leaves, running requests: 7" in after.stdout


@pytest.mark.parametrize("words", [("show", "chat"), ("scale", "chat", "2"), ("delete", "chat", "--yes")])
async def test_an_unknown_deployment_is_refused(command: Command, rows: Rows, words: tuple[str, ...]) -> None:
    result = await command("deployment", *words, "-o", "json")

    assert (result.exit_code, rows.fence > 0) == (1, True)
    assert json.loads(result.stdout)["error"]["code"] == "NO_SUCH_DEPLOYMENT"


# Scale.


async def test_scale_changes_the_number_and_says_from_where(command: Command, rows: Rows) -> None:
    await rows.live(replicas=2)

    result = await command("deployment", "scale", "chat", "5", "--by", "ben", "--reason", "black friday")

    assert result.exit_code == 0
    assert "chat: 2 → 5 replicas" in result.stdout
    assert await wanted(rows) == 5
    [event] = await rows.rows("select * from rollout_events where kind = 'scaled'")
    assert (event["actor"], event["door"], event["reason"]) == ("ben", "cli", "black friday")


async def test_scale_twice_does_it_once(command: Command, rows: Rows) -> None:
    await rows.live(replicas=2)
    await command("deployment", "scale", "chat", "0", "--yes")

    again = await command("deployment", "scale", "chat", "0", "--yes", "-o", "json")

    assert again.exit_code == 0
    answer = json.loads(again.stdout)
    assert (answer["before"], answer["replicas"], answer["changed"]) == (0, 0, False)
    assert await rows.value("select count(*) from rollout_events where kind = 'scaled'") == 1


async def test_scale_beyond_all_measure_is_refused(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("deployment", "scale", "chat", "10001")

    assert result.exit_code == 1
    assert "must be at most 10000; see 'celadon deployment scale --help'" in result.stderr
    assert await wanted(rows) == 1


async def test_scale_says_when_nobody_will_carry_it_out(command: Command, rows: Rows) -> None:
    await rows.live()
    await rows.sql("update keepers set seen_at = to_timestamp(0)")

    result = await command("deployment", "scale", "chat", "2")

    assert result.exit_code == 0
    assert "no keeper is at work" in result.stderr


# Delete.


async def test_delete_says_what_happens_and_what_stays(command: Command, rows: Rows) -> None:
    live = await rows.live(replicas=2)

    first = await command("deployment", "delete", "chat", "--yes", "--by", "ben", "--reason", "old")
    second = await command("deployment", "delete", "chat", "--yes")
    await end_all(rows, live)
    third = await command("deployment", "delete", "chat", "--yes", "--wait", "--timeout", "5s")
    shown = await command("deployment", "show", "chat")
    history = await command("rollout", "history", "chat")
    listed = await command("deployment", "list")

    assert (first.exit_code, second.exit_code, third.exit_code) == (0, 0, 0)
    assert "its address answers 404 once routers serve epoch" in first.stdout
    assert "2 replicas stop" in first.stdout
    assert "is being deleted already" in second.stdout
    assert "was destroyed already" in third.stdout
    assert "destroyed" in shown.stdout
    assert "deleted by ben (cli): old" in history.stdout
    assert "chat" not in [line.split()[0] for line in listed.stdout.splitlines()]


async def test_delete_is_refused_while_a_rollout_is_unfinished(command: Command, rows: Rows) -> None:
    await rows.live()
    await rows.ready("run-2")

    result = await command("deployment", "delete", "chat", "--yes")

    assert result.exit_code == 1
    assert "--abort" in result.stderr
    assert await rows.value("select lifecycle from deployments") == "deploying"


async def test_delete_with_abort_deletes_at_once_when_no_rollout_is_under_way(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("deployment", "delete", "chat", "--yes", "--abort", "-o", "json")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["lifecycle"] == "destroying"


async def test_delete_does_not_wait_for_longer_than_it_was_told_to(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("deployment", "delete", "chat", "--yes", "--wait", "--timeout", "600ms")

    assert result.exit_code == 1
    assert "did not stop within" in result.stderr
    assert await rows.value("select lifecycle from deployments") == "destroying"


async def test_a_deployment_that_never_went_live_is_destroyed_at_once(command: Command, rows: Rows) -> None:
    opened: Opened = await rows.open()
    await rows.close(opened, opened.green)
    await end_all(rows, opened)
    await rows.finish(opened, RolloutOutcome.ABORTED)

    result = await command("deployment", "delete", "chat", "--yes")

    assert "chat is destroyed" in result.stdout


async def test_a_timeout_without_anything_to_wait_for_is_a_wrong_command_line(command: Command, rows: Rows) -> None:
    result = await command("deployment", "delete", "chat", "--yes", "--timeout", "5s")

    assert (result.exit_code, rows.fence > 0) == (2, True)


@pytest.mark.parametrize("words", [("delete", "chat"), ("scale", "chat", "0")])
async def test_what_takes_traffic_away_wants_a_yes_where_nobody_can_be_asked(
    command: Command, rows: Rows, words: tuple[str, ...]
) -> None:
    await rows.live()

    result = await command("deployment", *words)

    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert (
        await rows.value("select lifecycle from deployments"),
        await rows.value("select replicas from deployments"),
    ) == ("ready", 1)
