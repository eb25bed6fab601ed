"""The enumerations of Celadon: lower case in the database, in messages and in every door's output.

They follow Backend.AI's deployment model, where the design comes from.
"""

from enum import StrEnum


class RouteStatus(StrEnum):
    """Where one replica stands in its life. Never compared with its health."""

    PROVISIONING = "provisioning"
    """It is being started; its process or endpoint is not known to run yet."""
    RUNNING = "running"
    """Its process or endpoint runs; only then it is probed and can get traffic."""
    TERMINATING = "terminating"
    """It was told to stop."""
    TERMINATED = "terminated"
    """It has ended: it was stopped, or ended by itself after it had been healthy."""
    FAILED_TO_START = "failed_to_start"
    """It ended by itself and never was healthy."""


class RouteHealthStatus(StrEnum):
    """What the probes say of one replica.

    ``degraded`` means: failing probes after having been healthy, fewer than ``failure_threshold`` in a row.
    """

    NOT_CHECKED = "not_checked"
    """No probe has decided yet."""
    HEALTHY = "healthy"
    """It passed ``success_threshold`` probes in a row."""
    UNHEALTHY = "unhealthy"
    """It failed ``failure_threshold`` probes in a row."""
    DEGRADED = "degraded"
    """It fails probes after having been healthy, fewer than ``failure_threshold`` in a row."""


class RouteTrafficStatus(StrEnum):
    """Whether a replica gets new requests; derived from the deployment's live set, never stored."""

    ACTIVE = "active"
    """Its set is the live set; the ratio is 1.0."""
    INACTIVE = "inactive"
    """Its set is not the live set; the ratio is 0.0."""


class RouteSetState(StrEnum):
    """What the keeper does for a set: keeps an open one full, empties a draining one."""

    OPEN = "open"
    """The keeper starts, adopts, probes and replaces replicas until there are as many as wanted."""
    DRAINING = "draining"
    """It gets no new request; each replica stops when its running requests are zero, or at the deadline."""
    GONE = "gone"
    """All its replicas have ended."""


class SetCondition(StrEnum):
    """A route set as a whole; only a change of it is an edge that a rollout hears of."""

    STARTING = "starting"
    """It was not full yet since it was opened."""
    RUNNING = "running"
    """It is or was full, but too few replicas are healthy."""
    READY = "ready"
    """It is or was full, and enough replicas are healthy."""
    FAILED = "failed"
    """More of its replicas failed than ``max_replacements`` allows; it is not tried any further."""


class Colour(StrEnum):
    """A set's part in the latest rollout."""

    BLUE = "blue"
    GREEN = "green"


class WorkerRisk(StrEnum):
    """What a worker's settings let others do that they need not; told by ``celadon doctor``."""

    UNSIGNED_ALL = "unsigned_all"
    """Whoever reaches Temporal runs programs: ``CELADON_UNSIGNED=all``."""
    NO_KEYS = "no_keys"
    """No door is believed, so that every sender is shown as declared: ``CELADON_VERIFY_KEYS_FILE`` is not set."""


class DeploymentLifecycle(StrEnum):
    """Where a deployment stands in its life."""

    PENDING = "pending"
    """Nothing is live and no rollout is under way."""
    DEPLOYING = "deploying"
    """A rollout is under way."""
    READY = "ready"
    """A set is live and no rollout is under way."""
    DESTROYING = "destroying"
    """It is being deleted: its address answers 404, and its replicas drain."""
    DESTROYED = "destroyed"
    """It was deleted and no replica is left; a new rollout starts it anew."""

    @property
    def is_deleted(self) -> bool:
        """Whether a delete was accepted: the deployment is being destroyed, or is destroyed."""
        return self in {DeploymentLifecycle.DESTROYING, DeploymentLifecycle.DESTROYED}


class RolloutPhase(StrEnum):
    """The sub-step of a deployment that is moving from blue to green."""

    PROVISIONING = "provisioning"
    """Green's replicas are being started."""
    VERIFYING = "verifying"
    """Green runs; it is not healthy enough yet, or no longer."""
    AWAITING_PROMOTION = "awaiting_promotion"
    """Green is verified and waits for a person or a timer to promote it."""
    SWITCHING = "switching"
    """The promotion is decided; the deployment is being pointed at green."""
    BAKING = "baking"
    """Green is live; blue stays warm, so that going back is one transaction."""
    DRAINING = "draining"
    """Blue gets no new request; its replicas stop when theirs have ended."""
    ROLLING_BACK = "rolling_back"
    """Blue is live, or nothing is; green is being closed."""
    COMPLETED = "completed"
    """It has ended; the outcome says how."""


class RolloutOutcome(StrEnum):
    """How a rollout ended."""

    PROMOTED = "promoted"
    """Green is live."""
    ROLLED_BACK = "rolled_back"
    """Traffic had been switched to green and returned to blue."""
    ABORTED = "aborted"
    """It was aborted or cancelled before the switch."""
    EXPIRED = "expired"
    """Nobody promoted it before ``promotion_deadline``."""
    SUPERSEDED = "superseded"
    """A newer rollout took its place before the switch."""
    FAILED = "failed"
    """Green was not healthy in time or could not be kept running, or the workflow was terminated."""


class Channel(StrEnum):
    """Through which door a message came in, as the audit log tells it."""

    SIGNAL = "signal"
    """A Temporal signal."""
    UPDATE = "update"
    """A Temporal update that no door of Celadon has signed."""
    CANCEL = "cancel"
    """The cancellation of the workflow in Temporal, which means abort."""
    TIMER = "timer"
    """A timer of the rollout."""
    POLICY = "policy"
    """The rollout's policy, without a timer."""
    KEEPER = "keeper"
    """The service that owns replicas."""
    CLI = "cli"
    """The command line."""
    API = "api"
    """GraphQL or REST."""
    CONSOLE = "console"
    """The web console."""
    SCHEDULE = "schedule"
    """A schedule, for the person who made it."""
