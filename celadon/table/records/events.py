"""Lines of the audit log."""

from datetime import datetime

from celadon.domain.language.base_models import Record
from celadon.domain.language.names import RolloutId
from celadon.domain.language.states import Channel


class AuditEvent(Record):
    """One line of the audit log."""

    id: int
    """The line's number; it rises over all deployments."""
    rollout: RolloutId | None
    """The rollout that it is about; nothing when it is about the deployment alone."""
    at: datetime
    """When it happened."""
    kind: str
    """What happened, such as ``green_opened``, ``switched`` or ``scaled``."""
    actor: str
    """Who did it; empty when nobody in particular did."""
    issuer: str = ""
    """Who vouches for the actor, the URL of an issuer of JWTs, ``token`` or ``console-link``; else empty."""
    door: Channel | None
    """Through which door it came; nothing when Celadon did it by itself."""
    verified: bool = False
    """Whether a door vouches for the actor; else the name is what somebody declared."""
    reason: str
    """Why, as the actor or Celadon says; may be empty."""
    evidence: dict[str, str]
    """What it rests on, by name."""


class DeploymentEvent(AuditEvent):
    """A line of the audit log, with the deployment that it is of."""

    deployment: str
    """The deployment's name."""
