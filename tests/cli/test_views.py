"""Workflow and table together: whoever knows more of a rollout's phase is believed."""

from datetime import timedelta

import pytest

from celadon.domain.language.messages import RolloutStatus
from celadon.domain.language.states import RolloutPhase
from celadon.service.overview import view_rollout
from celadon.service.rollout_view import NO_WORKFLOW, RolloutView, WorkflowAnswer, who_must_act
from celadon.table.records.rollouts import RolloutRecord
from tests.client.statuses import rollout_status
from tests.table.rows import NOW, Opened, Rows


def _status(opened: Opened, phase: RolloutPhase, since: timedelta = timedelta(0)) -> RolloutStatus:
    begun = opened.begun
    return rollout_status(
        rollout=begun.rollout,
        phase=phase,
        since=NOW + since,
        from_revision=begun.from_revision,
        to_revision=begun.to_revision,
        policy=begun.policy,
        next_step="as the workflow says",
    )


async def _view(rows: Rows, answer: WorkflowAnswer) -> RolloutView:
    async with rows.table.transaction() as tx:
        view = await view_rollout(tx, "chat", answer)
    assert view is not None
    return view


async def _record(rows: Rows) -> RolloutRecord:
    view = await _view(rows, WorkflowAnswer(unanswered_because="asleep"))
    assert view.deployment is not None
    assert view.deployment.rollout is not None
    return view.deployment.rollout


async def test_a_workflow_that_is_further_is_believed(rows: Rows) -> None:
    opened = await rows.ready()

    view = await _view(rows, WorkflowAnswer(status=_status(opened, RolloutPhase.SWITCHING, timedelta(seconds=5))))

    assert (view.phase, view.next_step) == (RolloutPhase.SWITCHING, "as the workflow says")


async def test_an_answer_that_the_table_has_overtaken_is_not(rows: Rows) -> None:
    opened = await rows.switched()

    view = await _view(rows, WorkflowAnswer(status=_status(opened, RolloutPhase.AWAITING_PROMOTION)))

    assert view.phase is RolloutPhase.BAKING
    assert view.status is None
    assert view.next_step == "wait, or go back to blue: celadon rollback chat"


async def test_a_rollout_that_has_ended_is_told_by_the_table(rows: Rows) -> None:
    opened = await rows.live()

    view = await _view(rows, WorkflowAnswer(status=_status(opened, RolloutPhase.DRAINING, timedelta(days=1))))

    assert view.phase is RolloutPhase.COMPLETED


async def test_a_rollout_that_the_table_does_not_know_yet_is_told_by_the_workflow(rows: Rows) -> None:
    opened = await rows.live()
    status = _status(opened, RolloutPhase.PROVISIONING).model_copy(update={"rollout": None})

    view = await _view(rows, WorkflowAnswer(status=status))

    assert view.phase is RolloutPhase.PROVISIONING


async def test_a_rollout_without_a_workflow_is_left_to_the_keeper(rows: Rows) -> None:
    await rows.ready()

    view = await _view(rows, WorkflowAnswer(unanswered_because=NO_WORKFLOW))

    assert view.phase is RolloutPhase.PROVISIONING
    assert "a keeper ends this rollout" in view.next_step


async def test_a_deployment_that_nobody_knows_has_no_view(rows: Rows) -> None:
    async with rows.table.transaction() as tx:
        assert await view_rollout(tx, "chat", WorkflowAnswer(unanswered_because=NO_WORKFLOW)) is None


@pytest.mark.parametrize(
    ("phase", "auto_promote", "who"),
    [
        (RolloutPhase.PROVISIONING, False, "keeper"),
        (RolloutPhase.AWAITING_PROMOTION, False, "a person: promote or abort"),
        (RolloutPhase.AWAITING_PROMOTION, True, "timer"),
        (RolloutPhase.BAKING, False, "timer"),
        (RolloutPhase.DRAINING, False, "running requests"),
        (RolloutPhase.COMPLETED, False, ""),
    ],
)
async def test_who_must_act_follows_from_the_phase(
    phase: RolloutPhase,
    auto_promote: bool,  # noqa: FBT001 - a case
    who: str,
    rows: Rows,
) -> None:
    await rows.live()
    await rows.ready("run-2", policy={"auto_promote": auto_promote})

    record = (await _record(rows)).model_copy(update={"phase": phase})

    assert who_must_act(record) == who


async def test_who_must_act_is_whoever_ends_the_freeze(rows: Rows) -> None:
    await rows.live()
    await rows.ready("run-2", policy={"auto_promote": True})

    record = (await _record(rows)).model_copy(update={"phase": RolloutPhase.AWAITING_PROMOTION})

    assert who_must_act(record, frozen=True) == "the end of the freeze"


@pytest.mark.parametrize(
    ("phase", "who"),
    [
        (RolloutPhase.PROVISIONING, "the end of the pause"),
        (RolloutPhase.AWAITING_PROMOTION, "the end of the pause"),
        (RolloutPhase.BAKING, "the end of the pause"),
        (RolloutPhase.DRAINING, "running requests"),
    ],
)
async def test_who_must_act_is_whoever_ends_the_pause(phase: RolloutPhase, who: str, rows: Rows) -> None:
    await rows.live()
    await rows.ready("run-2")

    record = (await _record(rows)).model_copy(update={"phase": phase})

    assert who_must_act(record, frozen=True, paused=True) == who


@pytest.mark.parametrize(
    ("phase", "signal", "who"),
    [
        (RolloutPhase.AWAITING_PROMOTION, "keeper_back", "keeper"),
        (RolloutPhase.BAKING, "blue_changed", "keeper: healthy replicas of blue"),
        (RolloutPhase.PROVISIONING, "room_changed", "room for green"),
    ],
)
async def test_who_must_act_is_whoever_a_refused_step_waits_for(
    phase: RolloutPhase,
    signal: str,
    who: str,
    rows: Rows,
) -> None:
    await rows.live()
    await rows.ready("run-2", policy={"auto_promote": True})
    await rows.sql("update rollouts set awaits_signal = :signal where outcome is null", signal=signal)

    record = (await _record(rows)).model_copy(update={"phase": phase})

    assert who_must_act(record) == who
