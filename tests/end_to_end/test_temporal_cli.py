"""The plain ``temporal`` command line alone operates rollouts, with the commands that README gives."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from celadon.domain.language.states import RolloutPhase
from celadon.stack.addresses import StackAddresses
from tests.end_to_end.conftest import LiveDeployment, own_name, run, run_in, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]

README = Path(__file__).parents[2] / "README.md"


def _readme_commands() -> list[str]:
    """Return the commands of README's section on Temporal's command line, as written."""
    block = re.search(
        r"<!-- temporal-cli:begin -->\n```\n(.*?)```\n<!-- temporal-cli:end -->", README.read_text(), re.DOTALL
    )
    assert block is not None
    return block[1].splitlines()


class TemporalCli:
    """Runs README's commands for one deployment."""

    def __init__(self, deployment: LiveDeployment, directory: Path) -> None:
        self._deployment = deployment
        self._directory = directory
        self.used: set[str] = set()

    def write_request(self, label: str) -> None:
        content = json.dumps(self._deployment.request(label, replicas=3))
        self._directory.joinpath("chat.json").write_text(content)

    async def readme(self, beginning: str) -> tuple[int, str, str]:
        """Run the README's command that begins so; only the deployment's name is another one."""
        (command,) = [one for one in _readme_commands() if one.startswith(beginning)]
        self.used.add(command)
        named = {"chat": self._deployment.name, "rollout-chat": f"rollout-{self._deployment.name}"}
        words = [named.get(word, word) for word in shlex.split(command)]
        return await run(self._deployment.addresses, *words, directory=self._directory)

    async def own(self, *words: str) -> tuple[int, str, str]:
        """Run another command of Temporal's."""
        return await run(self._deployment.addresses, "temporal", *words, directory=self._directory)


@pytest.fixture
def temporal(deployment: LiveDeployment, tmp_path: Path) -> TemporalCli:
    """Return README's commands for a deployment of its own."""
    return TemporalCli(deployment, tmp_path)


async def test_every_command_of_readme_works_as_written(deployment: LiveDeployment, temporal: TemporalCli) -> None:
    temporal.write_request("r1")
    code, _, err = await temporal.readme("celadon deployment create")
    assert code == 0, err
    code, _, err = await temporal.readme("celadon revision add")
    assert code == 0, err
    code, _, err = await temporal.readme("temporal workflow start")
    assert code == 0, err
    assert (await deployment.ended()).status == "completed"

    temporal.write_request("r2")
    await temporal.readme("celadon revision add")
    await temporal.readme("temporal workflow start")
    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
    _, out, _ = await temporal.readme("temporal workflow query")
    assert "awaiting_promotion" in out

    async def listed() -> bool:
        _, found, _ = await temporal.readme("temporal workflow list")
        return f"rollout-{deployment.name}" in found

    await until(listed, "the rollout is found by its search attribute")
    code, out, err = await temporal.readme("temporal workflow update execute -w rollout-chat --name promote")
    assert code == 0, err
    assert "state:switched" in out
    assert await deployment.answer() == (200, "r2")
    code, out, err = await temporal.readme("temporal workflow update execute -w rollout-chat --name rollback")
    assert code == 0, err
    assert await deployment.answer() == (200, "r1")
    await deployment.ended()

    await temporal.readme("temporal workflow start")
    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
    code, _, err = await temporal.readme("temporal workflow signal")
    assert code == 0, err
    await deployment.phase(RolloutPhase.BAKING)
    code, _, err = await temporal.readme("temporal workflow cancel")
    assert code == 0, err
    assert (await deployment.ended()).status == "cancelled"
    assert await deployment.answer() == (200, "r1")

    code, out, _ = await temporal.readme("temporal workflow show")
    assert code == 0
    assert "ActivityTaskCompleted" in out
    assert temporal.used == set(_readme_commands())


async def test_a_shell_that_has_taken_celadon_env_speaks_to_the_stack(
    deployment: LiveDeployment, tmp_path: Path
) -> None:
    """As written in README, from any directory, in a shell that spoke to another Temporal and another Celadon."""
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    profiles = tmp_path / "temporalio" / "temporal.toml"
    profiles.parent.mkdir()
    profiles.write_text('[profile.default]\naddress = "127.0.0.1:1"\napi_key = "of another Temporal"\n')
    celadon = shlex.quote(str(Path(sys.executable).parent / "celadon"))
    script = f"""
        set -eu
        eval "$({celadon} env --data-dir {shlex.quote(str(deployment.addresses.data_dir))})"
        temporal workflow query -w rollout-{deployment.name} --type status
        temporal workflow signal -w rollout-{deployment.name} --name promote
        {celadon} rollout list -o json
    """
    elsewhere = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
        "TEMPORAL_TLS": "true",
        "DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
    }

    code, out, err = await run_in({**os.environ, **elsewhere}, "/bin/sh", "-c", script, directory=tmp_path)

    assert code == 0, err
    assert "awaiting_promotion" in out
    assert deployment.name in out
    await deployment.phase(RolloutPhase.BAKING)
    assert await deployment.answer() == (200, "r2")


