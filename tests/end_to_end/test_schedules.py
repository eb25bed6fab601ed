"""Schedules on a whole stack, with the commands that README gives: ``celadon schedule``, and ``temporal`` alone."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from celadon.domain.language.states import RolloutPhase
from tests.end_to_end.conftest import LiveDeployment, run, run_json, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]

README = Path(__file__).parents[2] / "README.md"
NEAR_SECONDS = (20, 60)
"""How far a near moment lies ahead: a command must have made the schedule by then, on a busy machine too."""


def _commands() -> Iterator[str]:
    """Yield the commands of README's section on schedules, as written."""
    block = re.search(r"<!-- schedules:begin -->\n```\n(.*?)```\n<!-- schedules:end -->", README.read_text(), re.DOTALL)
    assert block is not None
    yield from block[1].splitlines()


class Schedules:
    """Runs README's commands for one deployment."""

    def __init__(self, deployment: LiveDeployment) -> None:
        self._deployment = deployment
        self.used: set[str] = set()

    async def readme(self, beginning: str) -> str:
        """Run the README's command that begins so, for the deployment of this test and at a moment that is near."""
        (command,) = [one for one in _commands() if one.startswith(beginning)]
        self.used.add(command)
        for seconds in NEAR_SECONDS:
            words = [self._own(word, seconds) for word in shlex.split(command)]
            code, out, err = await run(self._deployment.addresses, *words)
            if "has passed" not in err:
                break
        assert code == 0, err
        return out

    async def listed(self) -> dict[str, Any]:
        """Return the schedules by name."""
        found = await run_json(
            self._deployment.addresses, "celadon", "schedule", "list", self._deployment.name, "-o", "json"
        )
        return {one["schedule"]: one for one in found["schedules"]}

    async def fired(self, name: str) -> dict[str, Any]:
        """Wait until a schedule has fired and was answered; return what came of it."""
        found: list[dict[str, Any]] = []

        async def answered() -> bool:
            last = (await self.listed()).get(name, {}).get("last")
            found[:] = [last] if last is not None and last["came_of_it"] != "asking" else []
            return bool(found)

        await until(answered, f"schedule {name} has fired")
        return found[0]

    def _own(self, word: str, seconds: float) -> str:
        name = self._deployment.name
        named = {"chat": name, "nightly": f"nightly-{name}", "ask-nightly": f"ask-nightly-{name}"}
        if word.startswith("$("):
            # What the shell makes of it as written is a moment that is to come; this test does not wait so long.
            written = subprocess.run(["bash", "-c", f'printf %s "{word}"'], capture_output=True, text=True, check=True)  # noqa: S607
            assert datetime.fromisoformat(written.stdout) > datetime.now(UTC), word
            return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        if word.startswith("{"):
            return json.dumps({**json.loads(word), "deployment": name})
        return named.get(word, word)


@pytest.fixture
def schedules(deployment: LiveDeployment) -> Schedules:
    """Return README's commands for a deployment of its own."""
    return Schedules(deployment)


async def test_every_command_of_readme_works_as_written(deployment: LiveDeployment, schedules: Schedules) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    await schedules.readme("celadon schedule create chat tonight")
    await schedules.readme("celadon schedule create chat evening")
    shown = await schedules.readme("celadon schedule list")
    assert "tonight" in shown
    assert "evening" in shown
    assert (await schedules.listed())["evening"]["next_at"] is not None
    last = await schedules.fired("tonight")
    assert last["came_of_it"] == "done", last
    await deployment.phase(RolloutPhase.BAKING)
    assert await deployment.answer() == (200, "r2")
    await schedules.readme("celadon schedule delete")
    assert set(await schedules.listed()) == {"tonight"}

    await schedules.readme("temporal schedule create")
    await schedules.readme("temporal schedule trigger")
    name = f"nightly-{deployment.name}"
    last = await schedules.fired(name)
    assert last["came_of_it"] == "failed"
    assert "already" in last["said"] or "decided" in last["said"] or "promoted" in last["said"], last
    await schedules.readme("temporal schedule delete")
    assert schedules.used == set(_commands())


async def test_a_schedule_of_temporal_alone_promotes_and_nobody_vouches_for_it(
    deployment: LiveDeployment, schedules: Schedules
) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    await schedules.readme("temporal schedule create")
    await schedules.readme("temporal schedule trigger")
    last = await schedules.fired(f"nightly-{deployment.name}")

    assert last["came_of_it"] == "done", last
    await deployment.phase(RolloutPhase.BAKING)
    assert await deployment.answer() == (200, "r2")
    events = await run_json(deployment.addresses, "celadon", "rollout", "history", deployment.name, "-o", "json")
    [asked] = [one for one in events["events"] if one["kind"] == "promotion_requested"]
    assert (asked["actor"], asked["verified"]) == (f"schedule nightly-{deployment.name}", False)
    await schedules.readme("temporal schedule delete")
