"""The enumerations of Celadon: lower case in the database, in messages and in every door's output.

They follow Backend.AI's deployment model, where the design comes from.
"""

from enum import StrEnum


class RouteStatus(StrEnum):
    """Where one replica stands in its life. Never compared with its health."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED_TO_START = "failed_to_start"


class RouteHealthStatus(StrEnum):
    """What the probes say of one replica.

    ``degraded`` means: failing probes after having been healthy, fewer than ``failure_threshold`` in a row.
    """

    NOT_CHECKED = "not_checked"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DEGRADED = "degraded"


class RouteTrafficStatus(StrEnum):
    """Whether a replica gets new requests; derived from the deployment's live set, never stored."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class RouteSetState(StrEnum):
    """What the keeper does for a set: keeps an open one full, empties a draining one."""

    OPEN = "open"
    DRAINING = "draining"
    GONE = "gone"


class SetCondition(StrEnum):
    """A route set as a whole; only a change of it is an edge that a rollout hears of."""

    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"


class DeploymentLifecycle(StrEnum):
    """Where a deployment stands in its life."""

    PENDING = "pending"
    DEPLOYING = "deploying"
    READY = "ready"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"


class RolloutPhase(StrEnum):
    """The sub-step of a deployment that is moving from blue to green."""

    PROVISIONING = "provisioning"
    VERIFYING = "verifying"
    AWAITING_PROMOTION = "awaiting_promotion"
    SWITCHING = "switching"
    BAKING = "baking"
    DRAINING = "draining"
    ROLLING_BACK = "rolling_back"
    COMPLETED = "completed"


class RolloutOutcome(StrEnum):
    """How a rollout ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class Door(StrEnum):
    """Through which door a message came in, as the audit log tells it."""

    SIGNAL = "signal"
    UPDATE = "update"
    CANCEL = "cancel"
    TIMER = "timer"
    POLICY = "policy"
    KEEPER = "keeper"
    CLI = "cli"
