"""What callers ask for and what they are answered, the same for GraphQL and REST."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field

from celadon.client.rollout_view import table_next_step, who_must_act
from celadon.domain.contracts import workflow_id
from celadon.domain.labels import Labels
from celadon.domain.messages import AbortAnswer, Number, PromoteAnswer, Reason, Replicas
from celadon.domain.names import DeploymentName, Epoch, RevisionNumber, RolloutId
from celadon.domain.policy import BlueGreenPolicy
from celadon.domain.revision import Revision
from celadon.domain.states import DeploymentLifecycle
from celadon.domain.strictness import Record, StrictModel
from celadon.table.records.deployments import DeploymentLine, NewDeployment
from celadon.table.records.events import DeploymentEvent
from celadon.table.records.revisions import RevisionRecord
from celadon.table.records.rollouts import RolloutRecord

RequestId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Chosen by the caller; a repeat with the same one gets the first answer.",
    ),
]


class CreateOrder(StrictModel):
    """A deployment that is to exist; nothing of it runs before its first rollout."""

    deployment: DeploymentName
    """The deployment's name: a DNS label, and its address on the routers."""
    replicas: Replicas = 1
    """How many replicas each colour of its rollouts has, when they do not say."""
    policy: BlueGreenPolicy = BlueGreenPolicy()
    """How its rollouts may go, when they do not say."""
    labels: Labels = Field(default_factory=dict)
    """What API tokens are scoped by."""
    reason: Reason = ""

    def wanted(self) -> NewDeployment:
        """Return the deployment as the table creates it."""
        return NewDeployment(
            name=self.deployment,
            replicas=self.replicas,
            policy=self.policy,
            labels=self.labels,
        )


class AddRevisionOrder(StrictModel):
    """A revision that is to be registered."""

    revision: Revision
    """What is to be served and how, as a deployment file writes it."""
    reason: Reason = ""
    allow_plain_secrets: bool = False
    """Allows plain values under variables whose names look like secrets."""


class PromoteOrder(StrictModel):
    """Asks for the switch. What is not named is the green that waits."""

    revision: Number | None = None
    """The revision that green must be of; any other that waits is refused."""
    rollout: Number | None = None
    """The rollout that is meant; any other is refused."""
    reason: Reason = ""
    force: bool = False
    """Also before green is verified; needs a reason and the right to it."""


class BackOrder(StrictModel):
    """Asks to go back: before the switch green is closed, after it traffic returns to blue."""

    rollout: Number | None = None
    """The rollout that is meant; any other is refused. When not given, the latest one."""
    reason: Reason = ""


class ScaleRequest(StrictModel):
    """Asks for another number of replicas."""

    replicas: Replicas
    """How many replicas the deployment is to have; 0 serves nothing."""
    reason: Reason = ""


class LabelOrder(StrictModel):
    """Asks for other labels; the whole set is replaced."""

    labels: Labels
    """All labels that the deployment is to have."""
    reason: Reason = ""


class DeleteRequest(StrictModel):
    """Asks for a deployment to be taken away."""

    reason: Reason = ""
    abort: bool = False
    """Also asks a rollout that is under way to end; until it has ended, the delete is refused."""


class Created(Record):
    """The answer to a creation."""

    deployment: str
    """The deployment's name."""
    created: bool
    """False when there was an equal one already."""


class RevisionAdded(Record):
    """The answer to an added revision."""

    deployment: str
    """The deployment's name."""
    revision: RevisionNumber
    """The revision's number; the same content has the same number."""


class RevisionList(Record):
    """Revisions of a deployment, newest first."""

    revisions: tuple[RevisionRecord, ...]
    """Newest first."""
    next_before: int | None = None
    """Give it as ``before`` to get the next page; nothing on the last one."""

    @classmethod
    def of(cls, found: Sequence[RevisionRecord], limit: int) -> Self:
        """Return a page of revisions, of which one more than ``limit`` were asked for."""
        page = tuple(found[:limit])
        return cls(revisions=page, next_before=page[-1].number if len(found) > limit else None)


