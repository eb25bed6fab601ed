"""What ``celadon deploy`` and ``celadon plan`` say before anything is started, the same both ways."""

import asyncio
import json
from pathlib import Path
from typing import Final

import pytest

from celadon.domain.language.next_rollout import NextRollout
from celadon.domain.language.states import RolloutOutcome
from tests.cli.access.conftest import Ways
from tests.cli.conftest import Command
from tests.provisioners.programs import until
from tests.revisions import serving
from tests.table.rows import Rows, begin_step

WAYS: Final = ("api", "direct")
BY: Final = ("--requested-by", "admin")


@pytest.fixture(autouse=True)
def _signs(ways: Ways, keys: Path) -> None:
    """Let the command line sign what it starts."""
    ways.monkeypatch.setenv("CELADON_SIGNING_KEY_FILE", str(keys / "key.pem"))


def _file(**given: object) -> str:
    return json.dumps({"deployment": "chat", "revision": serving("new"), **given})


def _live() -> str:
    """Return a file of what is live."""
    request = begin_step("run-1").request
    assert not isinstance(request, NextRollout)
    revision = request.revision
    assert not isinstance(revision, int)
    return _file(revision=revision.model_dump(mode="json"))


@pytest.mark.parametrize("way", WAYS)
async def test_deploy_says_what_changes_before_it_begins(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live(replicas=5)
    await ways.take(way)

    given = _file(replicas=3, policy={"bake": "30s"})
    done = await command("deploy", "-f", "-", *BY, stdin=given)

    lines = done.stdout.splitlines()
    assert done.exit_code == 0, done.output
    assert lines[0] == "chat: r1 → r2"
    assert next(one for one in lines if "command:" in one).endswith("→ serve new")
    assert "  replicas: 5 → 3" in lines
    assert "  policy.bake: 5m → 30s, for this rollout" in lines
    assert lines.index("  replicas: 5 → 3") < next(
        at for at, one in enumerate(lines) if "rollout" in one.lower() and at
    )


@pytest.mark.parametrize("way", WAYS)
async def test_deploy_without_replicas_says_that_they_stay(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live(replicas=5)
    await ways.take(way)

    done = await command("deploy", "-f", "-", *BY, stdin=_file())

    assert "  replicas: 5, as they are" in done.stdout.splitlines()
    assert await rows.value("select replicas from rollouts where outcome is null") == 5


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("words", "given"),
    [
        (("deploy", "-f", "-", "--set", "replicas=0"), _file()),
        (("deploy", "-f", "-"), _file(replicas=0)),
        (("rollout", "start", "chat", "--revision", "1", "--restart", "--set", "replicas=0"), None),
    ],
)
async def test_a_rollout_that_takes_traffic_away_wants_a_yes_where_nobody_can_be_asked(
    way: str, words: tuple[str, ...], given: str | None, command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live(replicas=2)
    await ways.take(way)
    before = await rows.value("select count(*) from rollouts")

    refused = await command(*words, *BY, stdin=given)
    begun = await rows.value("select count(*) from rollouts")
    confirmed = await command(*words, "--yes", *BY, stdin=given)

    assert (refused.exit_code, begun) == (2, before)
    assert "--yes" in refused.stderr
    assert confirmed.exit_code == 0, confirmed.output
    assert await rows.value("select replicas from rollouts where outcome is null") == 0


@pytest.mark.parametrize("words", [("--dry-run",), ()])
async def test_a_rollout_to_no_replica_asks_nothing_where_nothing_is_served(
    words: tuple[str, ...], command: Command, ways: Ways, rows: Rows
) -> None:
    if words:
        await rows.live(replicas=2)
    await ways.take("api")

    done = await command("deploy", "-f", "-", *words, *BY, stdin=_file(replicas=0))

    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("way", WAYS)
async def test_deploy_of_what_is_live_has_nothing_to_do(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live(replicas=2)
    await ways.take(way)
    before = await rows.dump()

    told = await command("deploy", "-f", "-", *BY, stdin=_live())
    printed = await command("deploy", "-f", "-", "-o", "json", *BY, stdin=_live())

    assert (told.exit_code, printed.exit_code) == (0, 0), told.output + printed.output
    assert told.stdout.startswith("Nothing to do: r1 of chat is live")
    assert "--restart" in told.stdout
    assert "restart: true" not in told.stdout
    assert json.loads(printed.stdout) == {
        "deployment": "chat",
        "state": "ALREADY_THERE",
        "rollout": None,
        "to_revision": 1,
    }
    after = await rows.dump()
    assert {name for name in before if before[name] != after[name]} <= {"api_tokens"}


@pytest.mark.parametrize("way", WAYS)
async def test_deploy_of_what_is_under_way_has_nothing_to_do(
    way: str, command: Command, ways: Ways, rows: Rows
) -> None:
    opened = await rows.ready()
    await ways.take(way)

    printed = await command("deploy", "-f", "-", "-o", "json", *BY, stdin=_live())

    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout)["state"] == "ALREADY_THERE"
    assert json.loads(printed.stdout)["rollout"] == opened.begun.rollout


async def test_deploy_with_restart_rolls_out_what_is_live(command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await ways.take("direct")

    done = await command("deploy", "-f", "-", "--restart", "-o", "json", *BY, stdin=_live())

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["workflow_id"] == "rollout-chat"


@pytest.mark.parametrize("words", [("plan", "-f", "-"), ("deploy", "-f", "-", "--dry-run")])
@pytest.mark.parametrize("way", WAYS)
async def test_a_plan_writes_nothing(
    way: str, words: tuple[str, ...], command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live(replicas=5)
    await ways.take(way)
    before = await rows.dump()

    done = await command(*words, *BY, stdin=_file(policy={"auto_promote": True, "promote_after": "5m"}))

    assert done.exit_code == 0, done.output
    for part in (
        "capacity: 5 now, 10 replicas while both colours run",
        "timer: promotes 5m after green is verified",
        "promote: approver or admin",
        "policy.promote_after: 5m  (request)",
        "policy.bake: 5m  (default)",
    ):
        assert part in done.stdout
    after = await rows.dump()
    assert {name for name in before if before[name] != after[name]} <= {"api_tokens"}


@pytest.mark.parametrize("way", WAYS)
async def test_a_plan_of_what_would_be_refused_says_so_and_fails(
    way: str, command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live()
    await ways.take(way)

    done = await command("plan", "-f", "-", *BY, stdin=_file(policy={"promote_after": "5m"}))

    assert done.exit_code == 1
    assert "It would be refused: the policy contradicts itself" in done.stdout


QUEUED: Final = ("deploy", "-f", "-", "--wait", "--set", "policy.on_new_revision=queue", *BY)


async def _when_it_waits(rows: Rows, statement: str) -> None:
    """Execute a statement as soon as something waits for its turn."""

    async def waits() -> bool:
        return bool(await rows.value("select count(*) from next_rollouts"))

    await until(waits)
    await rows.sql(statement)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("delete from next_rollouts", "waits no more: another one has taken its place, or it was dropped"),
        ("update next_rollouts set held = 'rollout 2 failed'", "does not begin by itself: rollout 2 failed"),
    ],
)
async def test_whoever_waits_for_the_turn_of_a_rollout_hears_that_it_never_comes(
    way: str, statement: str, said: str, command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live()
    await rows.open("run-2")
    await ways.take(way)

    done, _ = await asyncio.gather(command(*QUEUED, stdin=_file()), _when_it_waits(rows, statement))

    assert done.exit_code == 1, done.output
    assert said in " ".join(done.output.split())


async def test_whoever_waits_for_the_turn_of_a_rollout_follows_it_then(
    command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live()
    opened = await rows.open("run-2")
    await ways.take("direct")

    async def begins_and_fails() -> None:
        await _when_it_waits(
            rows,
            "with begun as (delete from next_rollouts returning id)"
            " update rollouts set next = (select id from begun) where outcome is null",
        )
        await rows.finish(opened, RolloutOutcome.FAILED)

    done, _ = await asyncio.gather(command(*QUEUED, stdin=_file()), begins_and_fails())

    assert done.exit_code == 1, done.output
    assert f"Rollout {opened.begun.rollout} of chat" in done.output
