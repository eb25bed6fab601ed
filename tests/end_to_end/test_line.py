"""The line: one rollout all the way, under traffic."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from celadon.domain.language.commands import AbortCommand, BakeCommand, PauseCommand, PromoteCommand
from celadon.domain.language.contracts import PAUSE, RESUME
from celadon.domain.language.errors import RefusalCode, RefusedError
from celadon.domain.language.states import RolloutOutcome, RolloutPhase
from celadon.domain.language.window import Weekday
from tests.end_to_end.conftest import FAST_CHECK, LiveDeployment, model_server, until

pytestmark = [pytest.mark.stack, pytest.mark.shared]


class Traffic:
    """Requests one after another on a few connections, each answer counted; no retries."""

    def __init__(self, deployment: LiveDeployment) -> None:
        self._url = f"{deployment.addresses.router}/{deployment.name}/v1/models"
        self._stop = asyncio.Event()
        self.answers: Counter[str] = Counter()

    async def run(self, clients: int = 4) -> None:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(session))

    def stop(self) -> None:
        self._stop.set()

    async def meets(self, revision: str) -> None:
        """Wait until a revision has answered."""

        async def met() -> bool:
            return self.answers[revision] > 0

        await until(met, f"{revision} answers")

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            try:
                async with session.get(self._url) as answer:
                    await answer.read()
                    self.answers[answer.headers.get("x-model-revision", f"status {answer.status}")] += 1
            except aiohttp.ClientError as error:
                self.answers[f"failed: {error!r}"] += 1
            await asyncio.sleep(0.01)


@pytest.mark.smoke
async def test_a_rollout_goes_all_the_way_under_traffic_without_losing_a_request(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    traffic = Traffic(deployment)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())

        await traffic.meets("r1")
        await deployment.wait_for_promotion("r2", bake="1s")
        answer = await deployment.rollouts.promote(deployment.name, PromoteCommand(revision=2, by="ann"))
        ended = await deployment.ended()
        await traffic.meets("r2")
        traffic.stop()

    assert (answer.acknowledged_by, answer.silent) == (("local",), ())
    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, 0)
    assert set(traffic.answers) == {"r1", "r2"}
    assert await deployment.answer() == (200, "r2")
    await deployment.until_only_live_is_left()


async def test_a_rollback_in_the_bake_returns_all_traffic_to_blue(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    traffic = Traffic(deployment)
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())

        await deployment.wait_for_promotion("r2")
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        assert await deployment.answer() == (200, "r2")
        await traffic.meets("r2")
        await deployment.rollouts.rollback(deployment.name, AbortCommand(by="ann", reason="answers are wrong"))
        assert await deployment.answer() == (200, "r1")
        ended = await deployment.ended()
        traffic.stop()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ROLLED_BACK
    assert set(traffic.answers) == {"r1", "r2"}
    await deployment.until_only_live_is_left()


async def test_a_paused_rollout_keeps_blue_warm_until_it_is_resumed(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2", bake="1s")
    await deployment.rollouts.ask(deployment.name, PAUSE, PauseCommand(by="ann", reason="latencies"))
    await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
    await deployment.phase(RolloutPhase.BAKING)

    # Longer than the bake.
    await asyncio.sleep(2)
    status = await deployment.rollouts.status(deployment.name)
    assert status.phase is RolloutPhase.BAKING
    assert "paused since" in status.holding

    await deployment.rollouts.ask(deployment.name, RESUME, BakeCommand(by="ann"))
    ended = await deployment.ended()
    assert ended.result is not None
    assert (ended.result.outcome, ended.result.to_revision) == (RolloutOutcome.PROMOTED, 2)


def window(*days: int) -> dict[str, object]:
    """Return a window for everyone that is open all day on days counted from today."""
    named = [list(Weekday)[(datetime.now(UTC) + timedelta(days=day)).weekday()].value for day in days]
    return {"days": named, "from": "00:00", "to": "24:00", "zone": "UTC", "applies_to": "everyone"}


async def test_outside_of_its_windows_a_rollout_is_held_for_timers_and_people_but_not_for_force(
    deployment: LiveDeployment,
) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2", auto_promote=True, windows=[window(3)])

    async def is_held() -> bool:
        return "until they open at" in (await deployment.rollouts.status(deployment.name)).holding

    await until(is_held, "the windows hold the timer")
    with pytest.raises(RefusedError) as refused:
        await deployment.rollouts.promote(deployment.name, PromoteCommand(by="ann"))
    assert refused.value.refusal.code is RefusalCode.WINDOW_CLOSED
    assert "they open at" in refused.value.refusal.message
    assert await deployment.answer() == (200, "r1")

    forced = PromoteCommand(by="ann", force=True, reason="r1 is down")
    assert (await deployment.rollouts.promote(deployment.name, forced)).epoch is not None
    assert await deployment.answer() == (200, "r2")


async def test_inside_of_its_windows_a_timer_promotes(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")

    await deployment.start("r2", auto_promote=True, bake="1s", windows=[window(0, 1)])

    ended = await deployment.ended()
    assert ended.result is not None
    assert (ended.result.outcome, ended.result.to_revision) == (RolloutOutcome.PROMOTED, 2)


async def test_the_timer_promotes_while_nobody_looks(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")

    await deployment.start("r2", auto_promote=True, promote_after="1s", bake="0s")
    ended = await deployment.ended()

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.to_revision) == (RolloutOutcome.PROMOTED, 2)


async def test_an_abort_at_the_gate_leaves_blue_as_it_was(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    blue = await deployment.unfinished_routes()
    await deployment.wait_for_promotion("r2")

    await deployment.rollouts.abort(deployment.name, AbortCommand(by="ann"))
    ended = await deployment.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.ABORTED
    assert await deployment.answer() == (200, "r1")
    assert await deployment.unfinished_routes() == blue
    await deployment.until_only_live_is_left()


async def test_a_stream_that_runs_at_the_switch_ends_in_peace(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    await deployment.wait_for_promotion("r2", bake="0s")
    url = f"{deployment.addresses.router}/{deployment.name}/v1/chat/completions"
    question = {
        "model": "celadon-demo",
        "stream": True,
        "max_tokens": 60,
        "messages": [{"role": "user", "content": "count"}],
    }

    async with aiohttp.ClientSession() as session, session.post(url, json=question) as stream:
        first = await stream.content.readline()
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        await deployment.phase(RolloutPhase.DRAINING)
        rest = (await stream.content.read()).decode()
    ended = await deployment.ended()

    assert stream.headers["x-model-revision"] == "r1"
    assert first.startswith(b"data: ")
    assert rest.rstrip().endswith("data: [DONE]")
    assert ended.result is not None
    assert ended.result.requests_cut == 0


async def test_requests_that_outlast_the_drain_are_cut_and_counted(deployment: LiveDeployment) -> None:
    impatient = {"command": model_server("r1"), "health_check": FAST_CHECK, "termination_grace": "1s"}
    await deployment.serve("r1", revision=impatient)
    await deployment.wait_for_promotion("r2", bake="0s", drain_timeout="2s")
    url = f"{deployment.addresses.router}/{deployment.name}/v1/chat/completions"
    question = {
        "model": "celadon-demo",
        "stream": True,
        "max_tokens": 4000,
        "messages": [{"role": "user", "content": "go"}],
    }

    async with aiohttp.ClientSession() as session, session.post(url, json=question) as stream:
        await stream.content.readline()
        await deployment.rollouts.promote(deployment.name, PromoteCommand())
        ended = await deployment.ended()

    assert ended.result is not None
    assert (ended.result.outcome, ended.result.requests_cut) == (RolloutOutcome.PROMOTED, 1)


async def test_green_is_reached_through_the_preview_alone(deployment: LiveDeployment) -> None:
    await deployment.serve("r1")
    key = deployment.addresses.preview_key
    assert await deployment.answer(**{"x-celadon-preview": key}) == (404, "")

    await deployment.wait_for_promotion("r2")

    # A promotion waits for the routers, a preview does not.
    async def previewed() -> bool:
        return await deployment.answer(**{"x-celadon-preview": key}) == (200, "r2")

    await until(previewed, "the preview reaches green")
    assert await deployment.answer() == (200, "r1")
    assert await deployment.answer(**{"x-celadon-preview": "guessed"}) == (200, "r1")
    await deployment.rollouts.abort(deployment.name, AbortCommand())
    await deployment.ended()


async def test_no_replicas_at_all_is_a_deployment_too(deployment: LiveDeployment) -> None:
    await deployment.serve("r1", replicas=0)

    assert (await deployment.answer())[0] == 503
    assert await deployment.live_revision() == 1
