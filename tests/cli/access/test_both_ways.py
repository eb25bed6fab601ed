"""The same command gives the same answer, through the API and past it."""

import asyncio
import json
import threading
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from celadon.cli.access.opening import open_access
from celadon.cli.completion import names_of_api
from celadon.cli.events import coming_events, follow_events
from celadon.cli.output import OutputFormat
from celadon.cli.target import ApiTarget, TargetChoice, find_target
from celadon.cli.watching import LineScreen
from celadon.domain.language.permissions import Role
from celadon.domain.language.states import RolloutOutcome
from celadon.service.rollout_view import RolloutView
from celadon.table.rollouts.audit import write_event
from tests.api.conftest import DEADLINE_SECONDS
from tests.cli.access.conftest import Ways
from tests.cli.conftest import Command, stay_connected
from tests.table.rows import Rows

ADMIN = "admin"
"""Whose token the tests use; direct commands say so themselves."""

READING: Sequence[tuple[str, ...]] = (
    ("deployment", "list"),
    ("deployment", "show", "chat"),
    ("rollout", "list"),
    ("rollout", "status", "chat"),
    ("rollout", "history", "chat"),
    ("rollout", "history", "chat", "--limit", "2"),
    ("router", "list"),
    ("freezes",),
    ("revision", "list", "chat"),
    ("rollout", "find"),
    ("rollout", "find", "--unfinished", "--phase", "awaiting_promotion"),
    ("rollout", "find", "--deployment", "chat", "--outcome", "promoted"),
    ("rollout", "find", "--limit", "1"),
    ("events",),
    ("events", "--deployment", "chat", "--limit", "2"),
)
REFUSED: Sequence[tuple[str, ...]] = (
    ("deployment", "show", "chit"),
    ("rollout", "status", "chit"),
    ("rollout", "history", "chit"),
    ("rollout", "history", "chat", "--rollout", "777777"),
    ("rollout", "watch", "chat", "--rollout", "777777"),
    ("deployment", "scale", "chit", "3"),
    ("deployment", "delete", "chit", "--yes"),
    ("deployment", "delete", "chat", "--yes"),
    ("promote", "chit"),
    ("revision", "list", "chit"),
    ("rollout", "find", "--deployment", "chit"),
    ("events", "--deployment", "chit"),
    ("deployment", "label", "chit", "team=search"),
    ("deployment", "create", "chat", "--replicas", "7"),
    ("router", "forget", "edge-9"),
)

_MOVES = frozenset({"at", "seen_at", "unanswered_because", "request_id"})
"""What differs from one reading to the next."""


