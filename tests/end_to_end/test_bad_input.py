"""Revisions that cannot work: the rollout ends as it should, and nothing is left behind."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from celadon.domain.language.commands import PromoteCommand
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from tests.end_to_end.conftest import FAST_CHECK, LiveDeployment, model_server, route_of

pytestmark = [pytest.mark.stack, pytest.mark.shared]

HANGS = """
import http.server, sys, time
class Hangs(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(60)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hangs).serve_forever()
"""

ANSWERS_500 = """
import http.server, sys
class Refuses(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Refuses).serve_forever()
"""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no such model: llama')"], "no such model: llama"),
        (["/nowhere/model-server", "--port", "{port}"], "/nowhere/model-server"),
    ],
    ids=["exits at once", "does not exist"],
)
async def test_a_command_that_cannot_run_fails_the_rollout_with_its_last_words(
    deployment: LiveDeployment,
    command: list[str],
    told: str,
) -> None:
    await deployment.serve("r1")

    await deployment.start("r2", revision={"command": command, "health_check": FAST_CHECK}, max_replacements=1)
    ended = await deployment.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.FAILED
    assert told in ended.failure
    assert await deployment.answer() == (200, "r1")
    await deployment.until_only_live_is_left()


@pytest.mark.parametrize("script", [ANSWERS_500, HANGS], ids=["answers 500", "hangs"])
async def test_a_health_path_that_never_passes_ends_at_the_deadline(deployment: LiveDeployment, script: str) -> None:
    await deployment.serve("r1")
    sick = {"command": [sys.executable, "-c", script, "{port}"], "health_check": {**FAST_CHECK, "timeout": "200ms"}}

    await deployment.start("r2", revision=sick, provisioning_deadline="3s")
    ended = await deployment.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.FAILED
    assert "green was not healthy within 3s" in ended.failure
    assert await deployment.answer() == (200, "r1")
    await deployment.until_only_live_is_left()


async def test_a_revision_that_says_tcp_is_healthy_when_its_port_accepts(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", revision={"command": model_server("r1"), "health_check": {"tcp": True}})

    assert await deployment.answer() == (200, "r1")


async def test_a_first_deployment_that_fails_leaves_nothing_live(deployment: LiveDeployment) -> None:
    broken = {"command": [sys.executable, "-c", "raise SystemExit(3)"], "health_check": FAST_CHECK}
    await deployment.start("r1", revision=broken, max_replacements=0)
    ended = await deployment.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.FAILED
    assert await deployment.live_revision() is None
    assert await deployment.open_sets() == 0
    await deployment.serve("r2")
    assert await deployment.answer() == (200, "r2")


async def test_too_few_healthy_greens_are_not_promoted_by_force_either(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    blue = await deployment.unfinished_routes()
    await deployment.wait_for_promotion("r2")
    one_green = next(route for route in await deployment.unfinished_routes() if route not in blue)

    with frozen_replica(one_green):
        await deployment.phase(RolloutPhase.VERIFYING)
        with pytest.raises(RefusedError) as refused:
            await deployment.rollouts.promote(deployment.name, PromoteCommand(force=True, reason="hurry"))
        assert await deployment.live_revision() == 1
    await deployment.phase(RolloutPhase.AWAITING_PROMOTION)

    assert refused.value.refusal.code is RefusalCode.NO_HEALTHY_GREEN


@contextmanager
def frozen_replica(route: str) -> Iterator[None]:
    """Stop a replica's process without ending it, for as long as the block lasts."""
    (process,) = [one for one in psutil.process_iter() if route_of(one) == route]
    process.suspend()
    try:
        yield
    finally:
        process.resume()
