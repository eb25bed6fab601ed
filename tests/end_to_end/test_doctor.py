"""What a person can leave behind on a running stack, and what doctor makes of it."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celadon.domain.language.states import RolloutPhase
from celadon.provisioners import launcher
from celadon.stack.addresses import StackAddresses
from tests.end_to_end.conftest import LiveDeployment, replica_routes, run, until

pytestmark = pytest.mark.stack


@contextmanager
def _paused_worker(stack: StackAddresses) -> Iterator[None]:
    """Stop the worker's process from running, as a machine that hangs does; its lease expires."""
    worker = StackAddresses.of_running(stack.data_dir).children["worker"]
    os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker, signal.SIGCONT)


async def _doctor(stack: StackAddresses, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    code, out, err = await run(stack, "celadon", "doctor", "--data-dir", str(stack.data_dir), "-o", "json", *arguments)
    assert out, err
    return code, {one["check"]: one for one in json.loads(out)["findings"]}


async def test_a_rollout_that_was_terminated_while_no_keeper_lives(
    stack: StackAddresses,
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    rollout = (await deployment.rollouts.status(deployment.name)).rollout
    check = f"rollout {rollout}"

    with _paused_worker(stack):

        async def nobody_keeps() -> bool:
            return (await _doctor(stack))[1]["keeper"]["verdict"] == "wrong"

        await until(nobody_keeps, "the paused worker loses its lease")
        code, _, err = await run(stack, "temporal", "workflow", "terminate", "-w", f"rollout-{deployment.name}")
        assert code == 0, err

        code, found = await _doctor(stack)
        assert (code, found[check]["verdict"]) == (1, "wrong")
        code, mended = await _doctor(stack, "--fix")
        assert (code, mended[check]["verdict"], mended["keeper"]["verdict"]) == (1, "mended", "wrong")
        assert str(stack.data_dir / "logs" / "worker.log") in mended["keeper"]["next_step"]
        assert await deployment.outcomes() == ["promoted", "failed"]

    async def is_well() -> bool:
        code, findings = await _doctor(stack)
        return code == 0 and check not in findings

    await until(is_well, "the worker is back, and nothing is wrong")
    await deployment.until_only_live_is_left()
    assert await deployment.answer() == (200, "r1")


async def test_a_replica_that_the_table_does_not_know(stack: StackAddresses, deployment: LiveDeployment) -> None:
    """As of a database that was replaced under a stack; here the table and the state directory belong together."""
    await deployment.serve("r1")
    route = str(uuid.uuid4())
    command = [sys.executable, "-I", "-S", launcher.__file__, str(stack.replicas), route, "", "", "sleep", "600"]
    process = await asyncio.create_subprocess_exec(*command, env={"CELADON_ROUTE": route, "PATH": os.environ["PATH"]})

    async def is_found() -> bool:
        return (await _doctor(stack))[1].get(f"replica {route}", {}).get("verdict") == "wrong"

    await until(is_found, "doctor finds the stray")
    wanted = await deployment.unfinished_routes()
    code, mended = await _doctor(stack, "--fix")

    assert (code, mended[f"replica {route}"]["done"]) == (0, f"ended process {process.pid}")
    assert await process.wait() == -signal.SIGTERM
    assert await deployment.unfinished_routes() == wanted
    assert set(wanted) <= replica_routes()
    assert (await _doctor(stack))[0] == 0


async def test_a_rollout_that_was_reset_is_well(stack: StackAddresses, deployment: LiveDeployment) -> None:
    """A reset gives the workflow another run id than the one that its rollout is registered under."""
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2")
    begun_by = (await deployment.handle.describe()).run_id
    reset = ("temporal", "workflow", "reset", "-w", f"rollout-{deployment.name}", "--type", "LastWorkflowTask")
    code, _, err = await run(stack, *reset, "--reason", "a person pressed the other wrong button")
    assert code == 0, err

    assert (await deployment.handle.describe()).run_id != begun_by

    code, findings = await _doctor(stack, "--fix")
    assert code == 0, findings
    assert await deployment.outcomes() == ["promoted", "unfinished"]

    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)
    code, _, err = await run(stack, "celadon", "abort", deployment.name, "--reason", "done with it")
    assert code == 0, err
    assert (await deployment.ended()).status == "completed"
    assert (await _doctor(stack))[0] == 0
