"""A plan: what a rollout would do, said before it does it."""

from datetime import datetime
from enum import StrEnum

from celadon.domain.language.base_models import Record
from celadon.domain.language.errors import Refusal
from celadon.domain.language.names import RevisionNumber, RolloutId
from celadon.domain.language.next_rollout import WaitingRollout
from celadon.domain.language.permissions import Role


class PolicyLayer(StrEnum):
    """Where a key of a resolved policy comes from; a later one wins."""

    DEFAULT = "default"
    """Celadon's own value."""
    INSTALLATION = "installation"
    """The defaults of this installation."""
    DEPLOYMENT = "deployment"
    """The deployment's own policy."""
    REQUEST = "request"
    """What a rollout gives itself."""


class LayeredKey(Record):
    """A key of a resolved policy."""

    key: str
    """Its name."""
    value: str
    """As a policy file writes it."""
    layer: PolicyLayer
    """Where the value comes from."""
    otherwise: str
    """The value of a rollout that says nothing itself."""

    @property
    def changes(self) -> bool:
        """Whether the request makes it another one than the deployment's own policy does."""
        return self.value != self.otherwise


class FieldChange(Record):
    """A part of a revision that differs from what is live."""

    field: str
    """Such as ``env.MODEL``."""
    before: str
    """In the revision that is live, secrets struck out; empty when it has none."""
    after: str
    """In the other revision, secrets struck out; empty when it has none."""


class PlannedGuard(Record):
    """One of what stands before the switch, in the order in which a rollout asks."""

    guard: str
    """``abort``, ``failed``, ``ready``, ``checks``, ``pause``, ``freeze``, ``approvals``, ``window``, ``timer`` or
    ``deadline``; before ``ready`` stand ``room`` and ``preview``, where the policy asks for these."""
    binds: bool
    """Whether there is such a one."""
    told: str
    """What it does, for people."""


class Decider(Record):
    """Who may decide something about the rollout."""

    decision: str
    """What they may do, such as ``promote``."""
    roles: tuple[Role, ...]
    """Any of these is enough."""
    condition: str = ""
    """How many people must decide so, and who does not count, where the policy asks for approvals; empty when one
    person is enough."""


class Plan(Record):
    """What a rollout would do; nothing of it has happened."""

    deployment: str
    """The deployment's name."""
    at: datetime
    """The database's moment at which it was made."""
    rollout: RolloutId | None
    """The rollout of the deployment that is under way; nothing when none is."""
    waiting: WaitingRollout | None = None
    """The rollout that waits for its turn already; nothing when none does."""
    would_wait: str = ""
    """What the rollout would wait for, because another one is under way and its policy's on_new_revision lets it wait;
    it takes the place of what waits already. Empty when it would begin, or would be refused."""
    already_there: bool
    """Whether what is wanted is live, under way or waiting already: then there is nothing to do."""
    refused: Refusal | None
    """Why the rollout would not begin; nothing when it would."""
    from_revision: RevisionNumber | None
    """What is live; nothing for a first deployment."""
    to_revision: RevisionNumber | None
    """The revision's number, as things stand; nothing when the rollout would not begin."""
    changes: tuple[FieldChange, ...]
    """What differs from the revision that is live; nothing when nothing is live."""
    changes_left_out: int
    """How many more differ."""
    replicas_before: int | None
    """How many replicas the deployment has; nothing when it is new."""
    replicas: int | None
    """How many it would have; nothing when the rollout would not begin."""
    hosts_before: tuple[str, ...] = ()
    """Host names of its own that the deployment has."""
    hosts: tuple[str, ...] = ()
    """Those that it would have from the beginning of the rollout on; as before when the rollout would not begin."""
    traffic: tuple[FieldChange, ...] = ()
    """What of `traffic` beside the hosts changes with the beginning of the rollout; nothing when it would not begin."""
    policy: tuple[LayeredKey, ...]
    """Every key of the resolved policy; nothing when the policy contradicts itself."""
    capacity_now: int
    """Replicas that the deployment's sets want, and those of draining ones that have not ended."""
    capacity_peak: int | None
    """The same with green beside blue; nothing when the rollout would not begin."""
    gated: bool | None
    """Whether it waits for a promotion; a first deployment goes live as soon as green is verified, unless its policy
    asks for a person. Nothing when the rollout would not begin."""
    guards: tuple[PlannedGuard, ...]
    """What stands before the switch, in the order in which it is asked; nothing when the rollout would not begin."""
    earliest: datetime | None
    """Before this moment nothing switches, even if green were verified at once; nothing when that is not known."""
    by_itself: datetime | None
    """The same for a switch without a person; nothing when only a person promotes, or that is not known."""
    latest: datetime | None
    """After this moment nothing switches, unless a pause or a freeze holds the deadline up; nothing for no such end."""
    decides: tuple[Decider, ...]
    """Who may decide what."""
