"""What each bench finds that does not depend on speed."""

from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from bench import addresses, cli, drain, engine, events, failover, kill, path, soak, swap, switch, viewers, waiting
from bench.line import Line
from bench.report import Cell, Grid

pytestmark = [pytest.mark.parts, pytest.mark.stack]


def column(grid: Grid, name: str) -> list[Cell]:
    """Return one column of a table."""
    return [row[name] for row in grid.rows]


async def test_switch(line: Line) -> None:
    switches, cost = await switch.measure_on(line, 1, [3])

    assert column(switches, "deployments") == [3] * len(switch.STEPS)
    assert column(switches, "step") == [*switch.STEPS]
    assert set(column(switches, "routers")) == {2}
    assert all(isinstance(taken, float) and taken > 0 for taken in column(switches, "median ms"))
    assert column(switches, "of the parts alone")[0] == 1
    # A step that a busy machine made Temporal try again is one more.
    [actions] = column(cost, "billable actions")
    assert isinstance(actions, int)
    assert 20 <= actions < 25


async def test_kill(line: Line) -> None:
    # The one death of the test need not be the worker's first.
    grid = await kill.measure_on(line, 1, 2, 1, steady_after=timedelta(0))

    assert column(grid, "promotions") == [2]
    assert all(isinstance(taken, float) and taken > 0 for taken in column(grid, "median ms"))


async def test_failover(line: Line) -> None:
    grid = await failover.measure_on(line, [0.0], 20.0)

    assert column(grid, "net") == ["none", "blue"]
    assert all(isinstance(sent, int) and sent > 0 for sent in column(grid, "requests"))


async def test_addresses() -> None:
    added, by_path = await addresses.measure_all([4], 2, 40)

    assert column(added, "deployments") == [4] * 3
    assert all(isinstance(size, int) and size > 0 for size in column(added, "routes sent, bytes"))
    assert column(by_path, "requests") == [40 * addresses.ROUNDS]


async def test_path() -> None:
    piece = "retries"
    steady, full, durations, memory, pieces = await path.measure_all(path.Load(1, 16, 500.0), 4, 1, [piece])

    envoys = [path.SMALLEST, path.BY_HOST, path.BY_PATH]
    assert column(steady, "way") == column(full, "way") == envoys
    assert column(durations, "way") == [path.DIRECT, *envoys]
    assert column(memory, "way") == [path.SMALLEST, path.BY_HOST]
    assert column(pieces, "without") == [path.SMALLEST, path.WHOLE, piece, path.ALL_PIECES]
    for grid in (steady, full):
        assert all(isinstance(cost, float) and cost > 0 for cost in column(grid, "CPU s for 1,000 requests"))


async def test_drain_never_stops_a_replica_before_its_last_request_has_ended(line: Line) -> None:
    grid = await drain.measure_on(line, 1, 1, line.addresses.data_dir / "upstream.jsonl")

    assert column(grid, "drains") == [1, 1]
    assert column(grid, "requests cut") == [0, 0]
    assert all(isinstance(shortest, float) and shortest > 0 for shortest in column(grid, "smallest ms"))


async def test_soak_loses_nothing(line: Line) -> None:
    totals, steps = await soak.measure_on(
        line,
        soak.SoakOptions(
            switches=3,
            deployments=1,
            requests_per_second=20,
            streams=2,
            stream_duration=timedelta(seconds=1),
        ),
    )

    figures = {row["what"]: row["figure"] for row in totals.rows}
    assert (figures["switches"], figures["of them back"]) == (3, 1)
    assert isinstance(figures["requests"], int)
    assert figures["requests"] > 0
    lost = ("failed", "streams truncated", "answered by the wrong revision", "requests cut")
    assert [figures[name] for name in lost] == [0, 0, 0, 0]
    assert figures["differences to the router's counters"] == "none"
    assert column(steps, "switches") == [3, 3]


async def test_engine(line: Line) -> None:
    rates, costs, sent = await engine.measure_on(line, rollouts=2, at_once=2)

    assert column(rates, "times") == [2, 2, 2]
    assert all(isinstance(rate, float) and rate > 0 for rate in column(rates, "a second"))
    rollout, *others = column(rates, "events of one")
    assert isinstance(rollout, int)
    assert all(isinstance(bare, int) and abs(rollout - bare) <= 0.25 * rollout for bare in others)
    assert all(isinstance(cost, float) and cost > 0 for cost in column(costs, "all processes"))
    # What was recorded is all that a rollout sends: its own steps, and its keeper's.
    [transactions] = column(sent, "transactions")
    assert isinstance(transactions, int)
    assert transactions > 7


async def test_cli(line: Line) -> None:
    grid = await cli.measure_on(line, rounds=1)

    assert column(grid, "command") == [*cli.COMMANDS]
    assert all(isinstance(taken, float) and taken > 0 for taken in column(grid, "median CPU ms"))
    assert column(grid, f"ms of {cli.NOTHING}")[0] == 1


async def test_libraries_of_the_command_line() -> None:
    grid = await cli.measure_libraries(rounds=1)

    assert column(grid, "program") == [*cli.LIBRARIES]
    assert column(grid, f"CPU ms of {cli.NOTHING}")[0] == 1


async def test_waiting(line: Line) -> None:
    watched, started = await waiting.measure_on(line, [1, 2], seconds=0.5)

    assert column(started, "rollouts") == [1, 1]
    assert column(watched, "process") == [*waiting.WATCHED] * 4
    assert column(watched, "waiting") == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5
    assert all(isinstance(held, float) and held > 0 for held in column(watched, "MiB"))
    cached = await waiting.cached_on(line, 2, "as it is")
    assert cached["waiting"] == 2


@pytest.mark.shared
async def test_what_a_rollout_costs_depends_neither_on_replicas_nor_on_its_wait(
    database_url: str,
    temporal_env: WorkflowEnvironment,
) -> None:
    [grid] = await events.measure_on(database_url, temporal_env, [1, 4])

    assert column(grid, "replicas") == [1, 1, 4, 4]
    assert set(column(grid, "activities")) == {7}
    assert set(column(grid, "signals")) == {2}
    # An edge that comes before the rollout has begun to wait saves it one timer and the end of that timer; a step that
    # a busy machine made Temporal try again is one more action.
    for name, differs in (("timers", 1), ("billable actions", 3), ("of them not of workflow tasks", 2)):
        counts = [count for count in column(grid, name) if isinstance(count, int)]
        assert len(counts) == 4
        assert max(counts) - min(counts) <= differs


@pytest.mark.shared
async def test_swap(database_url: str) -> None:
    [grid] = await swap.measure_on(database_url, [2, 5], rounds=2)

    assert column(grid, "routes a colour") == [2, 5]
    assert column(grid, "times") == [2, 2]
    assert all(isinstance(ratio, float) and ratio > 0 for ratio in column(grid, "ratio to raw"))


@pytest.mark.shared
async def test_viewers(database_url: str, temporal_env: WorkflowEnvironment) -> None:
    taken, got = await viewers.measure_on(database_url, temporal_env, deployments=300, aborts=2, blocks=1)

    assert column(taken, "viewer") == ["none", "lists", "none", "graphql", "none", "streams"]
    assert column(taken, "aborts") == [2] * 6
    assert all(isinstance(median, float) and median > 0 for median in column(taken, "median ms"))
    assert column(got, "viewer") == [*viewers.VIEWERS]
