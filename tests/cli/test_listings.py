"""What is and what was, read from a real table."""

import json

import pytest
import yaml

from celadon.domain.language.states import RolloutOutcome, RouteHealthStatus
from tests.cli.conftest import Command
from tests.table.rows import Rows


async def test_an_empty_table_says_how_to_begin(command: Command, rows: Rows) -> None:
    result = await command("rollout", "list")

    assert result.exit_code == 0
    assert "celadon deploy -f FILE" in result.stdout
    assert rows.fence


async def test_rollouts_are_listed_newest_first(command: Command, rows: Rows) -> None:
    first = await rows.live()
    second = await rows.ready("run-2")
    other = await rows.live("run-3", deployment="ads")

    text = await command("rollout", "list")
    of_chat = await command("rollout", "list", "--deployment", "chat", "--limit", "1", "-o", "json")

    numbers = [one.begun.rollout for one in (other, second, first)]
    assert [line.split()[:2] for line in text.stdout.splitlines()[1:]] == [
        [name, f"{number}:"] for name, number in zip(("ads", "chat", "chat"), numbers, strict=True)
    ]
    assert [one["rollout"] for one in json.loads(of_chat.stdout)["rollouts"]] == [second.begun.rollout]
    assert json.loads(of_chat.stdout)["next_before"] == second.begun.rollout


async def test_a_status_shows_both_colours_routers_and_the_next_step(command: Command, rows: Rows) -> None:
    live = await rows.live(replicas=2)
    epoch = await rows.value("select epoch from deployments")
    green = await rows.ready("run-2")
    await rows.set_health(green, green.routes[0], RouteHealthStatus.UNHEALTHY, "GET /health: answered 500")
    await rows.router("edge-1", epoch + 100)
    await rows.router("edge-2", 1)

    result = await command("rollout", "status", "chat")

    assert result.exit_code == 0
    assert f"rollout {green.begun.rollout}  r1 → r2  by ann" in result.stdout
    assert f"blue  r1  set {live.green}  takes traffic  2/2 healthy" in result.stdout
    assert f"green  r2  set {green.green}  no traffic  1/2 healthy  GET /health: answered 500" in result.stdout
    assert "✘ 127.0.0.1:8000  running, unhealthy" in result.stdout
    assert "routers  1 of 2 serve epoch" in result.stdout
    assert "edge-2  silent  epoch 1" in result.stdout
    assert "next: wait, or abort: celadon abort chat" in result.stdout
    assert "only the table is shown, the workflow is silent: Temporal does not answer" in result.stdout


async def test_a_status_shows_why_a_replica_could_not_start(command: Command, rows: Rows) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    route = await rows.add(opened)
    await rows.end(opened, route, error="exited with code 3")

    result = await command("rollout", "status", "chat")

    assert "exited with code 3" in result.stdout
    assert result.stdout.count("boom") == 1


async def test_a_status_shows_running_requests_of_a_draining_set(command: Command, rows: Rows) -> None:
    blue = await rows.live()
    green = await rows.switched("run-2")
    await rows.router("edge-1", 1000)
    await rows.close(green, blue.green)
    await rows.sql(
        "insert into router_load (router, route_set, epoch, running, zero_reports, reported_at) "
        "values ('edge-1', :id, 1000, 7, 0, clock_timestamp())",
        id=blue.green,
    )

    text = await command("rollout", "status", "chat")
    given = await command("rollout", "status", "chat", "-o", "json")

    assert "running requests: 7  cut in" in text.stdout
    draining = json.loads(given.stdout)["deployment"]["sets"][0]
    assert draining["state"] == "draining"
    assert draining["load"][0]["running"] == 7


async def test_a_status_says_when_nobody_is_at_work(command: Command, rows: Rows) -> None:
    await rows.live()
    await rows.sql("update keepers set seen_at = to_timestamp(0)")

    result = await command("rollout", "status", "chat")

    assert "no keeper is at work: start a worker ('celadon worker')" in result.stdout


async def test_a_history_works_without_temporal(command: Command, rows: Rows) -> None:
    await rows.live()
    second = await rows.ready("run-2", reason="new weights", requested_by="ben")
    await rows.finish(second, RolloutOutcome.ABORTED)

    text = await command("rollout", "history", "chat")
    given = await command("rollout", "history", "chat", "-o", "json")

    assert f"{second.begun.rollout}: r1 → r2" in text.stdout
    assert "aborted: because" in text.stdout
    assert "started by ben: new weights" in text.stdout
    rollouts = json.loads(given.stdout)["rollouts"]
    assert [one["outcome"] for one in rollouts] == ["aborted", "promoted"]


async def test_a_history_of_one_rollout_leaves_the_others_out(command: Command, rows: Rows) -> None:
    first = await rows.live()
    await rows.ready("run-2")

    given = await command("rollout", "history", "chat", "--rollout", str(first.begun.rollout), "-o", "json")

    told = json.loads(given.stdout)
    assert [one["rollout"] for one in told["rollouts"]] == [first.begun.rollout]
    assert {one["rollout"] for one in told["events"]} == {first.begun.rollout}


async def test_a_history_goes_on_with_older_rollouts(command: Command, rows: Rows) -> None:
    first = await rows.live()
    second = await rows.ready("run-2")

    newest = await command("rollout", "history", "chat", "--limit", "1")
    older = await command("rollout", "history", "chat", "--before", str(second.begun.rollout), "-o", "json")

    assert f"There are older rollouts: the same command with --before {second.begun.rollout}" in newest.stdout
    told = json.loads(older.stdout)
    assert ([one["rollout"] for one in told["rollouts"]], told["next_before"]) == ([first.begun.rollout], None)


async def test_a_history_of_an_unknown_rollout_is_refused(command: Command, rows: Rows) -> None:
    await rows.live()

    result = await command("rollout", "history", "chat", "--rollout", "777777")

    assert result.exit_code == 1
    assert "chat has no rollout 777777" in result.stderr


async def test_yaml_says_what_json_says(rows: Rows, command: Command) -> None:
    await rows.live(replicas=2)

    as_json = await command("rollout", "history", "chat", "-o", "json")
    as_yaml = await command("rollout", "history", "chat", "-o", "yaml")

    assert yaml.safe_load(as_yaml.stdout) == json.loads(as_json.stdout)


@pytest.mark.usefixtures("rows")
async def test_a_refusal_is_an_object_in_yaml_too(command: Command) -> None:
    refused = await command("rollout", "status", "nobody", "-o", "yaml")

    assert refused.exit_code == 1
    assert yaml.safe_load(refused.stdout)["error"]["code"] == "NO_SUCH_DEPLOYMENT"
