"""What Celadon refuses, with a stable code, the reason and the next step.

A refusal is an answer, not a fault: it is told to whoever asked and is never retried.
"""

from enum import StrEnum

from celadon.domain.strictness import Record


class RefusalCode(StrEnum):
    """Stable names of refusals; they are the error types of updates and the codes of every door."""

    INVALID_PAYLOAD = "INVALID_PAYLOAD"
    UNKNOWN_MESSAGE = "UNKNOWN_MESSAGE"
    WRONG_WORKFLOW_ID = "WRONG_WORKFLOW_ID"
    NO_SUCH_DEPLOYMENT = "NO_SUCH_DEPLOYMENT"
    NO_SUCH_REVISION = "NO_SUCH_REVISION"
    NO_SUCH_ROLLOUT = "NO_SUCH_ROLLOUT"
    DEPLOYMENT_DELETED = "DEPLOYMENT_DELETED"
    ROLLOUT_RUNNING = "ROLLOUT_RUNNING"
    NOT_AWAITING_PROMOTION = "NOT_AWAITING_PROMOTION"
    NO_GREEN_REVISION = "NO_GREEN_REVISION"
    NO_HEALTHY_GREEN = "NO_HEALTHY_GREEN"
    WRONG_REVISION = "WRONG_REVISION"
    WRONG_ROLLOUT = "WRONG_ROLLOUT"
    FORCE_NEEDS_REASON = "FORCE_NEEDS_REASON"
    TOO_LATE = "TOO_LATE"
    ALREADY_DECIDED = "ALREADY_DECIDED"
    ABORT_REQUESTED = "ABORT_REQUESTED"
    FROZEN = "FROZEN"
    NOT_OWNER = "NOT_OWNER"
    BLUE_CHANGED = "BLUE_CHANGED"
    GREEN_CHANGED = "GREEN_CHANGED"
    KEEPER_SILENT = "KEEPER_SILENT"
    NO_HEALTHY_BLUE = "NO_HEALTHY_BLUE"
    NO_BLUE = "NO_BLUE"
    BLUE_DRAINED = "BLUE_DRAINED"
    ROUTERS_SILENT = "ROUTERS_SILENT"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLOUT_ENDED = "ROLLOUT_ENDED"
    POLICY_CONFLICT = "POLICY_CONFLICT"
    PLAIN_SECRET = "PLAIN_SECRET"  # noqa: S105 - the name of a refusal


class Refusal(Record):
    """One refusal: what was refused and why, and what to do next."""

    code: RefusalCode
    message: str
    next_step: str = ""

    def __str__(self) -> str:
        """Return the whole sentence that a person reads."""
        return f"{self.message}; {self.next_step}" if self.next_step else self.message


class RefusedError(Exception):
    """Raised where a refusal must end what was begun, for example a transaction."""

    def __init__(self, refusal: Refusal) -> None:
        """Carry ``refusal``; its sentence is the error's text."""
        super().__init__(str(refusal))
        self.refusal = refusal


def refuse(code: RefusalCode, message: str, next_step: str = "") -> RefusedError:
    """Return the error of a refusal, ready to be raised."""
    return RefusedError(Refusal(code=code, message=message, next_step=next_step))
