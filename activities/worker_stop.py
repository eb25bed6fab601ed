"""What lets a worker stop without waiting for an activity that waits."""

from temporalio import activity
from temporalio.exceptions import ApplicationError


def stop_with_worker() -> None:
    """Go on waiting, unless the worker stops.

    Raises:
        ApplicationError: the worker stops; the next attempt, elsewhere, finds what was committed and goes on.

    """
    if activity.is_worker_shutdown():
        raise ApplicationError("the worker stops, another attempt goes on", type="WorkerStops")
