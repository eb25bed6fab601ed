"""What a rollout hands to its activities and gets back.

Every step carries the rollout's id: it fences the step, so that an attempt of a rollout that no longer owns its
deployment changes nothing. Notes travel with a step into the audit log, in the step's own transaction.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from celadon.domain.language.approval import Approval
from celadon.domain.language.base_models import Record
from celadon.domain.language.commands import AbortCommand, PauseCommand, PromoteCommand, RescheduleCommand
from celadon.domain.language.errors import Refusal
from celadon.domain.language.growth import Growth
from celadon.domain.language.messages import RolloutRequest, StartMemo
from celadon.domain.language.names import Epoch, RevisionNumber, RolloutId, RouteSetId
from celadon.domain.language.next_rollout import NextRollout
from celadon.domain.language.opening import OpeningTimes
from celadon.domain.language.pause import Pause
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
    command: Annotated[
        AbortCommand | PromoteCommand | PauseCommand | RescheduleCommand, Field(union_mode="left_to_right")
    ]


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

    request: Annotated[RolloutRequest | NextRollout, Field(union_mode="left_to_right")]
    """What is asked for; what has waited for its turn stands in the table."""
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


class PendingAsker(Record):
    """Who asked first for the way back that is pending, of those who still want it."""

    by: str
    issuer: str = ""
    door: Channel
    reason: str = ""


class Judged(Record):
    """The answer of ``judge``: a refusal for each message that does not count, in their order."""

    refusals: tuple[Refusal | None, ...]
    approvals: tuple[Approval, ...] | None = None
    """Who has approved, once the messages are judged; nothing when the policy asks for no approvals."""
    policy: BlueGreenPolicy | None = None
    """The rollout's policy after that, all keys given, when one of the messages asked for other timers."""
    pending: PendingAsker | None = None
    """Whose abort is pending after that; nothing when none is, and in what earlier releases answered."""


class AskedForEdge(Record):
    """The answer of ``ask_for_edge``: what a run that was reset may have forgotten."""

    policy: BlueGreenPolicy
    """The rollout's policy as the table has it, all keys given."""
    growth: Growth | None = None
    """A decision that waits until green has grown; nothing when none does."""
    paused: Pause | None = None
    """The pause that lasts; nothing when the timers run."""
    green_lost_since: datetime | None = None
    """Since when no replica of a live green is healthy; nothing while one is, and before the switch."""


EdgeAnswer = AskedForEdge | None
"""``None`` in what earlier versions answered."""


class PhaseStep(Step):
    """Writes down the phase that a rollout has entered."""

    phase: RolloutPhase
    at: datetime
    freezes_since: datetime | None = None
    """The moment up to which the rollout knows its freezes; nothing for all that hold or are to come."""
    spends_approvals: bool = False
    """Whether approvals that were given until now count no more: what people approved has regressed."""


class FreezesStep(Step):
    """Reads the freezes of the rollout's deployment."""

    since: datetime | None
    """The moment up to which the rollout knows them; nothing for all that hold or are to come."""


class GreenOpened(Record):
    """The answer of ``provision_green``."""

    route_set: RouteSetId | None = None
    """Nothing while there is no room for it."""
    wanted: int
    no_room: str = ""
    """Why it is not opened yet, in words."""


class WindowStep(Step):
    """Asks when the policy's windows are open."""

    due: datetime
    """When a timer is due: earlier openings are of no use to it."""
    at: datetime


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
    grown: bool = False
    """Whether it carries out the decision by which green has grown, or asks again for room to grow."""


class SwitchAnswer(Record):
    """What the table and the routers answered: either a refusal, or an epoch and who serves it."""

    refusal: Refusal | None = None
    message_refused: bool = False
    """Whether the message does not count, whatever the table says: then everything is as if it had never come."""
    recorded: bool = False
    """Whether the promotion was recorded as an approval, and others are missing: nothing was switched."""
    approvals: tuple[Approval, ...] = ()
    """Who has approved, oldest first; empty when the policy asks for no approvals."""
    epoch: Epoch | None = None
    at: datetime | None = None
    """The moment of the commit, by the database's clock."""
    acknowledged_by: tuple[str, ...] = ()
    """The first routers that serve the epoch, by name; not all of many."""
    acknowledged_count: int = 0
    """How many serve it; 0 in the answers of versions that named all."""
    silent: tuple[str, ...] = ()
    """The first live routers that did not acknowledge in time, by name; not all of many."""
    silent_count: int = 0
    """How many did not; 0 in the answers of versions that named all."""
    ms: float = 0.0
    healthy_green: int = 0
    required: int = 0
    scaled: bool = False
    """Refused while green grows because somebody scaled it: no fault of its revision."""
    openings: OpeningTimes | None = None
    """When the windows open in which a timer's switch is not refused; set when that was why it was."""
    growth: Growth | None = None
    """The decision counts, and green grows to all its replicas first: nothing was switched."""


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
    """The first live routers that have not acknowledged, by name; not all of many."""
    silent_count: int = 0
    """How many have not; 0 in the answers of versions that named all."""
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
