"""What the keeper needs of Temporal; the worker brings it."""

from collections.abc import Mapping
from typing import Protocol


class WorkflowGoneError(Exception):
    """The workflow does not run any more, so nobody can take its signal."""


class SignalUncertainError(Exception):
    """Temporal did not answer, or not in time; the same can be asked again later."""


class SignalsExhaustedError(Exception):
    """The workflow's run has taken as many signals as Temporal allows; the run that it continues as can take more."""


class Signaller(Protocol):
    """Sends signals to workflows."""

    async def signal(self, workflow_id: str, signal: str, payload: Mapping[str, object]) -> None:
        """Send a signal with one argument; it may be sent twice.

        Raises:
            WorkflowGoneError: no such workflow runs.
            SignalsExhaustedError: Temporal takes no more for the workflow's present run.
            SignalUncertainError: it is not known whether the signal was taken.

        """


class WorkflowDirectory(Protocol):
    """Knows which workflows run."""

    async def listed(self) -> frozenset[str] | None:
        """Return the ids of rollouts' workflows that run, by an index that may lag; nothing when it cannot be asked."""

    async def is_running(self, workflow_id: str) -> bool | None:
        """Return whether a workflow of this id runs now; nothing when Temporal cannot be asked."""


class RolloutStarter(Protocol):
    """Starts rollouts that have waited for their turn."""

    async def start_next(self, deployment: str, number: int) -> bool:
        """Start what has waited under a number, once however often this is asked; false while it cannot start yet."""