class Started(Record):
    """The answer to a start."""

    deployment: str
    """The deployment's name."""
    workflow_id: str
    """The id of its workflow in Temporal."""
    run_id: str
    """The id of the workflow's run in Temporal."""
    rollout: RolloutId | None
    """Nothing while no worker has taken it up."""
    from_revision: RevisionNumber | None
    """Blue's revision; nothing for a first deployment, or while no worker has taken it up."""
    to_revision: RevisionNumber | None
    """Green's revision; nothing while no worker has taken it up."""

    @classmethod
    def of(cls, deployment: str, run_id: str, record: RolloutRecord | None) -> Self:
        """Return what was started, with its row where it is registered."""
        return cls(
            deployment=deployment,
            workflow_id=workflow_id(deployment),
            run_id=run_id,
            rollout=None if record is None else record.rollout,
            from_revision=None if record is None else record.from_revision,
            to_revision=None if record is None else record.to_revision,
        )


class Decided(Record):
    """What every answer to a decision says."""

    deployment: str
    """The deployment's name."""
    rollout: RolloutId | None
    """The rollout that was decided about; nothing while it has not been registered."""
    revision: RevisionNumber | None
    """Green's revision; nothing while the rollout has not been registered."""
    by: str
    """Who decided: the caller."""


class Promoted(Decided):
    """The answer to a promotion."""

    answer: PromoteAnswer
    """What the rollout answered."""


class WentBack(Decided):
    """The answer to an abort or a rollback."""

    answer: AbortAnswer
    """What the rollout answered."""


class Rescaled(Record):
    """The answer to a scaling."""

    deployment: str
    """The deployment's name."""
    before: int
    """Replicas that the deployment wanted until then."""
    replicas: int
    """Replicas that it wants now."""
    epoch: Epoch
    """The deployment's epoch after the change."""
    changed: bool
    """False when it wanted as many already; then nothing was written."""


class TakenAway(Record):
    """The answer to a delete."""

    deployment: str
    """The deployment's name."""
    lifecycle: DeploymentLifecycle
    """Destroying while replicas drain, then destroyed."""
    epoch: Epoch
    """Routers that serve this epoch answer 404 at its address."""
    changed: bool
    """False when it was being deleted already; then nothing was written."""


class Labelled(Record):
    """The answer to other labels."""

    deployment: str
    """The deployment's name."""
    labels: dict[str, str]
    """The labels that it has now."""
    changed: bool
    """False when it had the same labels already; then nothing was written."""


class ListedDeployment(DeploymentLine):
    """A deployment in a list, with who must act."""

    waits_for: str
    """Who moves its latest rollout on; empty when that has ended or there was none."""
    next_step: str
    """What a person can do now, with the command; empty when no rollout is under way."""

    @classmethod
    def of(cls, line: DeploymentLine) -> Self:
        """Return a line with who must act and what a person can do."""
        under_way = line.rollout is not None and line.rollout.outcome is None
        return cls(
            **dict(line),
            waits_for=who_must_act(line.rollout),
            next_step=table_next_step(line.rollout) if under_way and line.rollout is not None else "",
        )


class DeploymentList(Record):
    """Deployments by name."""

    at: datetime
    """The moment, by the database's clock."""
    deployments: tuple[ListedDeployment, ...]
    """By name."""
    next_after: str | None = None
    """Give it as ``after`` to get the next page; nothing on the last one."""

    @classmethod
    def of(cls, at: datetime, found: Sequence[DeploymentLine], limit: int) -> Self:
        """Return a page of deployments, of which one more than ``limit`` were asked for."""
        page = found[:limit]
        return cls(
            at=at,
            deployments=tuple(ListedDeployment.of(line) for line in page),
            next_after=page[-1].deployment if len(found) > limit else None,
        )


class RolloutPage(Record):
    """Rollouts, newest first."""

    rollouts: tuple[RolloutRecord, ...]
    """Newest first."""
    next_before: int | None
    """Give it as ``before`` to get the next page; nothing on the last one."""


class EventPage(Record):
    """Lines of the audit log, oldest first."""

    events: tuple[DeploymentEvent, ...]
    """Oldest first, in an order in which none comes later before another; the numbers of two that were written at the
    same time may stand the other way around."""
    next_after: int
    """Give it as ``after`` to get what comes next, also when nothing has come yet."""

    @classmethod
    def of(cls, events: tuple[DeploymentEvent, ...], after: int) -> Self:
        """Return a page of lines that come after the line ``after``."""
        return cls(events=events, next_after=events[-1].id if events else after)
