"""Targets and deliveries by the command line."""

import json

import pytest

from tests.cli.conftest import Command
from tests.table.rows import Rows

ADD = ("notify", "target", "add", "ops")
WEBHOOK = (*ADD, "--url", "https://ops.example/hook", "--secret", "hook-key")


async def test_a_target_is_added_listed_and_removed(command: Command, rows: Rows) -> None:
    added = await command(*WEBHOOK, "--every-deployment", "--event", "failed", "--by", "ann")
    text = await command("notify", "target", "list")
    given = await command("notify", "target", "list", "-o", "json")
    removed = await command("notify", "target", "remove", "ops")

    assert "Target ops added; see whether it works: celadon notify target test ops." in added.stdout
    assert "https://ops.example/hook  every deployment: failed" in text.stdout
    (target,) = json.loads(given.stdout)["targets"]
    assert (target["name"], target["signing_secrets"], target["added_by"]) == ("ops", ["hook-key"], "ann")
    assert removed.exit_code == 0
    assert await rows.value("select count(*) from notify_targets") == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((*ADD, "--url", "https://ops.example/"), "a webhook is signed"),
        ((*ADD, "--url", "https://ann:hunter2@ops.example/", "--secret", "k"), "holds a password"),
        ((*ADD, "--kind", "slack", "--url", "https://hooks.example/hunter2"), "--url-secret NAME"),
    ],
)
async def test_what_is_no_target_is_refused_without_its_url(
    command: Command,
    rows: Rows,
    arguments: tuple[str, ...],
    why: str,
) -> None:
    result = await command(*arguments)

    assert result.exit_code == 1
    assert why in result.stderr
    assert "hunter2" not in result.output
    assert await rows.value("select count(*) from notify_targets") == 0


@pytest.mark.parametrize("words", [("target", "remove"), ("target", "enable"), ("target", "test"), ("retry",)])
async def test_a_target_that_is_not_there_is_refused(command: Command, rows: Rows, words: tuple[str, ...]) -> None:
    result = await command("notify", *words, "nobody")

    assert result.exit_code == 1
    assert "there is no target nobody" in result.stderr
    assert rows.fence


async def test_a_sample_that_no_worker_sends_is_said_to_be_so(command: Command, rows: Rows) -> None:
    await command(*WEBHOOK)

    result = await command("notify", "target", "test", "ops", "--timeout", "100ms")

    assert result.exit_code == 1
    assert "no worker has told within 0.1 s what came of the sample for ops" in result.stderr
    assert await rows.value("select count(*) from deliveries") == 1


async def test_a_history_tells_who_was_notified_and_what_failed(command: Command, rows: Rows) -> None:
    await command(*WEBHOOK)
    await rows.live(policy={"notify": [{"target": "ops"}]})
    await rows.sql(
        "update deliveries set state = 'dead', attempts = 5, last_error = 'answered 404' from notifications n "
        "where n.id = notification and n.kind = 'switched'",
    )

    text = await command("rollout", "history", "chat")
    given = await command("rollout", "history", "chat", "-o", "json")
    listed = await command("notify", "list", "-o", "json")

    lines = [" ".join(line.split()) for line in text.stdout.splitlines()]
    assert any(line.endswith("switched ops dead 5 answered 404") for line in lines)
    notified = json.loads(given.stdout)["notified"]
    assert [(one["kind"], one["state"]) for one in notified] == [
        ("completed", "waiting"),
        ("switched", "dead"),
        ("started", "waiting"),
    ]
    assert json.loads(listed.stdout)["deliveries"] == notified


async def test_what_was_given_up_is_retried(command: Command, rows: Rows) -> None:
    await command(*WEBHOOK)
    await rows.begin(policy={"notify": [{"target": "ops"}]})
    await rows.sql("update deliveries set state = 'dead', attempts = 5")

    result = await command("notify", "retry", "ops")

    assert "1 that were given up are sent again" in result.stdout
    assert await rows.value("select state from deliveries") == "waiting"


async def test_the_doctor_tells_of_targets_that_are_not_told(command: Command, rows: Rows) -> None:
    for name in ("behind", "dead", "gone"):
        await command("notify", "target", "add", name, "--url", "https://a.example/", "--secret", "k")
    await rows.begin(policy={"notify": [{"target": "behind"}, {"target": "dead"}]})
    await rows.sql("update deliveries set due_at = now() - interval '5 minutes' where target = 'behind'")
    await rows.sql("update deliveries set state = 'dead' where target = 'dead'")
    await rows.sql(
        "update notify_targets set disabled_at = now(), disabled_reason = 'answered 410' where name = 'gone'"
    )

    result = await command("doctor", "-o", "json")

    findings = {one["check"]: one for one in json.loads(result.stdout)["findings"]}
    assert {name: findings[f"target {name}"]["verdict"] for name in ("behind", "dead", "gone")} == {
        "behind": "odd",
        "dead": "odd",
        "gone": "odd",
    }
    assert "1 notifications wait, the oldest for 5m" in findings["target behind"]["told"]
    assert "celadon notify retry dead" in findings["target dead"]["next_step"]
    assert "is disabled: answered 410" in findings["target gone"]["told"]
