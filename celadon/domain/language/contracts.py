"""The names that other programs rely on: workflow, task queue, messages, search attributes, channels."""

from datetime import timedelta
from typing import Final

DEFAULT_INSTALLATION: Final = "celadon"
"""The name of an installation that is given none: ``CELADON_INSTALLATION``."""

TASK_QUEUE: Final = "celadon"
WORKFLOW_TYPE: Final = "BlueGreenRollout"
WORKFLOW_ID_PREFIX: Final = "rollout-"
ASK_TYPE: Final = "Ask"
"""The workflow that a Temporal Schedule starts, which gives a command."""
SCHEDULE_ID_PREFIX: Final = "schedule-"
"""Begins the ids of schedules that Celadon keeps a row of; a deployment's name has no dot, so all of them differ."""
SCHEDULED_AT: Final = "TemporalScheduledStartTime"
SCHEDULED_BY: Final = "TemporalScheduledById"
"""Search attributes that Temporal gives a workflow that a schedule has started."""

PROMOTE: Final = "promote"
ABORT: Final = "abort"
ROLLBACK: Final = "rollback"
FINISH: Final = "finish"
WITHDRAW: Final = "withdraw"
PAUSE: Final = "pause"
RESUME: Final = "resume"
RESCHEDULE: Final = "reschedule"
STATUS: Final = "status"

GREEN_CHANGED: Final = "green_changed"
ROUTERS_ACKNOWLEDGED: Final = "routers_acknowledged"
BLUE_CHANGED: Final = "blue_changed"
GATE_CHANGED: Final = "gate_changed"
KEEPER_BACK: Final = "keeper_back"
SUCCESSOR_WAITS: Final = "successor_waits"
ROOM_CHANGED: Final = "room_changed"
"""Internal signals, sent by the keeper on edges only; safety never rests on them."""

SEARCH_DEPLOYMENT: Final = "CeladonDeployment"
SEARCH_REVISION: Final = "CeladonRevision"
SEARCH_PHASE: Final = "CeladonPhase"
SEARCH_OUTCOME: Final = "CeladonOutcome"
SEARCH_ATTRIBUTES: Final = (SEARCH_DEPLOYMENT, SEARCH_REVISION, SEARCH_PHASE, SEARCH_OUTCOME)

WORKFLOW_TASK_TIMEOUT: Final = timedelta(seconds=1.5)
"""How long a worker may take to decide for a rollout. When it is killed over that, another one decides afterwards.

Temporal's default is 10 s.
"""

SCHEDULE_CATCH_UP: Final = timedelta(minutes=10)
"""How late a schedule may fire; a command that was meant for the night does not come as a surprise in the morning."""

KEEPER_LEASE: Final = timedelta(seconds=3)
KEEPER_RENEWAL: Final = timedelta(seconds=1)
ROUTER_LEASE: Final = timedelta(minutes=10)


def workflow_id(deployment: str) -> str:
    """Return the only id under which a deployment's rollout may run, so that Temporal allows one at a time."""
    return f"{WORKFLOW_ID_PREFIX}{deployment}"


def schedule_id(deployment: str, name: str) -> str:
    """Return the id in Temporal of a schedule that Celadon keeps a row of."""
    return f"{SCHEDULE_ID_PREFIX}{deployment}.{name}"