def _still(value: Any) -> Any:
    """Return an answer without what moves."""
    if isinstance(value, dict):
        return {key: _still(one) for key, one in value.items() if key not in _MOVES or not isinstance(one, str)}
    return [_still(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("words", READING, ids=" ".join)
async def test_reading(words: tuple[str, ...], command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live(replicas=2)
    await rows.ready("run-2", reason="new weights")
    await rows.router("edge-1", 1)
    await stay_connected(rows)

    ways.directly()
    direct = await command(*words, "-o", "json")
    await ways.through_api()
    through = await command(*words, "-o", "json")

    assert (direct.exit_code, through.exit_code) == (0, 0), (direct.stderr, through.stderr)
    assert _still(json.loads(through.stdout)) == _still(json.loads(direct.stdout))


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
async def test_refusals(words: tuple[str, ...], command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await rows.ready("run-2")

    ways.directly()
    direct = await command(*words, "-o", "json")
    await ways.through_api()
    through = await command(*words, "-o", "json")

    assert (direct.exit_code, through.exit_code) == (1, 1), (direct.stdout, through.stdout)
    codes = [json.loads(one.stdout)["error"]["code"] for one in (direct, through)]
    assert codes[0] == codes[1] != "FAILED", (direct.stdout, through.stdout)
    assert through.stderr.startswith("Refused: ")


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_scaling_is_written_with_who_asked(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live(replicas=2)
    await ways.take(way)

    done = await command("deployment", "scale", "chat", "5", "--by", ADMIN, "--reason", "friday", "-o", "json")
    history = await command("rollout", "history", "chat", "-o", "json")

    assert done.exit_code == 0, done.stderr
    assert (json.loads(done.stdout)["before"], json.loads(done.stdout)["replicas"]) == (2, 5)
    (event,) = [one for one in json.loads(history.stdout)["events"] if one["kind"] == "scaled"]
    assert (event["actor"], event["door"], event["verified"], event["reason"]) == (ADMIN, "cli", way == "api", "friday")


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_a_deployment_is_created_once_and_labelled(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await ways.take(way)
    create = ("deployment", "create", "search", "--replicas", "2", "--label", "team=search", "--by", ADMIN)

    created = await command(*create)
    again = await command(*create)
    labelled = await command("deployment", "label", "search", "env=prod", "--by", ADMIN, "--reason", "moved")
    cleared = await command("deployment", "label", "search", "--clear", "--by", ADMIN)

    assert [one.exit_code for one in (created, again, labelled, cleared)] == [0, 0, 0, 0], created.stderr
    assert "search is created" in created.stdout
    assert "nothing was changed" in again.stdout
    assert labelled.stdout == "search has env=prod.\n"
    assert cleared.stdout == "search has no labels.\n"
    events = await rows.rows("select kind, actor, door, verified, reason from rollout_events order by id")
    assert [(row["kind"], row["reason"]) for row in events] == [
        ("created", ""),
        ("labelled", "moved"),
        ("labelled", ""),
    ]
    assert {(row["actor"], row["door"], row["verified"]) for row in events} == {(ADMIN, "cli", way == "api")}


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_the_same_revision_is_registered_once(
    way: str, command: Command, ways: Ways, rows: Rows, tmp_path: Path
) -> None:
    await rows.live()
    await ways.take(way)
    file = tmp_path / "chat.yaml"
    file.write_text("deployment: chat\nrevision: {command: [serve, --fast], health_check: {tcp: true}}\n")

    added = await command("revision", "add", "-f", str(file), "--by", ADMIN, "-o", "json")
    again = await command("revision", "add", "-f", str(file), "--by", ADMIN, "-o", "json")
    listed = await command("revision", "list", "chat")

    assert json.loads(added.stdout) == json.loads(again.stdout) == {"deployment": "chat", "revision": 2}
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["REVISION", "r2", "r1"]
    assert listed.stdout.splitlines()[1].endswith("serve --fast")


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_a_revision_with_plain_secrets_is_not_registered(
    way: str, command: Command, ways: Ways, rows: Rows, tmp_path: Path
) -> None:
    await rows.live()
    await ways.take(way)
    file = tmp_path / "chat.yaml"
    file.write_text(
        "deployment: chat\nrevision: {command: [serve], env: {API_TOKEN: abc}, health_check: {tcp: true}}\n"
    )

    refused = await command("revision", "add", "-f", str(file), "--by", ADMIN)

    assert refused.exit_code == 1
    assert "API_TOKEN" in refused.stderr
    assert await rows.value("select count(*) from revisions") == 1


async def test_a_revision_that_is_only_a_number_is_not_registered(
    command: Command, ways: Ways, rows: Rows, tmp_path: Path
) -> None:
    await rows.live()
    ways.directly()
    file = tmp_path / "chat.yaml"
    file.write_text("deployment: chat\nrevision: 1\n")

    refused = await command("revision", "add", "-f", str(file))

    assert refused.exit_code == 1
    assert "which chat has already" in refused.stderr


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_pages_of_rollouts_follow_one_another(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await rows.ready("run-2")
    await ways.take(way)

    first = json.loads((await command("rollout", "find", "--limit", "1", "-o", "json")).stdout)
    second = json.loads(
        (await command("rollout", "find", "--limit", "1", "--before", str(first["next_before"]), "-o", "json")).stdout
    )

    assert [one["rollouts"][0]["run_id"] for one in (first, second)] == ["run-2", "run-1"]
    assert second["next_before"] is None


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_events_are_followed_as_they_come(way: str, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await ways.take(way)
    last = await rows.value("select max(id) from rollout_events")

    async with open_access(TargetChoice()) as access, aclosing(coming_events(access, "chat", last)) as coming:
        first = asyncio.create_task(anext(coming))
        await rows.ready("run-2")
        async with asyncio.timeout(DEADLINE_SECONDS):
            kinds = [(await first).kind, (await anext(coming)).kind]

    assert (
        kinds
        == [
            row["kind"]
            for row in await rows.rows("select kind from rollout_events where id > :last order by id", last=last)
        ][:2]
    )


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_events_show_the_newest_lines(way: str, command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await rows.live("run-2", deployment="ads")
    await ways.take(way)

    newest = await command("events", "--limit", "2", "-o", "json")
    oldest = await command("events", "--after", "0", "--limit", "2", "-o", "json")

    numbers = [row["id"] for row in await rows.rows("select id from rollout_events order by id")]
    shown = json.loads(newest.stdout)
    assert [one["id"] for one in shown["events"]] == numbers[:-3:-1]
    assert shown["next_before"] == numbers[-2]
    assert shown["next_after"] == numbers[-1]
    assert [one["id"] for one in json.loads(oldest.stdout)["events"]] == numbers[:2]


@pytest.mark.parametrize(("words", "before"), [((), 0), (("--limit", "2"), 2)])
@pytest.mark.parametrize("way", ["api", "direct"])
async def test_events_are_followed_from_now(
    way: str, words: tuple[str, ...], before: int, ways: Ways, rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    await rows.live()
    await ways.take(way)
    last = await rows.value("select max(id) from rollout_events")
    limit = int(words[1]) if words else None
    shown: list[int] = []

    def lines() -> list[int]:
        shown.extend(json.loads(line)["id"] for line in capsys.readouterr().out.splitlines() if line.startswith("{"))
        return shown

    following = asyncio.create_task(follow_events("chat", None, limit, TargetChoice(), OutputFormat.JSON))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            # A line that is there before it looks is none that comes.
            number = 0
            while not any(one > last for one in lines()):
                number += 1
                async with rows.table.transaction() as tx:
                    await write_event(tx, "chat", None, f"news-{number}")
                await asyncio.sleep(0.5)
    finally:
        following.cancel()
        await asyncio.wait([following])

    old = [one for one in shown if one <= last]
    assert len(old) <= before
    assert shown == list(range(shown[0], shown[-1] + 1))


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_a_line_that_is_committed_late_is_not_missed(way: str, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await rows.live("run-2", deployment="ads")
    await ways.take(way)
    last = await rows.value("select max(id) from rollout_events")

    async with open_access(TargetChoice()) as access, aclosing(coming_events(access, None, last)) as coming:
        first = asyncio.create_task(anext(coming))
        async with rows.table.transaction() as late:
            await write_event(late, "chat", None, "late")
            async with rows.table.transaction() as early:
                await write_event(early, "ads", None, "early")
        async with asyncio.timeout(DEADLINE_SECONDS):
            kinds = [(await first).kind, (await anext(coming)).kind]

    assert kinds == ["late", "early"]


@pytest.mark.parametrize("way", ["api", "direct"])
async def test_a_watch_ends_with_the_rollout(
    way: str, command: Command, ways: Ways, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = threading.Event()
    show = LineScreen.show

    def show_and_tell(screen: LineScreen, view: RolloutView) -> None:
        show(screen, view)
        shown.set()

    monkeypatch.setattr(LineScreen, "show", show_and_tell)
    await rows.live()
    opened = await rows.switched("run-2")
    await ways.take(way)

    watching = asyncio.create_task(command("rollout", "watch", "chat"))
    assert await asyncio.to_thread(shown.wait, DEADLINE_SECONDS)
    await rows.finish(opened)
    result = await watching

    assert result.exit_code == 0, result.stderr
    assert "baking · live r2" in result.stdout
    assert result.stdout.splitlines()[-1] == (f"Rollout {opened.begun.rollout} of chat (r1 → r2): promoted: because")


async def test_a_watch_of_a_rollout_that_was_overtaken_tells_its_own_end(
    command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live()
    aborted = await rows.ready("run-2")
    await rows.finish(aborted, RolloutOutcome.ABORTED)
    await rows.ready("run-3")
    await ways.through_api()

    result = await command("rollout", "watch", "chat", "--rollout", str(aborted.begun.rollout))

    assert result.exit_code == 1
    assert "aborted: because" in result.stdout


async def test_a_viewer_is_refused_with_the_role_that_would_do(command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await ways.through_api(Role.VIEWER)

    shown = await command("deployment", "show", "chat")
    refused = await command("deployment", "scale", "chat", "3", "-o", "json")

    assert shown.exit_code == 0
    assert refused.exit_code == 1
    error = json.loads(refused.stdout)["error"]
    assert error["code"] == "FORBIDDEN"
    assert "viewer may not scale" in error["message"]
    assert await rows.value("select replicas from deployments") == 1


async def test_somebody_with_a_token_cannot_decide_as_somebody_else(command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await ways.through_api()

    result = await command("deployment", "scale", "chat", "3", "--by", "ann")

    assert result.exit_code == 1
    assert "the token is admin's, so the audit log will not say ann" in result.stderr
    assert await rows.value("select replicas from deployments") == 1


async def test_a_token_that_is_not_known_is_told_with_where_it_comes_from(
    command: Command, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ways.through_api()
    monkeypatch.setenv("CELADON_TOKEN", "celadon_wrong")

    result = await command("rollout", "list", "-o", "json")

    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "UNAUTHENTICATED"
    assert "CELADON_URL and CELADON_TOKEN of the environment" in error["next_step"]


async def test_whoami_tells_name_roles_and_scope(command: Command, ways: Ways) -> None:
    await ways.through_api(Role.OPERATOR, team="search")

    text = await command("whoami")
    given = await command("whoami", "-o", "json")

    assert "you may      operator" in text.stdout
    assert "those with team=search" in text.stdout
    assert (json.loads(given.stdout)["verified"], json.loads(given.stdout)["roles"]) == (True, ["operator"])


async def test_whoami_tells_that_nobody_asks_past_the_api(command: Command, ways: Ways) -> None:
    ways.directly()

    result = await command("whoami")

    assert "none: by Postgres and Temporal" in result.stdout


async def test_names_are_completed_through_the_api(ways: Ways, rows: Rows) -> None:
    await rows.live()
    await ways.through_api(Role.VIEWER)
    target = find_target(TargetChoice())

    assert isinstance(target, ApiTarget)
    assert await names_of_api(target) == ["chat"]


async def test_a_delete_through_the_api_ends_a_rollout_whose_workflow_is_gone(
    command: Command, ways: Ways, rows: Rows
) -> None:
    await rows.live()
    opened = await rows.ready("run-2")
    await ways.through_api()

    deleting = asyncio.create_task(command("deployment", "delete", "chat", "--yes", "--abort", "-o", "json"))
    await asyncio.wait({deleting}, timeout=1)
    await rows.close(opened, opened.green)
    await rows.finish(opened, RolloutOutcome.ABORTED)
    result = await deleting

    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["lifecycle"] == "destroying"


async def test_patience_ends_and_says_that_nothing_was_deleted(command: Command, ways: Ways, rows: Rows) -> None:
    await rows.live()
    await rows.ready("run-2")
    await ways.through_api()

    result = await command("deployment", "delete", "chat", "--yes", "--abort", "--timeout", "1s")

    assert result.exit_code == 1
    assert "did not end within 1s; it was asked to, but nothing was deleted" in result.stderr
    assert await rows.value("select lifecycle from deployments") != "destroying"
