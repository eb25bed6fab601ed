"""The command line on a whole stack, once through its API and once past it: the same commands, the same answers."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from celadon.domain.language.permissions import Role
from celadon.domain.language.states import RolloutPhase
from celadon.stack.addresses import StackAddresses
from celadon.stack.layout import DataDirectory
from celadon.table.access.tokens import NewToken, create_token
from tests.end_to_end.conftest import LiveDeployment, run_in, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]

WAYS = ("api", "direct")


class Operator:
    """Somebody who types commands for the stack of a data directory."""

    def __init__(self, way: str, stack: StackAddresses, **environment: str) -> None:
        self.options = ("--data-dir", str(stack.data_dir), *(("--direct",) if way == "direct" else ()))
        # Nothing but the data directory says where Celadon is.
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name != "DATABASE_URL" and not name.startswith(("TEMPORAL_", "CELADON_"))
        } | environment

    async def types(self, *words: str) -> tuple[int, str, str]:
        """Run a command; return code, output and errors."""
        return await run_in(self.environment, "celadon", *words, *self.options)

    async def gets(self, *words: str) -> Any:
        """Run a command that must succeed; return what it prints."""
        code, out, err = await self.types(*words, "-o", "json")
        assert code == 0, err
        return json.loads(out)


def _file(deployment: LiveDeployment, directory: Path, label: str) -> str:
    path = directory / f"{label}.json"
    content = deployment.request(label, bake="1s")
    del content["requested_by"]
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("way", WAYS)
async def test_deploy_watch_promote_scale_and_delete(
    way: str, stack: StackAddresses, deployment: LiveDeployment, tmp_path: Path
) -> None:
    name = deployment.name
    operator = Operator(way, stack)
    code, out, err = await operator.types("deploy", "-f", _file(deployment, tmp_path, "r1"), "--wait")
    assert (code, out.splitlines()[-1].rpartition(": ")[0].startswith("Rollout ")) == (0, True), out + err

    identity = f"{name}-{way}"
    second = ("deploy", "-f", _file(deployment, tmp_path, "r2"), "--request-id", identity)
    started = await operator.gets(*second)
    assert await operator.gets(*second) == started
    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
    promoted = await operator.gets("promote", name, "--reason", "good", "--wait", "--timeout", "100s")
    assert await deployment.answer() == (200, "r2")
    scaled = await operator.gets("deployment", "scale", name, "1", "--wait", "--timeout", "100s")
    shown = await operator.gets("deployment", "show", name)
    history = await operator.gets("rollout", "history", name)
    deleted = await operator.gets("deployment", "delete", name, "--yes", "--wait", "--timeout", "100s")

    assert (started["from_revision"], started["to_revision"]) == (1, 2)
    assert promoted["answer"]["state"] == "switched"
    assert promoted["answer"]["acknowledged_by"] == ["local"]
    assert (promoted["ended"]["rollout"], promoted["ended"]["outcome"]) == (started["rollout"], "promoted")
    assert (scaled["before"], scaled["replicas"], scaled["changed"]) == (2, 1, True)
    assert [(one["wanted"], one["healthy"], len(one["replicas"])) for one in shown["sets"]] == [(1, 1, 1)]
    assert deleted["lifecycle"] == "destroyed"
    asked = [one for one in history["events"] if one["kind"] == "promotion_requested"]
    assert [(one["door"], one["verified"], one["reason"]) for one in asked] == [("cli", True, "good")]


@pytest.mark.parametrize("way", WAYS)
async def test_going_back_and_being_refused(
    way: str, stack: StackAddresses, deployment: LiveDeployment, tmp_path: Path
) -> None:
    name = deployment.name
    operator = Operator(way, stack)
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    wrong = await operator.types("promote", name, "--revision", "7", "-o", "json")
    another = await operator.types("deploy", "-f", _file(deployment, tmp_path, "r3"), "-o", "json")
    early = await operator.types("rollback", name, "-o", "json")
    gone = await operator.types("deployment", "delete", name, "--yes", "-o", "json")
    identity = f"{name}-{way}-abort"
    aborted = await operator.gets("abort", name, "--reason", "wrong weights", "--request-id", identity, "--wait")
    late = await operator.types("promote", name, "-o", "json")

    refused = [wrong, another, early, gone, late]
    assert [code for code, _, _ in refused] == [1] * len(refused)
    assert [json.loads(out)["error"]["code"] for _, out, _ in refused] == [
        "WRONG_REVISION",
        "ROLLOUT_RUNNING",
        "NO_BLUE",
        "ROLLOUT_RUNNING",
        "NO_GREEN_REVISION",
    ]
    assert all(json.loads(out)["error"]["next_step"] for _, out, _ in refused)
    assert (aborted["answer"]["outcome"], aborted["ended"]["outcome"]) == ("aborted", "aborted")
    assert await deployment.answer() == (200, "r1")


@pytest.mark.parametrize("way", WAYS)
async def test_a_delete_ends_the_rollout_that_is_under_way(
    way: str, stack: StackAddresses, deployment: LiveDeployment
) -> None:
    operator = Operator(way, stack)
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")

    deleted = await operator.gets(
        "deployment", "delete", deployment.name, "--yes", "--abort", "--wait", "--timeout", "100s", "--reason", "old"
    )

    assert deleted["lifecycle"] == "destroyed"
    assert await deployment.outcomes() == ["promoted", "aborted"]


async def test_a_shell_completes_the_names_of_deployments(stack: StackAddresses, waiting: LiveDeployment) -> None:
    words = ("celadon", "promote", *Operator("api", stack).options, waiting.name[:-1])
    asked = {
        **Operator("api", stack).environment,
        "_CELADON_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }

    async def completed() -> bool:
        # A shell is not made to wait for a busy machine, so it may be offered nothing.
        _, out, err = await run_in(asked, "celadon")
        assert err == ""
        return out.split() == [waiting.name]

    await until(completed, "a shell is offered the name")


async def test_a_viewer_may_look_and_is_refused_with_the_reason(stack: StackAddresses, waiting: LiveDeployment) -> None:
    wanted = NewToken(name="viewer-of-cli", roles=(Role.VIEWER,), scope={}, created_by="tests")
    async with waiting.table.transaction() as tx:
        _, token = await create_token(tx, wanted)
    viewer = Operator("api", stack, CELADON_URL=stack.api, CELADON_TOKEN=token)
    viewer.options = ()

    status = await viewer.gets("rollout", "status", waiting.name)
    code, out, err = await viewer.types("promote", waiting.name, "-o", "json")

    assert status["phase"] == "awaiting_promotion"
    assert (code, json.loads(out)["error"]["code"]) == (1, "FORBIDDEN")
    assert "viewer-of-cli may not promote: that takes the role approver or admin" in err
    assert await waiting.live_revision() == 1


@pytest.mark.exclusive  # replaces everybody's token
async def test_the_token_of_the_stack_is_for_its_owner_and_must_be_good(
    stack: StackAddresses, waiting: LiveDeployment
) -> None:
    file = DataDirectory(stack.data_dir).admin_token
    token = file.read_text()
    try:
        file.write_text("celadon_0000000000000000_wrong\n")
        code, out, err = await Operator("api", stack).types("rollout", "list", "-o", "json")
    finally:
        file.write_text(token)

    assert (code, json.loads(out)["error"]["code"]) == (1, "UNAUTHENTICATED")
    assert f"the local stack in {stack.data_dir}" in err
    assert waiting.name in json.dumps(await Operator("api", stack).gets("rollout", "list"))
