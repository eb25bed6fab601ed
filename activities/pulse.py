"""The heartbeat of an activity that waits, which also lets a worker stop without waiting for it."""

from temporalio import activity
from temporalio.exceptions import ApplicationError


def pulse() -> None:
    """Tell Temporal that this attempt is alive.

    Raises:
        ApplicationError: the worker stops; the next attempt, elsewhere, finds what was committed and goes on.

    """
    activity.heartbeat()
    if activity.is_worker_shutdown():
        raise ApplicationError("the worker stops, another attempt goes on", type="WorkerStops")
