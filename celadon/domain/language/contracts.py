"""The names that other programs rely on: workflow, task queue, messages, search attributes, channels."""

from datetime import timedelta
from typing import Final

DEFAULT_INSTALLATION: Final = "celadon"
"""The name of an installation that is given none: ``CELADON_INSTALLATION``."""

TASK_QUEUE: Final = "celadon"
WORKFLOW_TYPE: Final = "BlueGreenRollout"
WORKFLOW_ID_PREFIX: Final = "rollout-"

PROMOTE: Final = "promote"
ABORT: Final = "abort"
ROLLBACK: Final = "rollback"
FINISH: Final = "finish"
WITHDRAW: Final = "withdraw"
PAUSE: Final = "pause"
RESUME: Final = "resume"
STATUS: Final = "status"

GREEN_CHANGED: Final = "green_changed"
ROUTERS_ACKNOWLEDGED: Final = "routers_acknowledged"
BLUE_CHANGED: Final = "blue_changed"
GATE_CHANGED: Final = "gate_changed"
KEEPER_BACK: Final = "keeper_back"
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

KEEPER_LEASE: Final = timedelta(seconds=3)
KEEPER_RENEWAL: Final = timedelta(seconds=1)
ROUTER_LEASE: Final = timedelta(minutes=10)


def workflow_id(deployment: str) -> str:
    """Return the only id under which a deployment's rollout may run, so that Temporal allows one at a time."""
    return f"{WORKFLOW_ID_PREFIX}{deployment}"
