"""How long the API waits for what, where no operator has a reason to choose."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from celadon.domain.language.contracts import WORKFLOW_TASK_TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiTimes:
    """The clock of the API's limits, and its patience with clients, with an issuer and with itself."""

    caller_check: timedelta = timedelta(seconds=4)
    """How often a stream asks whether its caller's token is still good: it outlives the token by less than 5 s."""
    send: timedelta = timedelta(seconds=20)
    """How long a stream's reader may take nothing of what it is sent; then it has no stream any more."""
    look: timedelta = timedelta(seconds=2)
    """How often live pages look again: replicas may become healthy without anything that is announced."""
    body_grace: timedelta = timedelta(seconds=10)
    """How long the body of a request may come at any rate."""
    unread_body_grace: timedelta = timedelta(seconds=10)
    """How much longer than for its body a connection is kept whose body nobody reads."""
    key_fetch: timedelta = timedelta(seconds=5)
    """How long an issuer may take to give its keys."""
    workflow_task: timedelta = WORKFLOW_TASK_TIMEOUT
    """How long a worker has for a task of the workflows that callers start."""
    failure_clock: Callable[[], float] = time.monotonic
    """The clock, in seconds, by which failures to show who asks are forgiven."""


USUAL_TIMES: Final = ApiTimes()
