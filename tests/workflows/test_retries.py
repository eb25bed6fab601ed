"""Whatever dies under a step, it is tried again; a refusal is not."""

from typing import TYPE_CHECKING

from celadon.domain.language.states import RolloutOutcome, SetCondition

if TYPE_CHECKING:
    from tests.workflows.conftest import RunningRollout


async def test_a_step_that_fails_is_tried_again_until_it_answers(rollout: "RunningRollout") -> None:
    rollout.script.failures = {"begin": 2, "provision_green": 1, "switch": 2, "finish": 1}
    rollout.script.blue, rollout.script.gated = None, False
    await rollout.start()
    await rollout.edge(SetCondition.READY)

    ended = await rollout.ended()

    assert ended.result is not None
    assert ended.result.outcome is RolloutOutcome.PROMOTED
    asked = rollout.script.names()
    assert [asked.count(step) for step in ("begin", "provision_green", "switch", "finish")] == [3, 2, 3, 2]
