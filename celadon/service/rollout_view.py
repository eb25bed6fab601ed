"""A rollout as its workflow and the table know it together; either may be missing, and then says so."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, assert_never

from pydantic import computed_field

from celadon.domain.decisions.narration import next_step
from celadon.domain.decisions.pause import WITH_TIMERS
from celadon.domain.decisions.workflow_condition import WorkflowCondition
from celadon.domain.language.base_models import Record
from celadon.domain.language.contracts import BLUE_CHANGED, KEEPER_BACK, ROOM_CHANGED
from celadon.domain.language.messages import RolloutStatus
from celadon.domain.language.progress import Hold, HoldKind, Progress
from celadon.domain.language.states import RolloutPhase
from celadon.table.records.deployments import DeploymentView
from celadon.table.records.rollouts import RolloutRecord

NO_WORKFLOW: Final = "no workflow of it runs in Temporal"


class WorkflowAnswer(Record):
    """What a rollout's workflow says, or why it says nothing."""

    status: RolloutStatus | None = None
    """What it says; nothing when none runs or none answers."""
    unanswered_because: str = ""
    """Why there is no status; empty when there is one, or when nobody needs it."""
    condition: WorkflowCondition | None = None
    """Whether the workflow gets on; nothing when none runs, or when nobody has asked."""

    @property
    def stuck(self) -> WorkflowCondition | None:
        """The condition of a workflow that does not get on; nothing when it does, or when that is not known."""
        return self.condition if self.condition is not None and self.condition.is_stuck else None


class RolloutView(Record):
    """A deployment with its latest rollout at one moment."""

    deployment: DeploymentView | None
    """Nothing while a first rollout has not been registered."""
    workflow: WorkflowAnswer
    """What the rollout's workflow says."""

    @property
    def status(self) -> RolloutStatus | None:
        """What the workflow answered, unless the table knows of something that happened since."""
        status, rollout = self.workflow.status, self._rollout
        if status is None or rollout is None or self._is_newer(status):
            return status
        if rollout.outcome is not None:
            return None
        # The table learns of a phase from the workflow, but of a switch before it.
        return status if status.phase is rollout.phase or status.since >= rollout.phase_since else None

    @computed_field  # type: ignore[prop-decorator]  # Pydantic's own form; mypy knows properties only
    @property
    def phase(self) -> RolloutPhase | None:
        """The phase of the rollout; nothing when there never was one."""
        if self.status is not None:
            return self.status.phase
        return None if self._rollout is None else self._rollout.phase

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def phase_since(self) -> datetime | None:
        """When the phase began."""
        if self.status is not None:
            return self.status.since
        return None if self._rollout is None else self._rollout.phase_since

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def next_step(self) -> str:
        """What a person can do now, with the command."""
        if self.status is not None:
            return self.status.next_step
        rollout = self._rollout
        stuck = self.stuck
        if stuck is not None:
            return stuck.next_step
        if rollout is not None and rollout.outcome is None and self.workflow.unanswered_because == NO_WORKFLOW:
            return "wait: a keeper ends this rollout, whose workflow is gone, and cleans up"
        return "" if rollout is None else table_next_step(rollout)

    @property
    def stuck(self) -> WorkflowCondition | None:
        """Why the rollout under way does not get on; nothing when it does, has ended, or when that is not known."""
        rollout = self._rollout
        return None if rollout is not None and rollout.outcome is not None else self.workflow.stuck

    @property
    def _rollout(self) -> RolloutRecord | None:
        return None if self.deployment is None else self.deployment.rollout

    def _is_newer(self, status: RolloutStatus) -> bool:
        """Whether the workflow is of a rollout that the table does not know yet."""
        return self._rollout is None or status.rollout is None or status.rollout > self._rollout.rollout


def table_next_step(rollout: RolloutRecord) -> str:
    """Return what a person can do now, by what the table knows."""
    lacks_room = rollout.awaits_signal == ROOM_CHANGED
    return next_step(
        Progress(
            deployment=rollout.deployment,
            phase=rollout.phase,
            since=rollout.phase_since,
            policy=rollout.policy,
            rollout=rollout.rollout,
            from_revision=rollout.from_revision,
            to_revision=rollout.to_revision,
            hold=Hold(kind=HoldKind.NO_ROOM, since=rollout.phase_since, why="") if lacks_room else None,
        ),
        rollout.phase_since,
    )


def _who_promotes(rollout: RolloutRecord) -> str:
    if rollout.policy.approvals is not None:
        return "people: approve or abort"
    return "timer" if rollout.policy.auto_promote or not rollout.gated else "a person: promote or abort"


_WHOSE_TURN: Final[Mapping[str | None, str]] = {
    BLUE_CHANGED: "keeper: healthy replicas of blue",
    KEEPER_BACK: "keeper",
    ROOM_CHANGED: "room for green",
}


def who_must_act(rollout: RolloutRecord | None, *, frozen: bool = False, paused: bool = False) -> str:
    """Return who moves a rollout on, by what the table knows; empty when it has ended or there is none.

    Args:
        rollout: the rollout.
        frozen: whether a freeze of its deployment is known to hold.
        paused: whether it is known to be paused.

    """
    if rollout is None:
        return ""
    if paused and rollout.phase in WITH_TIMERS:
        return "the end of the pause"
    if rollout.awaits_signal in _WHOSE_TURN:
        return _WHOSE_TURN[rollout.awaits_signal]
    match rollout.phase:
        case RolloutPhase.PROVISIONING | RolloutPhase.VERIFYING | RolloutPhase.ROLLING_BACK:
            return "keeper"
        case RolloutPhase.AWAITING_PROMOTION:
            return "the end of the freeze" if frozen else _who_promotes(rollout)
        case RolloutPhase.SWITCHING:
            return "routers"
        case RolloutPhase.BAKING:
            return "timer" if rollout.awaits_epoch is None else "routers"
        case RolloutPhase.DRAINING:
            return "running requests"
        case RolloutPhase.COMPLETED:
            return ""
        case _ as unreachable:
            assert_never(unreachable)