async def test_a_cancel_at_the_gate_leaves_blue_live(deployment: LiveDeployment, temporal: TemporalCli) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    await temporal.readme("temporal workflow cancel")

    assert (await deployment.ended()).status == "cancelled"
    assert await deployment.answer() == (200, "r1")
    await deployment.until_only_live_is_left()


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        ("7", "not an object"),
        ('{"revison": 2}', "unknown key"),
        ('{"revision": "2"}', "whole number"),
        ('{"revision": 9}', "green is revision 2"),
        ('{"force": true}', "needs a reason"),
    ],
)
async def test_an_update_that_cannot_go_ahead_is_refused_with_the_reason(
    stack: StackAddresses,
    waiting: LiveDeployment,
    payload: str,
    told: str,
) -> None:
    identity = f"rollout-{waiting.name}"

    code, _, err = await run(
        stack,
        *("temporal", "workflow", "update", "execute", "-w", identity, "--name", "promote", "--input", payload),
    )

    assert code == 1
    assert told in err
    assert await waiting.live_revision() == 1


@pytest.mark.parametrize(
    "payload",
    [
        (),
        ("--input", "7"),
        ("--input", '{"deployment": "x", "revision": 1, "replica": 2}'),
        ("--input", '{"revision": 1}'),
    ],
    ids=["nothing", "a number", "an unknown key", "no deployment"],
)
async def test_a_start_that_does_not_parse_fails_at_once_and_leaves_nothing(
    stack: StackAddresses,
    payload: tuple[str, ...],
) -> None:
    identity = f"rollout-{own_name('mistyped')}"

    await run(
        stack,
        *("temporal", "workflow", "start", "--type", "BlueGreenRollout", "--task-queue", "celadon", "-w", identity),
        *payload,
    )
    code, out, err = await run(stack, "temporal", "workflow", "result", "-w", identity)

    assert code == 1
    assert "send one JSON object with keys among" in out + err


async def test_a_start_under_a_foreign_workflow_id_fails(stack: StackAddresses) -> None:
    await run(
        stack,
        *("temporal", "workflow", "start", "--type", "BlueGreenRollout", "--task-queue", "celadon", "-w", "mine"),
        *("--input", '{"deployment": "chat", "revision": 1}'),
    )

    code, out, err = await run(stack, "temporal", "workflow", "result", "-w", "mine")

    assert code == 1
    assert "runs as rollout-chat" in out + err


async def test_a_second_start_while_one_runs_is_refused(stack: StackAddresses, waiting: LiveDeployment) -> None:
    code, _, err = await run(
        stack,
        *("temporal", "workflow", "start", "--type", "BlueGreenRollout", "--task-queue", "celadon"),
        *("-w", f"rollout-{waiting.name}", "--input", json.dumps(waiting.request("r3"))),
        "--fail-existing",
    )

    assert code == 1
    assert "already" in err.lower()


async def test_refused_signals_are_told_by_status_and_audit(stack: StackAddresses, waiting: LiveDeployment) -> None:
    identity = f"rollout-{waiting.name}"
    before = (await waiting.rollouts.status(waiting.name)).refused_total

    for payload in ('{"revision": 9}', "7"):
        code, _, err = await run(
            stack,
            *("temporal", "workflow", "signal", "-w", identity, "--name", "promote", "--input", payload),
        )
        assert code == 0, err

    async def told() -> bool:
        return (await waiting.rollouts.status(waiting.name)).refused_total == before + 2

    await until(told, "both signals are refused")
    assert await waiting.live_revision() == 1


async def test_a_start_by_temporal_alone_runs_no_command_that_nobody_has_registered(
    stack: StackAddresses,
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1")
    request = json.dumps(deployment.request("r2"))

    await run(
        stack,
        *("temporal", "workflow", "start", "--type", "BlueGreenRollout", "--task-queue", "celadon"),
        *("-w", f"rollout-{deployment.name}", "--input", request),
    )
    code, out, err = await run(stack, "temporal", "workflow", "result", "-w", f"rollout-{deployment.name}")

    assert code == 1
    assert "celadon revision add" in out + err
    assert await deployment.answer() == (200, "r1")


async def test_a_promotion_by_temporal_alone_forces_nothing(stack: StackAddresses, waiting: LiveDeployment) -> None:
    code, _, err = await run(
        stack,
        *("temporal", "workflow", "update", "execute", "-w", f"rollout-{waiting.name}", "--name", "promote"),
        *("--input", '{"force": true, "reason": "now"}'),
    )

    assert code == 1
    assert "celadon promote" in err
    assert await waiting.live_revision() == 1
