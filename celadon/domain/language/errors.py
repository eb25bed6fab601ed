"""What Celadon refuses, with a stable code, the reason and the next step.

A refusal is an answer, not a fault: it is told to whoever asked and is never retried.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator

from celadon.domain.language.base_models import Record
from celadon.domain.language.limits import REFUSAL_BYTES, clip
from celadon.domain.language.shown_text import all_lines

_NEXT_STEP_BYTES: Final = 320
_MESSAGE_BYTES: Final = REFUSAL_BYTES - _NEXT_STEP_BYTES


class RefusalCode(StrEnum):
    """Stable names of refusals; they are the error types of updates and the codes of every door."""

    INVALID_PAYLOAD = "INVALID_PAYLOAD"
    """What was sent does not parse, or contradicts itself."""
    UNKNOWN_MESSAGE = "UNKNOWN_MESSAGE"
    """There is no such command."""
    WRONG_WORKFLOW_ID = "WRONG_WORKFLOW_ID"
    """A rollout of this deployment must run under another workflow id."""
    NO_SUCH_DEPLOYMENT = "NO_SUCH_DEPLOYMENT"
    """There is no such deployment, or it is out of the caller's scope."""
    NAME_RESERVED = "NAME_RESERVED"
    """No new deployment gets this name, because clients reach routers by it."""
    HOST_TAKEN = "HOST_TAKEN"
    """Another deployment has this host name."""
    HOST_NOT_ALLOWED = "HOST_NOT_ALLOWED"
    """No deployment may claim this host name: the operator's list does not have it, or it is the address of one."""
    NO_SUCH_REVISION = "NO_SUCH_REVISION"
    """The deployment has no revision of this number."""
    NO_SUCH_ROLLOUT = "NO_SUCH_ROLLOUT"
    """There is no such rollout, or it is out of the caller's scope."""
    ALREADY_LIVE = "ALREADY_LIVE"
    """The revision that a rollback would go back to is live."""
    NO_SUCH_ROUTER = "NO_SUCH_ROUTER"
    """The table knows no router of this name."""
    IDENTITY_TAKEN = "IDENTITY_TAKEN"
    """Another router is enrolled with this identity."""
    ROUTER_CONNECTED = "ROUTER_CONNECTED"
    """The router is connected; it is forgotten only with force."""
    DEPLOYMENT_DELETED = "DEPLOYMENT_DELETED"
    """The deployment is being deleted, or was."""
    TOO_MANY_REPLICAS = "TOO_MANY_REPLICAS"
    """More replicas are wanted than a deployment may have."""
    NO_ROOM = "NO_ROOM"
    """The bound on the replicas of all sets of the deployment, ``max_total_replicas``, leaves no room now."""
    ROLLOUT_RUNNING = "ROLLOUT_RUNNING"
    """A rollout of the deployment is under way."""
    ANOTHER_WAITS = "ANOTHER_WAITS"
    """Another rollout of the deployment waits for its turn, and the request's policy lets none take its place."""
    ALREADY_TAKEN = "ALREADY_TAKEN"
    """What was to be started waits no more: it has begun, another one has taken its place, or it was dropped."""
    WAITS_FOR_RETRY = "WAITS_FOR_RETRY"
    """The rollout before it did not end well, so what waits does not start by itself."""
    NOTHING_WAITS = "NOTHING_WAITS"
    """No rollout of the deployment waits for its turn."""
    NOTHING_TO_RETRY = "NOTHING_TO_RETRY"
    """Nothing waits, and the deployment's latest rollout neither failed nor was given up."""
    NOT_AWAITING_PROMOTION = "NOT_AWAITING_PROMOTION"
    """Green does not wait for a promotion; a promotion is never stored up for later."""
    NO_GREEN_REVISION = "NO_GREEN_REVISION"
    """No rollout is under way, so there is no green revision to promote."""
    NO_HEALTHY_GREEN = "NO_HEALTHY_GREEN"
    """Too few replicas of green are healthy; nothing was switched."""
    WRONG_REVISION = "WRONG_REVISION"
    """The promotion names another revision than green's."""
    WRONG_ROLLOUT = "WRONG_ROLLOUT"
    """The command names another rollout than the one under way."""
    FORCE_NEEDS_REASON = "FORCE_NEEDS_REASON"
    """Force was asked for without a reason for the audit log."""
    TOO_MANY_MESSAGES = "TOO_MANY_MESSAGES"
    """More messages came at once than a rollout reads; those beyond were counted and left unread."""
    TOO_LATE = "TOO_LATE"
    """The command arrived after its sender had given up, or a signed message after it had ceased to be valid."""
    UNSIGNED = "UNSIGNED"
    """No door vouches for the sender, and what was asked takes that somebody does."""
    REQUEST_SPENT = "REQUEST_SPENT"
    """The signed message counted before; a signed message counts once."""
    ALREADY_DECIDED = "ALREADY_DECIDED"
    """The rollout was promoted already."""
    ABORT_REQUESTED = "ABORT_REQUESTED"
    """An abort was requested and goes first."""
    FROZEN = "FROZEN"
    """The deployment is frozen; nothing is switched."""
    WINDOW_CLOSED = "WINDOW_CLOSED"
    """The policy's windows are closed; the refusal says when they open next."""
    NOT_OWNER = "NOT_OWNER"
    """The rollout no longer owns the deployment; nothing was changed."""
    BLUE_CHANGED = "BLUE_CHANGED"
    """Another set is live than the one that the rollout began with."""
    GREEN_CHANGED = "GREEN_CHANGED"
    """The rollout's green is not the open set that was expected."""
    KEEPER_SILENT = "KEEPER_SILENT"
    """No living keeper vouches for the health of enough replicas."""
    NO_HEALTHY_BLUE = "NO_HEALTHY_BLUE"
    """Too few replicas of blue are healthy to go back to it."""
    NO_BLUE = "NO_BLUE"
    """There is no blue to go back to."""
    BLUE_DRAINED = "BLUE_DRAINED"
    """Blue has drained, or has no healthy replica left while it drains; there is no way back."""
    NOT_BAKING = "NOT_BAKING"
    """The rollout does not bake, so there is nothing to finish."""
    NO_PENDING_ABORT = "NO_PENDING_ABORT"
    """No abort of the rollout is pending, so there is nothing to withdraw."""
    NO_OWN_APPROVAL = "NO_OWN_APPROVAL"
    """No approval by the caller counts, so there is nothing to withdraw."""
    APPROVALS_MISSING = "APPROVALS_MISSING"
    """Too few people have approved, so no timer switches."""
    REQUESTER_EXCLUDED = "REQUESTER_EXCLUDED"
    """The policy does not count the approval of who requested the rollout."""
    NOTHING_TO_PAUSE = "NOTHING_TO_PAUSE"
    """No timer of the rollout runs in its phase, so there is nothing to pause."""
    NOT_PAUSED = "NOT_PAUSED"
    """The rollout is not paused, so there is nothing to resume."""
    NOT_FROZEN = "NOT_FROZEN"
    """No freeze holds or is to come, so there is none to end."""
    TOO_MANY_FREEZES = "TOO_MANY_FREEZES"
    """As many freezes hold, or are to come, as are possible at once."""
    NOTHING_TO_RESCHEDULE = "NOTHING_TO_RESCHEDULE"
    """The rollout waits for no promotion, so no timer of it is left to be changed."""
    ROUTERS_SILENT = "ROUTERS_SILENT"
    """Live routers have not acknowledged the epoch that this needs."""
    ROLLING_BACK = "ROLLING_BACK"
    """The rollout is rolling back already."""
    ROLLOUT_ENDED = "ROLLOUT_ENDED"
    """The rollout has ended."""
    NO_SUCH_SCHEDULE = "NO_SUCH_SCHEDULE"
    """The deployment has no schedule of this name."""
    SCHEDULE_EXISTS = "SCHEDULE_EXISTS"
    """The deployment has another schedule of this name."""
    SCHEDULE_CHANGED = "SCHEDULE_CHANGED"
    """The schedule in Temporal is not what its author made, or did not fire at a moment of its own."""
    TOO_MANY_SCHEDULES = "TOO_MANY_SCHEDULES"
    """The deployment has as many schedules as it may have."""
    NO_SUCH_TARGET = "NO_SUCH_TARGET"
    """Nobody has added this target of notifications."""
    TARGET_EXISTS = "TARGET_EXISTS"
    """There is a target of notifications of this name already."""
    TARGET_IN_USE = "TARGET_IN_USE"
    """Unfinished rollouts notify this target."""
    TARGET_DISABLED = "TARGET_DISABLED"
    """The target of notifications is disabled."""
    POLICY_CONFLICT = "POLICY_CONFLICT"
    """The policy contradicts itself, or the revision."""
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    """The request id was given to another request before."""
    DEPLOYMENT_EXISTS = "DEPLOYMENT_EXISTS"
    """There is another deployment of this name."""
    LABELS_DIFFER = "LABELS_DIFFER"
    """The request gives other labels than the deployment has."""
    FORBIDDEN = "FORBIDDEN"
    """No role of the caller allows it, or the caller's scope does not."""
    NO_ANSWER = "NO_ANSWER"
    """Nobody answered in time: whether it was done is not known; ask again with the same request id."""
    PLAIN_SECRET = "PLAIN_SECRET"  # noqa: S105 - the name of a refusal
    """A variable whose name looks like a secret has its value in plain text."""


def _bounded_message(text: str) -> str:
    return clip(all_lines(text[:REFUSAL_BYTES]), _MESSAGE_BYTES)


def _bounded_next_step(text: str) -> str:
    return clip(all_lines(text[:REFUSAL_BYTES]), _NEXT_STEP_BYTES)


class Refusal(Record):
    """One refusal: what was refused and why, and what to do next.

    It holds at most 1 KB and no character that is obeyed, whatever it was made of.
    """

    code: RefusalCode
    """The stable name of the reason."""
    message: Annotated[str, AfterValidator(_bounded_message)]
    """What was refused and why, for people."""
    next_step: Annotated[str, AfterValidator(_bounded_next_step)] = ""
    """What to do next; empty when there is nothing to do."""

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
