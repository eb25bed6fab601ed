"""What a rollout hands to its activities and gets back.

Every step carries the rollout's id: it fences the step, so that an attempt of a rollout that no longer owns its
deployment changes nothing. Notes travel with a step into the audit log, in the step's own transaction.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import AbortCommand, PauseCommand, PromoteCommand
from celadon.domain.language.errors import Refusal
from celadon.domain.language.messages import RolloutRequest, StartMemo
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.policy import BlueGreenPolicy
from celadon.domain.language.states import Channel, RolloutOutcome, RolloutPhase


class Message(Record):
    """A command as it came to a rollout, for the activity that judges it."""

    verb: str
    """The name of the signal or update."""
    request_id: str = ""
    """The update's id; empty for a signal, which has none."""
    run: str = ""
    """The run of the workflow that took it. Temporal gives the updates of one run different ids, so that an id that
    another run takes is a repeat; empty in what earlier versions took."""
    came_by: Channel
    """How it came in; what it says of its door counts only when it is signed."""
    command: Annotated[AbortCommand | PromoteCommand | PauseCommand, Field(union_mode="left_to_right")]


class Note(Record):
    """One line of the audit log that the workflow has to tell; ``run`` and ``seq`` make it idempotent."""

    seq: int
    run: str = ""
    """The run of the workflow that wrote it: after a reset the numbers come again. Empty: that of its step."""
    at: datetime
    kind: str
    by: str = ""
    door: Channel | None = None
    reason: str = ""
    evidence: dict[str, str] = Field(default_factory=dict)
    message: Message | None = None
    """The command that the line tells of, if it tells of one."""
    verified: bool = False
    """Whether a door vouches for ``by``; set by the activity that checked the message, and by nobody else."""
    issuer: str = ""
    """Who vouches for ``by`` to the door; set as ``verified`` is."""


class BeginStep(Record):
    """Registers a rollout; ``run_id`` makes a second attempt find the first one's row."""

    request: RolloutRequest
    workflow_id: str
    run_id: str
    at: datetime
    memo: StartMemo | None = None
    """What the door that sent the request says of it."""
    taken_at: datetime | None = None
    """When Temporal took the start."""


class Begun(Record):
    """The answer of ``begin``: all that the workflow will ever read of defaults and of the table."""

    rollout: RolloutId
    deployment: str
    policy: BlueGreenPolicy
    gated: bool
    """False for a first deployment whose policy asks for no gate: healthy greens go live at once."""
    replicas: int
    blue_set: RouteSetId | None
    from_revision: RevisionNumber | None
    to_revision: RevisionNumber
    started_at: datetime


class Step(Record):
    """The base of every later step."""

    deployment: str
    rollout: RolloutId
    notes: tuple[Note, ...] = ()
    run: str = ""
    """The workflow's run."""


class JudgeStep(Step):
    """Asks whether commands count before the first of them is carried out."""

    messages: tuple[Message, ...]
    at: datetime


class Judged(Record):
    """The answer of ``judge``: a refusal for each message that does not count, in their order."""

    refusals: tuple[Refusal | None, ...]


class PhaseStep(Step):
    """Writes down the phase that a rollout has entered."""

    phase: RolloutPhase
    at: datetime


class GreenOpened(Record):
    """The answer of ``provision_green``."""

    route_set: RouteSetId
    wanted: int


class SwitchStep(Step):
    """Asks for the switch, or for the switch back."""

    blue_set: RouteSetId | None
    green_set: RouteSetId
    by: str
    door: Channel
    reason: str
    decision: str = ""
    """Which decision it carries out. One that was refused stays refused, however late an attempt of it comes."""
    message: Message | None = None
    """The command that it carries out; none when the policy, a timer or a cancellation asks."""
    ack_timeout_seconds: float
    """How long to wait for the routers once the switch is committed."""
    keeps_asking: bool = False
    """Whether the rollout asks again for a way back that blue cannot take for the moment, and keeps blue until then."""


class SwitchAnswer(Record):
    """What the table and the routers answered: either a refusal, or an epoch and who serves it."""

    refusal: Refusal | None = None
    message_refused: bool = False
    """Whether the message does not count, whatever the table says: then everything is as if it had never come."""
    epoch: Epoch | None = None
    at: datetime | None = None
    """The moment of the commit, by the database's clock."""
    acknowledged_by: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    ms: float = 0.0
    healthy_green: int = 0
    required: int = 0
    scaled: bool = False
    """Refused while green grows because somebody scaled it: no fault of its revision."""


class CloseStep(Step):
    """Closes a set: it gets no new request and its replicas stop when they are drained."""

    route_set: RouteSetId
    phase: RolloutPhase
    at: datetime
    timeout_seconds: float
    """How long running requests may last before they are cut."""
    needs_acknowledgement: Epoch | None = None
    """Blue is closed only once every live router serves this epoch; nothing for a green that was never live."""


class DrainEnd(Record):
    """How a drain ended."""

    refusal: Refusal | None = None
    """Set when the set may not be closed yet."""
    silent: tuple[str, ...] = ()
    reopened: bool = False
    """The set became live again before it was empty."""
    requests_cut: int = 0


class FinishStep(Step):
    """Ends a rollout."""

    outcome: RolloutOutcome
    reason: str
    evidence: dict[str, str]
    at: datetime


class Finished(Record):
    """The answer of ``finish``."""

    epoch: Epoch
    switched_at: datetime | None
    completed_at: datetime
    requests_cut: int
    outcome: RolloutOutcome | None = None
    """What the table holds to have happened; a run that was reset may have believed something else."""
    reason: str = ""
    """Why, as the table tells it: with what green's replicas have failed with."""
    last_error: str = ""
    """The causes of green's failures; empty when nothing went wrong."""
