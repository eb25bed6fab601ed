"""The command line on a running stack, as an operator uses it."""

import json
from pathlib import Path

import pytest

from celadon.domain.language.states import RolloutPhase
from celadon.stack.addresses import StackAddresses
from tests.end_to_end.conftest import LiveDeployment, run, run_json

pytestmark = [pytest.mark.stack, pytest.mark.shared]


def _file(deployment: LiveDeployment, directory: Path, label: str) -> str:
    path = directory / f"{label}.json"
    path.write_text(json.dumps(deployment.request(label)))
    return str(path)


async def test_deploy_promote_and_roll_back(
    stack: StackAddresses,
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    name = deployment.name
    code, _, err = await run(stack, "celadon", "deploy", "-f", _file(deployment, tmp_path, "r1"), "--wait")
    assert code == 0, err

    code, _, err = await run(stack, "celadon", "deploy", "-f", _file(deployment, tmp_path, "r2"))
    assert code == 0, err
    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
    status = await run_json(stack, "celadon", "rollout", "status", name, "-o", "json")
    promoted = await run_json(stack, "celadon", "promote", name, "--by", "ann", "--reason", "good", "-o", "json")
    assert await deployment.answer() == (200, "r2")
    back = await run_json(stack, "celadon", "rollback", name, "--by", "ann", "--reason", "bad", "-o", "json")
    assert await deployment.answer() == (200, "r1")
    await deployment.ended()
    history = json.dumps(await run_json(stack, "celadon", "rollout", "history", name, "-o", "json"))

    assert "awaiting_promotion" in json.dumps(status)
    assert (promoted["answer"]["state"], promoted["answer"]["acknowledged_by"]) == ("switched", ["local"])
    assert (back["answer"]["outcome"], back["answer"]["acknowledged_by"]) == ("rolled_back", ["local"])
    for told in ("promotion_requested", "switched", "rollback_requested", "switched_back", "good", "bad", "ann"):
        assert told in history


async def test_watch_ends_with_1_when_the_rollout_was_aborted(
    stack: StackAddresses,
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    code, _, err = await run(stack, "celadon", "abort", deployment.name, "--reason", "wrong weights")
    assert code == 0, err
    code, _, _ = await run(stack, "celadon", "rollout", "watch", deployment.name)

    assert code == 1
    assert await deployment.answer() == (200, "r1")
    _, listed, _ = await run(stack, "celadon", "rollout", "list")
    assert deployment.name in listed


async def test_another_revision_than_the_one_that_waits_is_refused(
    stack: StackAddresses,
    waiting: LiveDeployment,
) -> None:
    code, _, err = await run(stack, "celadon", "promote", waiting.name, "--revision", "7")

    assert code == 1
    assert "r7" in err or "revision 7" in err
    assert await waiting.live_revision() == 1


async def test_a_second_rollout_is_refused_and_says_what_to_do(
    stack: StackAddresses,
    waiting: LiveDeployment,
    tmp_path: Path,
) -> None:
    code, _, err = await run(stack, "celadon", "deploy", "-f", _file(waiting, tmp_path, "r3"))

    assert code == 1
    assert "is under way" in err
    assert f"celadon abort {waiting.name}" in err.replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"deployment": "Chat_"}, "DNS label"),
        ({"replicas": -1}, "replicas"),
        ({"revision": {}}, "needs a command"),
        ({"revision": {"command": ["a"], "provisioner": "kubernetes"}}, "kubernetes"),
        ({"policy": {"bake": "-5s"}}, "never negative"),
        ({"policy": {"min_healthy": "120%"}}, "up to 100%"),
        ({"policy": {"shadow_percent": 5}}, "not carried out by this version"),
        ({"policy": {"bakes": "5m"}}, "unknown key"),
        ({"colour": "green"}, "unknown key"),
    ],
)
async def test_a_file_that_cannot_work_is_refused_before_anything_starts(
    stack: StackAddresses,
    deployment: LiveDeployment,
    tmp_path: Path,
    change: dict[str, object],
    told: str,
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**deployment.request("r1"), **change}))

    code, _, err = await run(stack, "celadon", "deploy", "-f", str(path))

    assert code == 1
    assert told in err
    assert await deployment.outcomes() == []


@pytest.mark.exclusive  # judges all deployments of the stack
async def test_doctor_finds_a_running_stack_well(stack: StackAddresses, deployment: LiveDeployment) -> None:
    await deployment.serve("r1")

    code, out, err = await run(stack, "celadon", "doctor")

    assert code == 0, out + err
    assert "keeper" in out
