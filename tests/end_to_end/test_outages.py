"""Commands while the API is restarted."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from celadon.domain.language.commands import AbortCommand
from celadon.domain.language.states import RolloutPhase
from celadon.stack.addresses import StackAddresses
from tests.end_to_end.conftest import LiveDeployment, run_in, until
from tests.end_to_end.failing_front import FailingFront, failing_front

pytestmark = [pytest.mark.stack, pytest.mark.shared]


def through(front: FailingFront, stack: StackAddresses) -> Mapping[str, str]:
    """Return the environment of somebody who reaches the API through a proxy."""
    assert stack.admin_token_file is not None
    token = stack.admin_token_file.read_text().strip()
    others = {name: value for name, value in os.environ.items() if not name.startswith("CELADON_")}
    return {**others, "CELADON_URL": front.url, "CELADON_TOKEN": token}


def written(deployment: LiveDeployment, directory: Path, label: str) -> str:
    path = directory / f"{label}.json"
    request = deployment.request(label)
    del request["requested_by"]
    path.write_text(json.dumps(request))
    return str(path)


async def test_deploy_promote_and_scale_outlive_answers_that_a_proxy_loses(
    stack: StackAddresses,
    deployment: LiveDeployment,
    tmp_path: Path,
) -> None:
    name = deployment.name
    await deployment.serve("r1")
    async with failing_front(stack.api) as front:
        environment = through(front, stack)
        deploying = asyncio.create_task(
            run_in(environment, "celadon", "deploy", "-f", written(deployment, tmp_path, "r2"), "--wait"),
        )
        await until(lambda: _waits(deployment), f"{name} waits for its promotion")
        code, _, err = await run_in(environment, "celadon", "promote", name, "--reason", "good")
        assert code == 0, err
        assert await deployment.live_revision() == 2
        code, _, err = await run_in(environment, "celadon", "deployment", "scale", name, "3", "--wait")
        assert code == 0, err
        code, _, err = await run_in(environment, "celadon", "rollback", name, "--reason", "bad")
        assert code == 0, err
        code, _, err = await deploying

    assert code == 1, err
    assert "check the address" not in err
    assert await deployment.outcomes() == ["promoted", "rolled_back"]
    for what, ids in front.ids.items():
        assert front.asked[what] == 2, what
        assert len(ids) == 1, what


@pytest.mark.exclusive  # kills everybody's API
async def test_waiting_outlives_an_api_that_is_killed(stack: StackAddresses, deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    assert stack.admin_token_file is not None
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CELADON_")},
        "CELADON_URL": stack.api,
        "CELADON_TOKEN": stack.admin_token_file.read_text().strip(),
    }
    await deployment.wait_for_promotion("r2")
    waiting = asyncio.create_task(
        run_in(environment, "celadon", "promote", deployment.name, "--wait", "--timeout", "100s"),
    )
    await deployment.phase(RolloutPhase.BAKING)

    killed = StackAddresses.of_running(stack.data_dir).children["api"]
    os.kill(killed, signal.SIGKILL)
    await until(lambda: _is_another(stack, killed), "the API runs again")
    await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann"))
    code, out, err = await waiting

    assert code == 1, err
    assert "rolled back" in out


async def _waits(deployment: LiveDeployment) -> bool:
    status = await deployment.rollouts.status(deployment.name)
    return status.phase is RolloutPhase.AWAITING_PROMOTION


async def _is_another(stack: StackAddresses, killed: int) -> bool:
    return StackAddresses.of_running(stack.data_dir).children.get("api") not in {None, killed}
